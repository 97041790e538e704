/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_BITMAP_H
#define BYRE_ENGINE_BACKUP_BITMAP_H

#include "engine/engine.h"
#include "engine/own_bitmap.h"
#include "qcow2/chain.h"

/*
 * byre's own bitmaps during a backup: a fresh one goes into each image before it
 * is opened, so that what is written from then on is in it; the ones before go
 * when the archive is there and the image is unlocked. A crash between any two
 * steps leaves one too many, whose bits are a superset, never one too few. An
 * image that cannot have one is saved all the same, and the result is partial.
 */

struct backup_bitmap; /* of an image */

struct backup_bitmaps {
    const struct cs_id *repository;
    const struct engine_backup_options
        *options;                       /* bitmap or bitmap_name, or there is nothing to do */
    const struct backup_images *images; /* told, at first */
    struct engine_backup_result *result;
    struct backup_bitmap *items; /* one for each image, or NULL */
};

/*
 * Before anything is open: adds a fresh bitmap to each image, not on a dry run. All of them are
 * looked at first, so that those that would be refused, for a writer (ERROR_IN_USE) or anything
 * else, are left alone. ERROR_USAGE: bitmap_name is no name of this repository.
 */
int backup_bitmaps_add(struct backup_bitmaps *bitmaps, struct error *err);

/* With the images open and locked: looks whether the bitmaps are there, and
 * which ones are obsolete then. */
int backup_bitmaps_check(struct backup_bitmaps *bitmaps, struct error *err);

/* When all locks are released, also after a failure of anything above: removes what is obsolete
 * (counted in bitmaps_obsolete where it stays), or what was added for nothing. */
void backup_bitmaps_finish(struct backup_bitmaps *bitmaps, bool committed);

#endif
