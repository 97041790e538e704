/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PROGRESS_FORMAT_H
#define BYRE_CLI_PROGRESS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What progress looks like. Pure. */

struct progress_state {
    const char *what; /* the file at hand, or what is done instead; lent, may be NULL */
    size_t number;    /* of that file, from 1; 0: not told */
    size_t count;     /* of files */
    uint64_t done;    /* bytes */
    uint64_t total;
    bool counts_fresh;
    uint64_t fresh; /* bytes stored that the repository lacked */
    double rate;    /* bytes a second; negative: not known */
    double left;    /* seconds; negative: not known */
};

/*
 * One line of at most ${columns} columns (4 at least), with a bar. Where room is short the amounts
 * go first, then the bar, what is new, the rate, the name, the time left. ${colour}: with escape
 * sequences, which take none.
 */
void progress_format(char *line, size_t size, size_t columns, bool colour,
                     const struct progress_state *state);

/* All of it, as a sentence for a log. */
void progress_describe(char *text, size_t size, const struct progress_state *state);

#endif
