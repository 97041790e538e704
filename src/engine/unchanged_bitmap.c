/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Choosing a bitmap that proves. A clean bit tells that nobody wrote there since
 * the bitmap was made, if: the parent's record of this very file names the
 * bitmap, for names are drawn anew and copies of the file carry them too; no bit
 * is missing that was set then, as it would be in a copy; it was never out of
 * use; and nothing was written to what lies below, for what is copied up from
 * there is marked nowhere. That entries must be the same, too, is for base_view.c.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/dirty_bits.h"
#include "engine/own_bitmap.h"
#include "engine/unchanged.h"
#include "qcow2/bitmap.h"

static const struct record_bitmap *recorded(const struct record_layer *then, const char *name)
{
    for (size_t i = 0; i < then->qcow2.bitmap_count; i++)
        if (then->qcow2.bitmaps[i].own && strcmp(then->qcow2.bitmaps[i].name, name) == 0)
            return &then->qcow2.bitmaps[i];
    return NULL;
}

static const char *why_not_this(const struct qcow2_bitmap *now, const struct record_bitmap *then)
{
    if (now->flags & QCOW2_BITMAP_IN_USE)
        return "in use after a crash";
    if (!(now->flags & QCOW2_BITMAP_AUTO))
        return "disabled";
    if (now->type != 1 || now->extra_len > 0 || (now->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE))
        return "of a kind that is not known";
    if (then->flags != now->flags || then->granularity_bits != now->granularity_bits)
        return "not as the last backup recorded it";
    return NULL;
}

/* NULL, or why no bitmap of the layer can prove anything. */
static const char *why_none(const struct unchanged *u, const struct record_layer *now,
                            bool below_frozen)
{
    const struct record_layer *then = u->before;
    const char *layout = unchanged_why_other_layout(u, now);
    if (layout != NULL)
        return layout;
    if (!S_ISREG(now->file.mode))
        return "a block device may be written to by others than QEMU";
    if (now->qcow2.data_file != NULL)
        return "its data file may be written to by others than QEMU";
    if (now->virtual_size != then->virtual_size)
        return "its size was changed";
    if ((now->backing_file == NULL) != (then->backing_file == NULL) ||
        (now->backing_file != NULL && strcmp(now->backing_file, then->backing_file) != 0))
        return "its backing file is another";
    if (!below_frozen)
        return "what lies below it may have been written to since, or is not part of both backups";
    return NULL;
}

/* Tries ${bitmap}: ${*bits} is set where it proves; else ${why} says why not. */
static int try_bitmap(const struct unchanged *u, const struct layer_job *job,
                      const struct qcow2_bitmap *bitmap, struct dirty_bits *bits, const char **why,
                      struct error *err)
{
    const struct record_bitmap *then = recorded(u->before, bitmap->name);
    struct dirty_bits now = {0}, before = {0};
    int rc;
    *why = then == NULL ? "unknown to the last backup" : why_not_this(bitmap, then);
    if (*why != NULL)
        return 0;
    rc = dirty_bits_from_image(&now, job->layer->image, bitmap, err);
    if (rc == 0)
        rc = dirty_bits_from_record(&before, job->store, u->before, then, err);
    if (rc == ERROR_UNSUPPORTED || rc == ERROR_CORRUPT) {
        *why = rc == ERROR_CORRUPT ? "malformed" : "too large";
        rc = 0;
    } else if (rc == 0 && !dirty_bits_superset(&now, &before)) {
        *why = "bits are missing that were set";
    }
    if (rc == 0 && *why == NULL) {
        *bits = now;
        now = (struct dirty_bits){0};
    }
    dirty_bits_clear(&now);
    dirty_bits_clear(&before);
    return rc;
}

/* NULL, or why no bitmap of the server can prove anything. */
static const char *why_none_of_server(const struct unchanged *u, const struct layer_job *job)
{
    const struct record_layer *then = u->before, *now = job->record;
    if (then == NULL || job->run->options->full_read)
        return "nothing is to be proven";
    if (then->content == NULL || strcmp(then->content->format, now->content->format) != 0)
        return "the last backup did not read it through a server";
    if (then->content->bitmap == NULL)
        return "the last backup was given no bitmap of the server";
    if (!own_bitmap_is(cs_repository_id(job->store), then->content->bitmap))
        return "the last backup's bitmap is not of this repository";
    if (now->virtual_size != then->virtual_size)
        return "its size was changed";
    return NULL;
}

int unchanged_begin_content(const struct unchanged *u, const struct layer_job *job, bool *proves,
                            char why[UNCHANGED_REASON], struct error *err)
{
    const char *none = why_none_of_server(u, job);
    const char *name = none == NULL ? u->before->content->bitmap : NULL;
    int rc = nbd_source_begin(content_source(job->content), name, proves, err);
    if (rc < 0)
        return content_explain(job->content, err);
    if (none != NULL)
        snprintf(why, UNCHANGED_REASON, "%s", none);
    else
        snprintf(why, UNCHANGED_REASON, "the server does not offer bitmap %s", name);
    return 0;
}

int unchanged_choose_bitmap(struct unchanged *u, const struct layer_job *job, bool below_frozen,
                            char why[UNCHANGED_REASON], struct error *err)
{
    struct qcow2_bitmap *bitmaps = NULL;
    uint32_t n = 0;
    char *problem = NULL;
    const char *none = why_none(u, job->record, below_frozen);
    snprintf(why, UNCHANGED_REASON, "%s", none != NULL ? none : "it has no bitmap of byre");
    if (none != NULL || job->record->qcow2.bitmap_count == 0)
        return 0;
    int rc = qcow2_image_bitmaps(job->layer->image, &bitmaps, &n, &problem, err);
    /* those of the newest runs come last, and have the fewest bits */
    for (uint32_t i = n; rc == 0 && i-- > 0 && u->bits == NULL;) {
        struct dirty_bits bits = {0};
        const char *reason = NULL;
        if (!own_bitmap_is(cs_repository_id(job->store), bitmaps[i].name))
            continue;
        rc = try_bitmap(u, job, &bitmaps[i], &bits, &reason, err);
        if (rc < 0)
            break;
        if (reason != NULL) {
            snprintf(why, UNCHANGED_REASON, "bitmap %s: %s", bitmaps[i].name, reason);
            continue;
        }
        u->bits = malloc(sizeof *u->bits);
        if (u->bits == NULL) {
            dirty_bits_clear(&bits);
            rc = error_no_memory(err);
        } else {
            *u->bits = bits;
        }
    }
    free(problem);
    qcow2_bitmaps_free(bitmaps, n);
    return rc;
}
