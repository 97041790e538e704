/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the names of images to open layers: which of them byre reads, and which
 * somebody else does. What is done with them is backup.c's.
 */
#include "engine/backup_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "engine/backup_origin.h"
#include "engine/input_format.h"
#include "engine/nbd_uri.h"
#include "engine/path.h"

static const char export_format[] = "nbd";

/* ---- what they are ---- */

static const char *called(const struct engine_backup_options *options, size_t i)
{
    const char *name = options->recorded_as != NULL ? options->recorded_as[i] : NULL;
    return name != NULL ? name : options->images[i];
}

static const char *bitmap_of(const struct engine_backup_options *options, size_t i)
{
    const char *name = options->bitmap_names != NULL ? options->bitmap_names[i] : NULL;
    return name != NULL ? name : options->bitmap_name;
}

const char *backup_images_bitmap(const struct backup_images *b, const struct layer *layer)
{
    for (size_t i = 0; i < b->options->image_count; i++)
        if (b->tops[i] == layer)
            return bitmap_of(b->options, i);
    return b->options->bitmap_name;
}

static int tell(const struct engine_backup_options *options, const char *image, const char **format,
                struct error *err)
{
    bool is_other;
    *format = NULL;
    if (options->origin != NULL) /* its names are those of the exported files */
        return 0;
    if (nbd_uri_is(image)) {
        *format = export_format;
        return options->input_format == NULL
                   ? 0
                   : error_set(err, ERROR_USAGE, "%s: is an export, which has no format of a file",
                               image);
    }
    if (options->input_format == NULL)
        return input_format_by_name(image, format, err);
    *format = options->input_format;
    return input_format_check(*format, &is_other, err);
}

int backup_images_tell(struct backup_images *b, struct error *err)
{
    size_t n = b->options->image_count;
    int rc = 0;
    b->formats = calloc(n, sizeof *b->formats);
    b->tops = calloc(n, sizeof *b->tops);
    b->contents = calloc(n, sizeof *b->contents);
    if (b->formats == NULL || b->tops == NULL || b->contents == NULL)
        return error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = tell(b->options, b->options->images[i], &b->formats[i], err);
    return rc;
}

static bool is(const struct backup_images *b, size_t i, const char *format)
{
    return b->formats[i] != NULL && strcmp(b->formats[i], format) == 0;
}

bool backup_images_is_other(const struct backup_images *b, size_t i)
{
    return b->formats[i] != NULL && !is(b, i, "raw") && !is(b, i, "qcow2");
}

struct chain_options backup_images_chain(const struct backup_images *b, size_t i)
{
    return (struct chain_options){
        .top = backup_images_is_other(b, i) ? CHAIN_TOP_OTHER
               : is(b, i, "raw")            ? CHAIN_TOP_RAW
               : is(b, i, "qcow2")          ? CHAIN_TOP_QCOW2
                                            : CHAIN_TOP_PROBED,
        .only_top = b->options->only_top,
        .assume_stopped = b->options->assume_stopped,
        .force_corrupt = b->options->force_corrupt,
        .inside = b->options->origin != NULL ? b->options->origin->folder : NULL,
    };
}

int backup_images_name(const struct engine_backup_options *options, char name[256],
                       struct error *err)
{
    const char *first = called(options, 0);
    bool is_export = options->name == NULL && nbd_uri_is(options->images[0]);
    char *export_name = is_export ? nbd_uri_file_name(first) : NULL;
    if (is_export && export_name == NULL)
        return error_no_memory(err);
    const char *base = options->name != NULL ? options->name
                       : is_export           ? export_name
                                             : path_base(first);
    size_t n = strlen(base);
    const char *dot = strrchr(base, '.');
    if (options->name == NULL && !is_export && dot != NULL && dot != base)
        n = (size_t)(dot - base);
    int rc = n < 256 ? 0 : error_set(err, ERROR_USAGE, "the name has more than 255 bytes");
    if (rc == 0) {
        memcpy(name, base, n);
        name[n] = 0;
    }
    free(export_name);
    if (rc == 0)
        rc = engine_check_name(name, err);
    if (rc < 0 && options->name == NULL)
        return error_wrap(err, "%s gives no name for the archive, choose one with --name", first);
    return rc;
}

/* ---- opening them ---- */

static bool is_again(const struct backup_images *b, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (b->contents[k] != NULL && strcmp(b->options->images[k], b->options->images[i]) == 0)
            return true;
    return false;
}

static int open_other(struct backup_images *b, size_t i, struct engine_backup_result *result,
                      struct error *err)
{
    const struct engine_listener *l = &b->options->listener;
    const char *image = b->options->images[i], *name = called(b->options, i);
    struct chain_options chain = backup_images_chain(b, i);
    size_t n = 0;
    int rc = is(b, i, export_format)
                 ? content_open_export(&b->contents[i], &b->set, image, name, l, &b->tops[i], err)
                 : content_open_file(&b->contents[i], &b->set, image, b->formats[i], &chain, l,
                                     &b->tops[i], err);
    if (rc < 0)
        return rc;
    const char *const *losses = content_losses(b->contents[i], &n);
    for (size_t k = 0; k < n; k++)
        say(l->warning, l->arg, "%s: %s", name, losses[k]);
    result->partial |= n > 0;
    if (n == 0)
        say(l->note, l->arg, "%s: is kept as its guest sees it, the details of the %s file are not",
            image, b->formats[i]);
    return 0;
}

static int open_one(struct backup_images *b, size_t i, struct engine_backup_result *result,
                    struct error *err)
{
    struct chain_options chain = backup_images_chain(b, i);
    const char *image = b->options->images[i];
    if (!backup_images_is_other(b, i))
        return layer_set_open(&b->set, image, &chain, &b->tops[i], err);
    if (!is_again(b, i))
        return open_other(b, i, result, err);
    return is(b, i, export_format) ? layer_set_add(&b->set, called(b->options, i), &b->tops[i], err)
                                   : layer_set_open(&b->set, image, &chain, &b->tops[i], err);
}

/* That image is not where the machine writes, or not all that it wrote. */
static void look_for_overlay(const struct backup_images *b, const char *image,
                             struct engine_backup_result *result)
{
    const struct engine_listener *l = &b->options->listener;
    char name[4096];
    if (b->options->frozen_base ||
        snprintf(name, sizeof name, "%s.byre-live", image) >= (int)sizeof name ||
        access(name, F_OK) < 0)
        return;
    say(l->warning, l->arg,
        "%s: the temporary overlay of a live backup lies beside it, so that newer writes are "
        "not part of this backup; byre live status says what to do",
        image);
    result->partial = true;
}

int backup_images_open(struct backup_images *b, struct engine_backup_result *result,
                       struct error *err)
{
    const struct engine_listener *l = &b->options->listener;
    for (size_t i = 0; i < b->options->image_count; i++) {
        int rc = open_one(b, i, result, err);
        if (rc < 0)
            return rc;
        look_for_overlay(b, b->options->images[i], result);
        if (!b->tops[i]->used_as_base)
            continue;
        result->top_in_use_as_base = true;
        if (b->options->frozen_base)
            continue;
        say(l->warning, l->arg,
            "%s: is in use as somebody's backing file, so that newer writes are in an overlay "
            "that is not part of this backup (a forgotten blockcommit?); --frozen-base says "
            "that this is meant",
            b->options->images[i]);
        result->partial = true;
    }
    return 0;
}

struct content *backup_images_content(const struct backup_images *b, const struct layer *layer)
{
    for (size_t i = 0; i < b->options->image_count; i++)
        if (b->tops[i] == layer && b->contents[i] != NULL)
            return b->contents[i];
    return NULL;
}

void backup_images_clear(struct backup_images *b)
{
    for (size_t i = 0; b->contents != NULL && i < b->options->image_count; i++)
        content_close(b->contents[i]);
    layer_set_clear(&b->set);
    free(b->contents);
    free(b->tops);
    free(b->formats);
}
