/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_OWN_BITMAP_H
#define BYRE_ENGINE_OWN_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "qcow2/image.h"

/*
 * byre's own bitmaps in an image: byre-<8 hex digits>-<16 hex digits>, first
 * those that the repository's id begins with, then random ones. Nobody clears
 * one; each run of backup adds its own and removes those before.
 */

enum { OWN_BITMAP_NAME = ENGINE_BITMAP_NAME };

/* A fresh name. */
void own_bitmap_make(const struct cs_id *repository, char name[OWN_BITMAP_NAME]);

/* Whether ${name} is exactly such a name, of this repository. */
bool own_bitmap_is(const struct cs_id *repository, const char *name);

struct own_bitmap {
    char name[OWN_BITMAP_NAME];
    bool tracks; /* whoever writes to the image marks it there: AUTO, and not IN_USE */
};

/* Sets ${*list}, for the caller to free, to those of ${image} that are ${repository}'s. Where
 * bitmaps are malformed, ${*problem}, for the caller to free, says so, else it is NULL. */
int own_bitmap_list(struct qcow2_image *image, const struct cs_id *repository,
                    struct own_bitmap **list, size_t *count, char **problem, struct error *err);

/* Bytes a bit for a new bitmap: QEMU's default, but more where dirty_bits.h would not take it. */
uint64_t own_bitmap_granularity(const struct qcow2_image *image);

#endif
