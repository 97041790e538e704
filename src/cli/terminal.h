/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_TERMINAL_H
#define BYRE_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What results for people may look like: how wide, in which letters, and whether in colour. */

struct terminal {
    size_t columns; /* SIZE_MAX: nothing is to be cut or wrapped */
    bool utf8;
    bool colour;
};

/* Of ${stream}: 80 columns where it is no terminal. ${whole}: nothing is to be cut. */
struct terminal terminal_of(FILE *stream, bool whole);

/* Prints ${text}, made fit for a terminal, behind ${prefix}, which is printed as it is; wraps at
 * spaces to lines with ${next} before them. Words that are too long are cut in the middle. */
void terminal_print(FILE *stream, const struct terminal *terminal, const char *prefix,
                    const char *next, const char *text);

/* The same for a path, which is one word. */
void terminal_print_path(FILE *stream, const struct terminal *terminal, const char *prefix,
                         const char *path);

#endif
