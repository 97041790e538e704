/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PROGRESS_H
#define BYRE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"

/*
 * How far a long command is: a bar at the bottom of the terminal, plain lines
 * where --progress asks for it elsewhere, or JSON status lines.
 */

enum progress_style { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON };

struct progress {
    enum progress_style style;
    bool colour;
    FILE *json;      /* where JSON goes */
    double started;  /* seconds of the monotonic clock */
    double next;     /* earliest time of the next drawing */
    double interval; /* seconds */
};

/* Starts the clock and chooses the style. ${json}: the stream for status lines with --json. */
void progress_begin(struct progress *progress, const struct global_options *options, FILE *json);

/* ${what}: the file at hand, or NULL. Cheap when nothing is due. */
void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total);

/* Erases the bar. */
void progress_end(struct progress *progress);

/* Seconds since the beginning. */
double progress_seconds(const struct progress *progress);

/* One line of at most ${columns} columns for a job that ran for ${seconds}. ${colour}: with escape
 * sequences, which take none. Pure. */
void progress_format(char *line, size_t size, size_t columns, bool colour, const char *what,
                     uint64_t done, uint64_t total, double seconds);

#endif
