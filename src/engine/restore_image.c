/* SPDX-License-Identifier: BSD-2-Clause */
/* Images as one file each: a folder, a file, a device or a stream; the active state, or a snapshot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/choose.h"
#include "engine/restore.h"

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
    const struct restore_format *format = restore_format_of(r->options->format);
    const char *suffix = format != NULL                     ? format->suffix
                         : r->options->format == ENGINE_RAW ? ".raw"
                                                            : ".qcow2";
    const char *slash = to[strlen(to) - 1] == '/' ? "" : "/";
    char *path = NULL;
    return asprintf(&path, "%s%s%.*s%s", to, slash, (int)stem, image->name, suffix) < 0 ? NULL
                                                                                        : path;
}

static int seal_flat(struct restore *r, const struct record_layer *top, struct target *target,
                     uint64_t written, struct error *err)
{
    struct target_attributes attributes = restore_layer_attributes(top);
    attributes.allocate = 0; /* how much of the file was, says nothing of this one */
    int rc = restore_step(r, "flushing", 0, err);
    if (rc == 0)
        rc = target_seal(target, &attributes, err);
    return rc < 0 ? rc : restore_report_file(r, target->path, &top->id, written, err);
}

static int write_flat(struct restore *r, struct flat_image *flat, struct target *target,
                      struct error *err)
{
    bool raw = r->options->format == ENGINE_RAW;
    uint64_t written = 0;
    int rc = raw ? restore_flat_raw(r, flat, target, &written, err)
                 : restore_flat_qcow2(r, flat, target, &written, err);
    if (rc == 0 && r->options->verify)
        rc = restore_verify_flat(r, flat, target, raw, err);
    return rc < 0 ? rc : seal_flat(r, flat_top(flat), target, written, err);
}

static int write_converted(struct restore *r, struct flat_image *flat, const char *path,
                           const struct restore_format *format, struct target *target,
                           struct error *err)
{
    struct restore_conversion c;
    uint64_t written = 0;
    int rc = restore_conversion_begin(&c, r, format, target, path, flat_size(flat), err);
    if (rc == 0)
        rc = restore_flat_raw(r, flat, &c.raw, &written, err);
    if (rc == 0 && r->options->verify)
        rc = restore_verify_flat(r, flat, &c.raw, true, err);
    if (rc == 0)
        rc = restore_conversion_finish(&c, r, err);
    restore_conversion_clear(&c);
    return rc < 0 ? rc : seal_flat(r, flat_top(flat), target, written, err);
}

static bool is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* One image to ${target}, which is not placed yet. */
static int restore_one(struct restore *r, const struct record_image *image, bool folder,
                       struct flat_image *flat, struct target *target, struct error *err)
{
    const struct restore_format *format = restore_format_of(r->options->format);
    char *path = flat_path(r, image, folder);
    int rc = path == NULL ? error_no_memory(err) : 0;
    bool device = path != NULL && is_device(path);
    if (rc == 0 && device && format != NULL)
        rc = error_set(err, ERROR_USAGE,
                       "%s: is a device, and a %s goes to a file; --format raw is for devices",
                       path, format->name);
    if (rc == 0 && format != NULL) {
        rc = write_converted(r, flat, path, format, target, err);
    } else if (rc == 0) {
        rc = device ? target_open_device(target, path, flat_size(flat), r->options->force, err)
                    : target_open(target, path, r->options->force, err);
        if (rc == 0)
            rc = write_flat(r, flat, target, err);
    }
    free(path);
    return rc;
}

static int restore_to_stdout(struct restore *r, const struct record_image *image, size_t view,
                             struct error *err)
{
    struct flat_image *flat = NULL;
    uint64_t written = 0;
    int rc = flat_open(&flat, r->store, &r->archive, image, view, err);
    if (rc == 0)
        r->bytes_total = flat_size(flat);
    if (rc == 0)
        rc = restore_flat_stream(r, flat, STDOUT_FILENO, &written, err);
    if (rc == 0)
        rc = restore_report_file(r, "-", &flat_top(flat)->id, written, err);
    flat_close(flat);
    return rc;
}

/* A chain that was backed up with --only-top has no base to be merged with; and what is encrypted
 * cannot be merged. */
static int require_mergeable(const struct restore *r, size_t image, struct error *err)
{
    const struct record_archive *a = &r->archive;
    for (size_t i = 0; i < a->image_count; i++) {
        const struct record_image *im = &a->images[i];
        for (size_t k = 0; k < im->layer_count && (image == a->image_count || image == i); k++)
            if (a->layers[im->layers[k]].qcow2.crypt_method != 0)
                return error_set(err, ERROR_UNSUPPORTED,
                                 "%s: is encrypted, and ciphertext cannot be merged or moved "
                                 "without the key; restore the chain as it is",
                                 a->layers[im->layers[k]].file.path);
        const struct record_layer *base = &a->layers[im->layers[im->layer_count - 1]];
        if ((image == a->image_count || image == i) && base->backing_file != NULL)
            return error_set(err, ERROR_UNSUPPORTED,
                             "%s: cannot be flattened, for its backing file %s is not part of the "
                             "archive",
                             im->path, base->backing_file);
    }
    return 0;
}

/* The view of the image's top that is meant: 0, or that of the snapshot. */
static int choose_view(const struct restore *r, const struct record_image *image, size_t *view,
                       struct error *err)
{
    const struct record_qcow2 *q = &r->archive.layers[image->layers[0]].qcow2;
    const char *wanted = r->options->snapshot;
    size_t named = 0;
    *view = 0;
    if (wanted == NULL)
        return 0;
    for (size_t i = 0; i < q->snapshot_count; i++)
        if (strcmp(q->snapshots[i].id, wanted) == 0) {
            *view = i + 1;
            return 0;
        }
    for (size_t i = 0; i < q->snapshot_count; i++)
        if (strcmp(q->snapshots[i].name, wanted) == 0) {
            *view = i + 1;
            named++;
        }
    if (named == 0) {
        int rc = error_set(err, ERROR_NOT_FOUND, "%s: has no snapshot %s%s", image->path, wanted,
                           q->snapshot_count > 0 ? ", but" : ", and no other");
        for (size_t i = 0; i < q->snapshot_count; i++)
            choose_add(err, i == 0, q->snapshots[i].name);
        return rc;
    }
    if (named > 1)
        return error_set(err, ERROR_USAGE, "%s: %zu snapshots are called %s; choose one by its id",
                         image->path, named, wanted);
    return 0;
}

static void tell_losses(const struct restore *r, const struct record_image *image, size_t view)
{
    const struct record_qcow2 *q = &r->archive.layers[image->layers[0]].qcow2;
    size_t snapshots = 0, bitmaps = 0;
    for (size_t i = 0; i < image->layer_count; i++) {
        snapshots += r->archive.layers[image->layers[i]].qcow2.snapshot_count;
        bitmaps += r->archive.layers[image->layers[i]].qcow2.bitmap_count;
    }
    if (snapshots + bitmaps > 0)
        restore_warn(r, "%s: flattened, so that %zu snapshots and %zu bitmaps are dropped",
                     image->path, snapshots, bitmaps);
    if (view > 0 && q->snapshots[view - 1].vm_state_size > 0)
        restore_warn(r, "%s: the VM state of snapshot %s is dropped", image->path,
                     q->snapshots[view - 1].id);
}

int restore_flattened(struct restore *r, size_t image, struct error *err)
{
    const struct record_archive *a = &r->archive;
    size_t first = image == a->image_count ? 0 : image;
    size_t count = image == a->image_count ? a->image_count : 1;
    bool folder = count > 1 || is_folder(r->options->to);
    unsigned passes = restore_format_of(r->options->format) != NULL ? 2 : 1;
    size_t view = 0;
    if (r->options->snapshot != NULL && count > 1)
        return error_set(err, ERROR_USAGE, "the archive has %zu images; choose one with --image",
                         count);
    int rc = require_mergeable(r, image, err);
    if (rc == 0)
        rc = choose_view(r, &a->images[first], &view, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        tell_losses(r, &a->images[first + i], view);
        r->bytes_total += a->layers[a->images[first + i].layers[0]].virtual_size * passes;
    }
    if (strcmp(r->options->to, "-") == 0) {
        if (count > 1)
            return error_set(err, ERROR_USAGE,
                             "the archive has %zu images; choose one with --image", count);
        if (r->options->format != ENGINE_RAW)
            return error_set(err, ERROR_USAGE, "only --format raw can be written to a stream");
        return restore_to_stdout(r, &a->images[first], view, err);
    }
    if (count > 1 && !is_folder(r->options->to) && access(r->options->to, F_OK) == 0)
        return error_set(err, ERROR_USAGE,
                         "%s: the archive has %zu images; choose one with --image, or a folder",
                         r->options->to, count);
    struct target *targets = calloc(count + 1, sizeof *targets);
    if (targets == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        targets[i].fd = -1;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct flat_image *flat = NULL;
        const struct record_image *chosen = &a->images[first + i];
        rc = flat_open(&flat, r->store, a, chosen, view, err);
        if (rc == 0) {
            restore_begin_file(r, i + 1, count);
            if (view > 0)
                r->bytes_total = flat_size(flat) * passes;
            rc = restore_one(r, chosen, folder, flat, &targets[i], err);
        }
        flat_close(flat);
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = target_place(&targets[i], err);
    for (size_t i = 0; i < count; i++) {
        if (rc < 0)
            target_unplace(&targets[i]);
        target_clear(&targets[i]);
    }
    free(targets);
    return rc;
}
