/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_GATHER_H
#define BYRE_ENGINE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Parts of one buffer on their way to places of a file: what lies together there becomes one
 * write, in whatever order it comes. A gather is for one thread; the file may be for several.
 */

struct gather_file {
    int fd;           /* lent */
    int direct_fd;    /* lent; -1: none. Of the same file, opened by io_open_direct */
    const char *name; /* lent; for messages */
    bool holes;       /* leaves out 4 KiB of zeros at a multiple of that */
};

struct gather_part {
    uint64_t offset; /* in the file */
    const uint8_t *data;
    size_t len;
};

enum { GATHER_PARTS = 512 };

struct gather { /* begins with ${file} alone */
    const struct gather_file *file;
    uint64_t written; /* bytes, all but the holes; counted when they are added */
    size_t count;
    struct gather_part parts[GATHER_PARTS];
};

/* Adds ${len} bytes at ${data}, lent until gather_flush, for ${offset}; parts that are for the same
 * bytes of the file have to be equal. Writes what has come so far where there is no room. */
int gather_add(struct gather *gather, uint64_t offset, const uint8_t *data, size_t len,
               struct error *err);

/* Writes all. The data may be in the page cache still. */
int gather_flush(struct gather *gather, struct error *err);

#endif
