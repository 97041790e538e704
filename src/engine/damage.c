/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of an archive is damaged, by names that its owner knows: image, layer,
 * snapshot, ranges. What is damaged is found out elsewhere. However much it is,
 * what is kept of it is bounded; the counts are always of all.
 */
#include "engine/damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANGES_IN_TEXT = 8, NAME_MAX_KEPT = 1024 };

void damage_part_add(struct damage_part *p, uint64_t offset, uint64_t length, const char *why)
{
    uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
    if (p->why[0] == 0)
        snprintf(p->why, sizeof p->why, "%s", why);
    if (offset < p->end)
        offset = p->end;
    if (offset >= end)
        return;
    if (p->ranges_all == 0 || offset > p->end) {
        if (p->ranges_all < ENGINE_DAMAGE_RANGES)
            p->ranges[p->ranges_all] = (struct engine_range){.offset = offset};
        p->ranges_all++;
    }
    if (p->ranges_all <= ENGINE_DAMAGE_RANGES)
        p->ranges[p->ranges_all - 1].length += end - offset;
    p->bytes += end - offset;
    p->end = end;
}

static void print_ranges(FILE *out, const struct damage_part *p)
{
    uint64_t shown = p->ranges_all < RANGES_IN_TEXT ? p->ranges_all : RANGES_IN_TEXT;
    for (uint64_t i = 0; i < shown; i++)
        fprintf(out, "%s%" PRIu64 " to %" PRIu64, i > 0 ? ", " : "", p->ranges[i].offset,
                p->ranges[i].offset + p->ranges[i].length - 1);
    if (shown < p->ranges_all)
        fprintf(out, " and %" PRIu64 " more, %" PRIu64 " bytes in all,", p->ranges_all - shown,
                p->bytes);
}

static void print_layer(FILE *out, const struct engine_damage *d, const struct record_layer *layer,
                        const struct walk_at *at)
{
    if (d->image != NULL)
        fprintf(out, "image %.200s, ", d->image);
    fprintf(out, "layer %.200s", d->layer);
    if (at->part != WALK_BITMAP && at->index > 0)
        fprintf(out, ", snapshot %.200s (%.200s)", d->item,
                layer->qcow2.snapshots[at->index - 1].name);
    fputs(": ", out);
}

static void print_message(FILE *out, const struct engine_damage *d,
                          const struct cs_archive *archive, const struct walk_at *at,
                          const struct damage_part *p)
{
    static const struct {
        const char *before; /* the ranges */
        const char *after;
    } texts[] = {
        [ENGINE_PART_RECORD] = {"nothing of it can be restored", ""},
        [ENGINE_PART_GUEST] = {"guest bytes ", " are damaged"},
        [ENGINE_PART_VM_STATE] = {"VM state behind the disk, bytes ", " are damaged"},
        [ENGINE_PART_PLACEMENT] = {"where guest bytes ", " were in the file is lost"},
        [ENGINE_PART_HEADER] = {"header cluster, bytes ", " are damaged"},
        [ENGINE_PART_CRYPTO] = {"encryption header, bytes ", " are damaged"},
        [ENGINE_PART_TAIL] = {"end of the data file, bytes ", " are damaged"},
        [ENGINE_PART_BITMAP] = {", bytes ", " of its bits are damaged"},
        [ENGINE_PART_SIDE_FILE] = {", bytes ", " are damaged"},
    };
    char hex[CS_ID_HEX], date[32] = "?";
    time_t when = (time_t)archive->time;
    struct tm tm;
    if (gmtime_r(&when, &tm) != NULL)
        strftime(date, sizeof date, "%Y-%m-%d", &tm);
    fprintf(out, "archive %.16s %.200s (%s): ", cs_id_hex(&archive->id, hex), archive->name, date);
    if (at != NULL && at->layer != NULL)
        print_layer(out, d, at->layer, at);
    if (d->part == ENGINE_PART_BITMAP)
        fprintf(out, "bitmap %.200s", d->item);
    if (d->part == ENGINE_PART_SIDE_FILE)
        fprintf(out, "side file %.200s", d->item);
    fputs(texts[d->part].before, out);
    print_ranges(out, p);
    fprintf(out, "%s: %s", texts[d->part].after, p->why);
}

static char *copy_name(const char *name)
{
    return name != NULL ? strndup(name, NAME_MAX_KEPT) : NULL;
}

/* The image's name, or its path where another image has that name. */
static const char *name_of(const struct record_archive *record, const struct record_image *image)
{
    for (size_t i = 0; i < record->image_count; i++)
        if (&record->images[i] != image && strcmp(record->images[i].name, image->name) == 0)
            return image->path;
    return image->name;
}

static const char *item_of(const struct record_archive *record, const struct walk_at *at)
{
    const struct record_layer *layer = at->layer;
    if (layer == NULL)
        return record->with[at->index].name;
    if (at->part == WALK_BITMAP)
        return layer->qcow2.bitmaps[at->index].name;
    return at->index > 0 ? layer->qcow2.snapshots[at->index - 1].id : NULL;
}

static void clear_one(struct engine_damage *d)
{
    free(d->name);
    free(d->image);
    free(d->layer);
    free(d->item);
    free(d->message);
}

static int add_one(struct engine_check_result *result, const struct cs_archive *archive,
                   const struct record_archive *record, const struct record_image *image,
                   const struct walk_at *at, enum engine_part part, const struct damage_part *found,
                   struct error *err)
{
    size_t n = result->damage_count;
    result->damage_all++;
    if (n == ENGINE_DAMAGE_MAX)
        return 0;
    if ((n & (n - 1)) == 0) { /* room ends at the powers of two */
        struct engine_damage *more = reallocarray(result->damage, n > 0 ? 2 * n : 1, sizeof *more);
        if (more == NULL)
            return error_no_memory(err);
        result->damage = more;
    }
    struct engine_damage *d = &result->damage[n];
    *d = (struct engine_damage){
        .archive = archive->id,
        .part = part,
        .name = copy_name(archive->name),
        .range_count = found->ranges_all < ENGINE_DAMAGE_RANGES ? (size_t)found->ranges_all
                                                                : ENGINE_DAMAGE_RANGES,
        .ranges_all = found->ranges_all,
        .bytes = found->bytes,
    };
    memcpy(d->ranges, found->ranges, sizeof d->ranges);
    if (image != NULL)
        d->image = copy_name(name_of(record, image));
    if (at != NULL && at->layer != NULL)
        d->layer = copy_name(at->layer->file.placed_path);
    if (at != NULL)
        d->item = copy_name(item_of(record, at));
    size_t len;
    FILE *out = open_memstream(&d->message, &len);
    if (out != NULL)
        print_message(out, d, archive, at, found);
    if (out == NULL || fclose(out) != 0) {
        clear_one(d);
        return error_no_memory(err);
    }
    result->damage_count++;
    return 0;
}

static bool has_layer(const struct record_image *image, size_t layer)
{
    for (size_t i = 0; i < image->layer_count; i++)
        if (image->layers[i] == layer)
            return true;
    return false;
}

int damage_add(struct engine_check_result *result, const struct cs_archive *archive,
               const struct record_archive *record, const struct walk_at *at, enum engine_part part,
               const struct damage_part *found, struct error *err)
{
    bool any = false;
    int rc = 0;
    if (found->why[0] == 0)
        return 0;
    for (size_t i = 0; at != NULL && at->layer != NULL && rc == 0 && i < record->image_count; i++) {
        const struct record_image *image = &record->images[i];
        if (!has_layer(image, (size_t)(at->layer - record->layers)))
            continue;
        any = true;
        rc = add_one(result, archive, record, image, at, part, found, err);
    }
    return rc == 0 && !any ? add_one(result, archive, record, NULL, at, part, found, err) : rc;
}

void damage_cut(struct engine_check_result *result, size_t count, uint64_t all)
{
    while (result->damage_count > count)
        clear_one(&result->damage[--result->damage_count]);
    result->damage_all = all;
}
