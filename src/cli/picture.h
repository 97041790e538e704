/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PICTURE_H
#define BYRE_CLI_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/*
 * A disk as a grid of cells, each a power of two of bytes, and what was counted
 * in them: as many cells for a small disk as for a large one. Pure, but for the
 * stream that it is drawn to.
 */

enum { PICTURE_KINDS = 8, PICTURE_LEVELS = 4 };

enum picture_mode {
    PICTURE_DENSITY, /* kinds are layers from the top, the last stands for all below it, too */
    PICTURE_CHANGES, /* kinds are enum picture_change */
};

enum picture_change {
    PICTURE_SAME, /* data in both */
    PICTURE_CHANGED,
    PICTURE_NEW,  /* data in the later one alone */
    PICTURE_GONE, /* data in the earlier one alone */
    PICTURE_CHANGE_KINDS,
};

struct picture {
    enum picture_mode mode;
    uint64_t size;                    /* of the disk, bytes */
    uint64_t cell;                    /* bytes of one */
    size_t count;                     /* of cells */
    size_t columns;                   /* in a row, a power of two; the last row may have fewer */
    uint64_t (*cells)[PICTURE_KINDS]; /* bytes */
};

struct picture_style {
    bool utf8;
    bool colour;
};

/* As many cells as there is need of, at most ${rows} of ${columns}, a power of two. ${picture} is
 * to be cleared. */
int picture_begin(struct picture *picture, enum picture_mode mode, uint64_t size, size_t columns,
                  size_t rows, struct error *err);
void picture_clear(struct picture *picture);

/* Counts ${bytes} as ${kind}, spread evenly over the ${length} bytes from ${offset}. */
void picture_add(struct picture *picture, uint64_t offset, uint64_t length, uint64_t bytes,
                 size_t kind);

/* The bytes of cell ${i}: the last may have fewer than the others. */
uint64_t picture_cell_size(const struct picture *picture, size_t i);

/* How full cell ${i} is, 0 for not at all to PICTURE_LEVELS, and of which kind, if it is not 0: in
 * a density that of which it has most; in changes the most of what is not PICTURE_SAME, if
 * anything. */
unsigned picture_level(const struct picture *picture, size_t i, size_t *kind);

/* The bytes of ${kind} in all cells. */
uint64_t picture_sum(const struct picture *picture, size_t kind);

/* Draws it with a scale at the left of each row, and says below what a cell is, and what the signs
 * mean. It takes 12 columns more than it has. */
void picture_print(const struct picture *picture, const struct picture_style *style, FILE *stream);

#endif
