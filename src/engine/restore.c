/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From an archive to files: which files there are, what they are called and
 * call each other; all are written under temporary names, and get their final
 * ones together at the end.
 */
#include "engine/restore.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/blob.h"
#include "engine/path.h"

static const char side_folder[] = "side-files";

void restore_warn(const struct restore *r, const char *fmt, ...)
{
    char message[4096];
    va_list ap;
    if (r->options->listener.warning == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    r->options->listener.warning(r->options->listener.arg, message);
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

void engine_restore_result_clear(struct engine_restore_result *result)
{
    for (size_t i = 0; i < result->file_count; i++)
        free(result->files[i].path);
    free(result->files);
    *result = (struct engine_restore_result){0};
}

static int report_file(struct restore *r, const char *path, const struct cs_id *layer,
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

/* ---- which images ---- */

/* Whether ${tail} is a trailing path of ${path}: whole components. */
static bool ends_with_path(const char *path, const char *tail)
{
    size_t n = strlen(path), k = strlen(tail);
    if (k == 0 || k > n || strcmp(path + n - k, tail) != 0)
        return false;
    return k == n || path[n - k - 1] == '/' || tail[0] == '/';
}

/* Sets ${*chosen} to the image's position, or to the count where all are meant. */
static int choose_image(const struct restore *r, size_t *chosen, struct error *err)
{
    const struct record_archive *a = &r->archive;
    const char *wanted = r->options->image;
    size_t matches = 0;
    *chosen = a->image_count;
    if (wanted == NULL)
        return 0;
    for (size_t i = 0; i < a->image_count; i++) {
        if (!ends_with_path(a->images[i].path, wanted))
            continue;
        *chosen = i;
        matches++;
    }
    if (matches == 0)
        return error_set(err, ERROR_NOT_FOUND, "the archive has no image %s", wanted);
    if (matches > 1)
        return error_set(err, ERROR_USAGE, "%s is ambiguous: %zu images end with it", wanted,
                         matches);
    return 0;
}

/* ---- chains ---- */

struct plan { /* what becomes a file */
    const struct record_layer *layer;
    const struct record_side_file *side; /* or this */
    char *backing;                       /* the name to write */
    struct target target;
};

static void plans_clear(struct plan *plans, size_t n)
{
    for (size_t i = 0; plans != NULL && i < n; i++) {
        target_clear(&plans[i].target);
        free(plans[i].backing);
    }
    free(plans);
}

/* The layer below ${at} in any of the archive's chains, or NULL. */
static const struct record_layer *layer_below(const struct record_archive *a, size_t at)
{
    for (size_t i = 0; i < a->image_count; i++)
        for (size_t k = 0; k + 1 < a->images[i].layer_count; k++)
            if (a->images[i].layers[k] == at)
                return &a->layers[a->images[i].layers[k + 1]];
    return NULL;
}

/* The backing name for the restored layer: the old one where it leads to the restored base. */
static int choose_backing(struct restore *r, size_t at, const char *const *placed, char **backing,
                          struct error *err)
{
    const struct record_layer *layer = &r->archive.layers[at];
    const struct record_layer *below = layer_below(&r->archive, at);
    *backing = NULL;
    if (layer->backing_file == NULL)
        return 0;
    if (below == NULL || r->options->keep_backing_names ||
        path_leads_to(layer->placed_path, layer->backing_file, below->placed_path, placed,
                      r->archive.layer_count)) {
        *backing = strdup(layer->backing_file);
    } else {
        char *name = path_between(layer->placed_path, below->placed_path);
        /* a colon before the first slash would make it a protocol */
        if (name != NULL && strcspn(name, ":") < strcspn(name, "/") &&
            asprintf(backing, "./%s", name) < 0)
            *backing = NULL;
        else if (name != NULL && *backing == NULL)
            *backing = strdup(name);
        free(name);
        if (*backing != NULL)
            restore_warn(r, "%s: its backing file is now called %s (it was %s)", layer->placed_path,
                         *backing, layer->backing_file);
    }
    if (*backing == NULL)
        return error_no_memory(err);
    if (below == NULL)
        restore_warn(r, "%s: its backing file %s is not part of the archive", layer->placed_path,
                     layer->backing_file);
    return 0;
}

static int write_layer(struct restore *r, struct plan *plan, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    uint64_t written = 0;
    int rc = restore_layer(r, layer, plan->backing, &plan->target, &written, err);
    if (rc == 0 && r->options->verify)
        rc = restore_verify_layer(r, layer, &plan->target, err);
    struct target_attributes attributes = {
        .mode = layer->mode,
        .uid = layer->uid,
        .gid = layer->gid,
        .mtime_ns = layer->mtime_ns,
        .allocate = layer->host_bytes >= layer->file_size ? layer->file_size : 0,
    };
    if (rc == 0)
        rc = target_seal(&plan->target, &attributes, err);
    if (rc == 0)
        rc = report_file(r, plan->target.path, &layer->id, written, err);
    return rc;
}

static int write_side_file(struct restore *r, struct plan *plan, struct error *err)
{
    int rc = blob_read_file(r->store, &plan->side->blob, plan->target.fd, plan->target.path, err);
    struct target_attributes attributes = {
        .mode = plan->side->mode,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    if (rc == 0)
        rc = target_seal(&plan->target, &attributes, err);
    if (rc == 0)
        rc = report_file(r, plan->target.path, NULL, plan->side->blob.bytes, err);
    return rc;
}

/* Lets all files appear; where one cannot, those that have are taken away again. */
static int place_all(struct plan *plans, size_t n, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = target_place(&plans[i].target, err);
    for (size_t i = 0; rc < 0 && i < n; i++)
        target_unplace(&plans[i].target);
    return rc;
}

static bool is_needed(const struct record_archive *a, size_t image, size_t layer)
{
    if (image == a->image_count)
        return true;
    for (size_t i = 0; i < a->images[image].layer_count; i++)
        if (a->images[image].layers[i] == layer)
            return true;
    return false;
}

static int make_plans(struct restore *r, size_t image, struct plan *plans, size_t *count,
                      struct error *err)
{
    const struct record_archive *a = &r->archive;
    const char **placed = calloc(a->layer_count + 1, sizeof *placed);
    int rc = placed == NULL ? error_no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++)
        placed[i] = a->layers[i].placed_path;
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++) {
        if (!is_needed(a, image, i))
            continue;
        struct plan *plan = &plans[(*count)++];
        plan->layer = &a->layers[i];
        r->bytes_total += plan->layer->bytes_allocated;
        rc = choose_backing(r, i, placed, &plan->backing, err);
    }
    for (size_t i = 0; rc == 0 && image == a->image_count && i < a->with_count; i++)
        plans[(*count)++].side = &a->with[i];
    free(placed);
    return rc;
}

/* Every target is looked at before the first is written. */
static int open_targets(struct restore *r, struct plan *plans, size_t n, struct error *err)
{
    int rc = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; rc == 0 && i < n; i++) {
            char *name = plans[i].layer != NULL
                             ? path_join(r->options->to, plans[i].layer->placed_path)
                             : NULL;
            char *folder = plans[i].side != NULL ? path_join(r->options->to, side_folder) : NULL;
            char *path = folder != NULL ? path_join(folder, plans[i].side->name) : name;
            if (path == NULL)
                rc = error_no_memory(err);
            else if (pass == 0)
                rc = target_check(path, r->options->force, err);
            else
                rc = target_open(&plans[i].target, path, r->options->force, err);
            if (path != name)
                free(path);
            free(folder);
            free(name);
        }
    return rc;
}

static int restore_chains(struct restore *r, size_t image, struct error *err)
{
    size_t count = 0, most = r->archive.layer_count + r->archive.with_count;
    struct plan *plans = calloc(most + 1, sizeof *plans);
    if (plans == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < most; i++)
        plans[i].target.fd = -1;
    int rc = make_plans(r, image, plans, &count, err);
    if (rc == 0)
        rc = open_targets(r, plans, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = plans[i].layer != NULL ? write_layer(r, &plans[i], err)
                                    : write_side_file(r, &plans[i], err);
    if (rc == 0)
        rc = place_all(plans, count, err);
    plans_clear(plans, most);
    return rc;
}

/* ---- flattened images ---- */

static bool is_folder(const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    return (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) || (n > 0 && path[n - 1] == '/');
}

/* The file that ${image} goes to: the path itself, or below it where that is a folder. */
static char *flat_path(const struct restore *r, const struct record_image *image, bool folder)
{
    const char *to = r->options->to;
    if (!folder)
        return strdup(to);
    const char *dot = strrchr(image->name, '.');
    size_t stem =
        dot != NULL && dot != image->name ? (size_t)(dot - image->name) : strlen(image->name);
    const char *suffix = r->options->format == ENGINE_RAW ? ".raw" : ".qcow2";
    const char *slash = to[strlen(to) - 1] == '/' ? "" : "/";
    char *path = NULL;
    return asprintf(&path, "%s%s%.*s%s", to, slash, (int)stem, image->name, suffix) < 0 ? NULL
                                                                                        : path;
}

static int write_flat(struct restore *r, struct flat_image *flat, struct target *target,
                      struct error *err)
{
    const struct record_layer *top = flat_top(flat);
    bool raw = r->options->format == ENGINE_RAW;
    uint64_t written = 0;
    struct target_attributes attributes = {
        .mode = top->mode, .uid = top->uid, .gid = top->gid, .mtime_ns = top->mtime_ns};
    int rc = raw ? restore_flat_raw(r, flat, target, &written, err)
                 : restore_flat_qcow2(r, flat, target, &written, err);
    if (rc == 0 && r->options->verify)
        rc = restore_verify_flat(r, flat, target, raw, err);
    if (rc == 0)
        rc = target_seal(target, &attributes, err);
    if (rc == 0)
        rc = report_file(r, target->path, &top->id, written, err);
    return rc;
}

static bool is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

static int flat_target(struct restore *r, const struct record_image *image, bool folder,
                       uint64_t size, struct target *target, struct error *err)
{
    char *path = flat_path(r, image, folder);
    if (path == NULL)
        return error_no_memory(err);
    int rc = is_device(path) ? target_open_device(target, path, size, r->options->force, err)
                             : target_open(target, path, r->options->force, err);
    free(path);
    return rc;
}

static int restore_to_stdout(struct restore *r, const struct record_image *image, struct error *err)
{
    struct flat_image *flat = NULL;
    uint64_t written = 0;
    int rc = flat_open(&flat, r, image, err);
    if (rc == 0)
        r->bytes_total = flat_top(flat)->virtual_size;
    if (rc == 0)
        rc = restore_flat_stream(r, flat, STDOUT_FILENO, &written, err);
    if (rc == 0)
        rc = report_file(r, "-", &flat_top(flat)->id, written, err);
    flat_close(flat);
    return rc;
}

static int restore_flattened(struct restore *r, size_t image, struct error *err)
{
    const struct record_archive *a = &r->archive;
    size_t first = image == a->image_count ? 0 : image;
    size_t count = image == a->image_count ? a->image_count : 1;
    bool folder = count > 1 || is_folder(r->options->to);
    if (strcmp(r->options->to, "-") == 0) {
        if (count > 1)
            return error_set(err, ERROR_USAGE,
                             "the archive has %zu images; choose one with --image", count);
        if (r->options->format != ENGINE_RAW)
            return error_set(err, ERROR_USAGE, "only --format raw can be written to a stream");
        return restore_to_stdout(r, &a->images[first], err);
    }
    if (count > 1 && !is_folder(r->options->to) && access(r->options->to, F_OK) == 0)
        return error_set(err, ERROR_USAGE,
                         "%s: the archive has %zu images; choose one with --image, or a folder",
                         r->options->to, count);
    struct plan *plans = calloc(count, sizeof *plans);
    if (plans == NULL)
        return error_no_memory(err);
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        plans[i].target.fd = -1;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct flat_image *flat = NULL;
        const struct record_image *chosen = &a->images[first + i];
        rc = flat_open(&flat, r, chosen, err);
        if (rc == 0) {
            r->bytes_total += flat_top(flat)->virtual_size;
            rc =
                flat_target(r, chosen, folder, flat_top(flat)->virtual_size, &plans[i].target, err);
        }
        if (rc == 0)
            rc = write_flat(r, flat, &plans[i].target, err);
        flat_close(flat);
    }
    if (rc == 0)
        rc = place_all(plans, count, err);
    plans_clear(plans, count);
    return rc;
}

/* A chain that was backed up with --only-top has no base to be merged with. */
static int require_whole(const struct restore *r, size_t image, struct error *err)
{
    const struct record_archive *a = &r->archive;
    for (size_t i = 0; i < a->image_count; i++) {
        const struct record_image *im = &a->images[i];
        const struct record_layer *base = &a->layers[im->layers[im->layer_count - 1]];
        if ((image == a->image_count || image == i) && base->backing_file != NULL)
            return error_set(err, ERROR_UNSUPPORTED,
                             "%s: cannot be flattened, for its backing file %s is not part of the "
                             "archive",
                             im->path, base->backing_file);
    }
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
    effective.flatten |= options->format != ENGINE_AS_STORED;
    r.options = &effective;
    if (options->to == NULL || *options->to == 0)
        return error_set(err, ERROR_USAGE, "--to is missing");
    if (!effective.flatten && strcmp(options->to, "-") == 0)
        return error_set(err, ERROR_USAGE,
                         "a chain cannot be written to a stream; use --format raw");
    int rc = record_archive_read(&r.archive, store, &archive->id, err);
    if (rc < 0)
        return rc;
    rc = choose_image(&r, &image, err);
    if (rc == 0 && effective.flatten)
        rc = require_whole(&r, image, err);
    if (rc == 0)
        rc = effective.flatten ? restore_flattened(&r, image, err) : restore_chains(&r, image, err);
    record_archive_clear(&r.archive);
    return rc;
}
