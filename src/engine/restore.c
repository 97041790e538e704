/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Restoring an archive: which of its images, and whether as chains
 * (restore_chain.c) or each as one disk (restore_image.c).
 */
#include "engine/restore.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/say.h"
#include "engine/blob.h"
#include "engine/choose.h"
#include "engine/path.h"

void restore_warn(const struct restore *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_args(r->options->listener.warning, r->options->listener.arg, fmt, ap);
    va_end(ap);
}

int restore_step(struct restore *r, const char *path, uint64_t bytes, struct error *err)
{
    const struct engine_listener *l = &r->options->listener;
    r->bytes_done += bytes;
    if (r->bytes_total < r->bytes_done)
        r->bytes_total = r->bytes_done;
    if (l->progress != NULL)
        l->progress(l->arg, path, r->bytes_done, r->bytes_total);
    if (l->cancel != NULL && *l->cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    return 0;
}

void restore_begin_file(const struct restore *r, size_t number, size_t count)
{
    const struct engine_listener *l = &r->options->listener;
    if (l->file != NULL)
        l->file(l->arg, number, count);
}

void engine_restore_result_clear(struct engine_restore_result *result)
{
    for (size_t i = 0; i < result->file_count; i++)
        free(result->files[i].path);
    free(result->files);
    *result = (struct engine_restore_result){0};
}

struct target_attributes restore_attributes(const struct record_file *file)
{
    return (struct target_attributes){
        .mode = file->mode,
        .uid = file->uid,
        .gid = file->gid,
        .mtime_ns = file->mtime_ns,
        .allocate = file->host_bytes >= file->size ? file->size : 0,
    };
}

bool restore_was_export(const struct record_layer *layer)
{
    return layer->content != NULL && strcmp(layer->content->format, "nbd") == 0;
}

struct target_attributes restore_layer_attributes(const struct record_layer *layer)
{
    struct target_attributes attributes = restore_attributes(&layer->file);
    if (layer->content != NULL)
        attributes.allocate = 0; /* how much of that file was, says nothing of this one */
    if (restore_was_export(layer))
        attributes.mtime_ns = (int64_t)time(NULL) * 1000000000;
    return attributes;
}

int restore_report_file(struct restore *r, const char *path, const struct cs_id *layer,
                        uint64_t written, struct error *err)
{
    struct engine_restore_result *result = r->result;
    struct engine_restored_file *files =
        reallocarray(result->files, result->file_count + 1, sizeof *files);
    if (files == NULL)
        return error_no_memory(err);
    result->files = files;
    struct engine_restored_file *file = &files[result->file_count];
    *file = (struct engine_restored_file){.path = strdup(path), .bytes_written = written};
    if (file->path == NULL)
        return error_no_memory(err);
    if (layer != NULL)
        cs_id_hex(layer, file->layer);
    result->file_count++;
    result->bytes_written += written;
    return 0;
}

int engine_restore(struct cs_store *store, const struct cs_archive *archive,
                   const struct engine_restore_options *options,
                   struct engine_restore_result *result, struct error *err)
{
    struct restore r = {.store = store, .options = options, .result = result};
    struct engine_restore_options effective = *options;
    struct cs_error ce;
    size_t image = 0;
    *result = (struct engine_restore_result){0};
    if (cs_require_data_key(store, &ce) < 0)
        return engine_store_error(err, &ce);
    /* a format is that of one file */
    effective.flatten |= options->format != ENGINE_AS_STORED || options->snapshot != NULL;
    r.options = &effective;
    if (options->to == NULL || *options->to == 0)
        return error_set(err, ERROR_USAGE, "--to is missing");
    if (!effective.flatten && strcmp(options->to, "-") == 0)
        return error_set(err, ERROR_USAGE,
                         "a chain cannot be written to a stream; use --format raw");
    int rc = record_archive_read(&r.archive, store, &archive->id, err);
    if (rc == 0)
        rc = choose_image(&r.archive, options->image, &image, err);
    if (rc == 0 && cs_fetch_new(&r.fetch, store, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = effective.flatten ? restore_flattened(&r, image, err) : restore_chains(&r, image, err);
    cs_fetch_free(r.fetch);
    record_archive_clear(&r.archive);
    return rc < 0 ? engine_unless_forgotten(store, archive, err) : 0;
}
