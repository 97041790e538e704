/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_MAPS_H
#define BYRE_CLI_MAPS_H

#include "cli/command.h"
#include "cli/picture.h"
#include "cli/svg.h"
#include "cli/terminal.h"

/*
 * The pictures of show and diff: of each image one on stdout, one in an SVG
 * file, or both.
 */

struct maps_args { /* the options for it */
    bool map;
    const char *svg; /* NULL: none */
    bool force;
};

struct maps {
    const struct maps_args *args;
    struct terminal terminal; /* where args->map */
    struct svg svg;           /* where args->svg */
    struct picture coarse;    /* for the terminal */
    struct picture fine;      /* for the file */
};

/* The least that tells the cells of either picture apart: engine_map_options has it as parts. */
#define MAPS_PARTS ((size_t)128 * 32)

/* ERROR_USAGE where ${json} rules out what is asked for. ${title} is that of the file. ${maps} is
 * to be cleared. */
int maps_begin(struct maps *maps, const struct maps_args *args, bool json, const char *title,
               struct error *err);

/* Whether there is anything to draw. */
bool maps_wanted(const struct maps_args *args);

/* An image of ${size} bytes: what is counted from here on is of it. */
int maps_image(struct maps *maps, enum picture_mode mode, uint64_t size, struct error *err);

/* As picture_add. */
void maps_add(struct maps *maps, uint64_t offset, uint64_t length, uint64_t bytes, size_t kind);

/* Draws the image into the file, where there is one: with ${title}, and ${names} for the ${count}
 * kinds. The picture for the terminal is for the caller to print. */
void maps_draw(struct maps *maps, const char *title, const char *const *names, size_t count);

/* Completes the file. */
int maps_finish(struct maps *maps, struct error *err);
void maps_clear(struct maps *maps);

#endif
