/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PROGRESS_H
#define BYRE_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/progress_format.h"
#include "cli/progress_rate.h"

/*
 * How far a long command is: a bar at the bottom of the terminal, plain lines
 * where --progress asks for it elsewhere, or JSON status lines; and one line
 * on stderr whenever SIGUSR1 asks for it, whatever the style. A thread of its
 * own keeps the bar moving and answers the signal while the command waits for
 * a disk. The functions here are for the command's thread.
 */

enum progress_style { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON };

struct progress {
    bool begun;
    enum progress_style style;
    bool colour;
    bool json;       /* whether answers to SIGUSR1 are */
    FILE *stream;    /* where JSON status lines go */
    double started;  /* seconds of the monotonic clock */
    double interval; /* seconds */

    pthread_t thread;
    bool has_thread;
    pthread_cond_t end;

    pthread_mutex_t mutex; /* guards what follows; never held while something is written */
    bool ending;
    bool known;  /* whether anything was told */
    double next; /* earliest time of the next drawing */
    char what[256];
    struct progress_state state;
    struct progress_rate rate;
};

/* Starts the clock and chooses the style. ${stream}: for status lines with --json. Each begin needs
 * its end. */
void progress_begin(struct progress *progress, const struct global_options *options, FILE *stream);

/* ${what}: the file at hand or what is done instead, or NULL; copied. Cheap when nothing is due. */
void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total);

/* Which file of how many is at hand, and what was stored that the repository lacked: shown with the
 * next update. */
void progress_file(struct progress *progress, size_t number, size_t count);
void progress_fresh(struct progress *progress, uint64_t bytes);

/* Erases the bar, and ends the thread. After that nothing is shown any more; another end does
 * nothing. */
void progress_end(struct progress *progress);

/* Seconds since the beginning. */
double progress_seconds(const struct progress *progress);

#endif
