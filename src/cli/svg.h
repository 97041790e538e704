/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SVG_H
#define BYRE_CLI_SVG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/picture.h"
#include "engine/target.h"

/*
 * Pictures of disks, one below the other, as an SVG file that needs nothing
 * beside it: for reports, in light and in dark. It has its name only when it is
 * complete.
 */

struct svg {
    struct target target;
    FILE *stream;
    unsigned y; /* where the next thing goes */
};

/* Begins the file ${path}; ERROR_EXISTS where it is there and not ${force}. ${svg} is to be
 * cleared. Text from here on may be anything: it is escaped. */
int svg_begin(struct svg *svg, const char *path, bool force, const char *title, struct error *err);

/* Adds ${picture} with ${title} above it, and a legend; ${names} are what its first ${count} kinds
 * are called. */
void svg_add(struct svg *svg, const struct picture *picture, const char *title,
             const char *const *names, size_t count);

/* Adds a line of text. */
void svg_line(struct svg *svg, const char *text);

/* Completes the file and gives it its name, durably. */
int svg_finish(struct svg *svg, struct error *err);

/* Takes away what was not finished. */
void svg_clear(struct svg *svg);

#endif
