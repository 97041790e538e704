/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A restore for practice: into a folder of its own, judged by qemu-img and by a
 * command of the user's, and removed whatever came of it. How images are
 * restored, and read back, is restore.c's.
 */
#include "engine/drill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/program.h"
#include "engine/path.h"
#include "engine/qemu_img.h"
#include "engine/record.h"
#include "engine/scratch.h"

struct drill {
    struct cs_store *store;
    const struct cs_archive *archive;
    const struct engine_drill_options *options;
    struct engine_drill_result *result;
    struct record_archive record;
};

static void note(const struct drill *d, const char *what, const char *path)
{
    char text[4096];
    if (d->options->listener.note == NULL)
        return;
    snprintf(text, sizeof text, "%s %s", what, path);
    d->options->listener.note(d->options->listener.arg, text);
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What a layer will take at least. Lost clusters come back as holes, unless the whole file was
 * allocated; a device took nothing of a file system. */
static uint64_t layer_needs(const struct record_layer *layer)
{
    const struct record_file *file = &layer->file;
    const struct record_data_file *data = layer->qcow2.data_file;
    uint64_t took = file->host_bytes;
    if (took == 0 || (took < file->size && took > layer->bytes_allocated))
        took = layer->bytes_allocated;
    if (data != NULL)
        took = data->file.host_bytes;
    return took;
}

static uint64_t bytes_needed(const struct record_archive *a)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < a->layer_count; i++)
        sum = add(sum, layer_needs(&a->layers[i]));
    for (size_t i = 0; i < a->with_count; i++)
        sum = add(sum, a->with[i].blob.bytes);
    return sum;
}

static bool has_qcow2(const struct record_archive *a)
{
    for (size_t i = 0; i < a->layer_count; i++)
        if (a->layers[i].is_qcow2)
            return true;
    return false;
}

static int require_space(const struct drill *d, struct error *err)
{
    const char *folder = d->options->folder;
    uint64_t needed = bytes_needed(&d->record), available = 0;
    struct statvfs st;
    if (statvfs(folder, &st) < 0)
        return error_sys(err, errno, "%s", folder);
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, &available))
        available = UINT64_MAX;
    if (available >= needed)
        return 0;
    return error_set(err, ERROR_NO_SPACE,
                     "%s: the restored images take at least %" PRIu64 " MiB, and %" PRIu64
                     " MiB are free; --to names another folder",
                     folder, needed >> 20, available >> 20);
}

/* ---- files -------------------------------------------------------------------- */

/* The layer that was restored to ${path}, which is below the folder; NULL for other files. */
static const struct record_layer *layer_at(const struct record_archive *a, const char *path)
{
    for (size_t i = 0; i < a->layer_count; i++)
        if (strcmp(a->layers[i].file.placed_path, path) == 0)
            return &a->layers[i];
    return NULL;
}

static int restore(struct drill *d, struct error *err)
{
    struct engine_drill_result *result = d->result;
    const struct engine_restore_options options = {
        .to = result->folder, .verify = true, .listener = d->options->listener};
    struct engine_restore_result restored = {0};
    int rc = engine_restore(d->store, d->archive, &options, &restored, err);
    if (rc == 0)
        result->files = calloc(restored.file_count + 1, sizeof *result->files);
    if (rc == 0 && result->files == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < restored.file_count; i++) {
        const struct engine_restored_file *from = &restored.files[i];
        struct engine_drill_file *file = &result->files[result->file_count++];
        file->path = strdup(from->path + strlen(result->folder) + 1);
        if (file->path == NULL) {
            rc = error_no_memory(err);
            break;
        }
        memcpy(file->layer, from->layer, sizeof file->layer);
        file->bytes_written = from->bytes_written;
        const struct record_layer *layer = layer_at(&d->record, file->path);
        file->is_qcow2 = layer != NULL && layer->is_qcow2;
        file->encrypted = file->is_qcow2 && layer->qcow2.crypt_method != 0;
    }
    result->bytes_written = restored.bytes_written;
    engine_restore_result_clear(&restored);
    return rc;
}

/* Turns what qemu-img said into a verdict, and counts it. */
static int judge(struct drill *d, enum qemu_img_verdict said, const char *text,
                 enum engine_drill_verdict *verdict, char **message, struct error *err)
{
    *verdict = said == QEMU_IMG_CLEAN   ? ENGINE_DRILL_CLEAN
               : said == QEMU_IMG_LEAKS ? ENGINE_DRILL_LEAKS
                                        : ENGINE_DRILL_FAILED;
    d->result->failures += *verdict == ENGINE_DRILL_FAILED;
    if (said == QEMU_IMG_CLEAN)
        return 0;
    *message = strdup(text);
    return *message == NULL ? error_no_memory(err) : 0;
}

static int check_file(struct drill *d, struct engine_drill_file *file, struct error *err)
{
    char text[QEMU_IMG_MESSAGE];
    enum qemu_img_verdict said = QEMU_IMG_ERRORS;
    if (!file->is_qcow2 || file->encrypted)
        return 0;
    note(d, "checking", file->path);
    char *path = path_join(d->result->folder, file->path);
    if (path == NULL)
        return error_no_memory(err);
    int rc = qemu_img_check(path, d->options->listener.cancel, &said, text, err);
    free(path);
    return rc < 0 ? rc : judge(d, said, text, &file->check, &file->message, err);
}

/* ---- images ------------------------------------------------------------------- */

static int check_image(struct drill *d, const struct record_image *from, struct error *err)
{
    struct engine_drill_image *image = &d->result->images[d->result->image_count++];
    const struct record_layer *top = &d->record.layers[from->layers[0]];
    const struct record_layer *base = &d->record.layers[from->layers[from->layer_count - 1]];
    char text[QEMU_IMG_MESSAGE];
    enum qemu_img_verdict said = QEMU_IMG_ERRORS;
    image->name = strdup(from->name);
    image->path = strdup(top->file.placed_path);
    image->layer_count = from->layer_count;
    image->complete = base->backing_file == NULL;
    char *path = path_join(d->result->folder, top->file.placed_path);
    int rc = 0;
    if (image->name == NULL || image->path == NULL || path == NULL)
        rc = error_no_memory(err);
    else if (image->complete && top->is_qcow2)
        rc = qemu_img_check_chain(path, d->options->listener.cancel, &said, text, err);
    free(path);
    if (rc < 0 || !image->complete || !top->is_qcow2)
        return rc;
    return judge(d, said, text, &image->chain, &image->message, err);
}

static int check_images(struct drill *d, struct error *err)
{
    const struct record_archive *a = &d->record;
    int rc = 0;
    d->result->images = calloc(a->image_count + 1, sizeof *d->result->images);
    if (d->result->images == NULL)
        return error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < a->image_count; i++)
        rc = check_image(d, &a->images[i], err);
    return rc;
}

/* ---- the command -------------------------------------------------------------- */

/* "BYRE_DRILL_IMAGES=" and the paths, one a line. */
static char *make_image_list(const struct drill *d)
{
    char *list = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&list, &size);
    if (stream == NULL)
        return NULL;
    fputs("BYRE_DRILL_IMAGES=", stream);
    for (size_t i = 0; i < d->result->image_count; i++)
        fprintf(stream, "%s%s/%s", i > 0 ? "\n" : "", d->result->folder, d->result->images[i].path);
    int failed = ferror(stream);
    if (fclose(stream) != 0 || failed) {
        free(list);
        return NULL;
    }
    return list;
}

static int run_command(struct drill *d, struct error *err)
{
    const char *const argv[] = {"/bin/sh", "-c", d->options->command, NULL};
    char hex[CS_ID_HEX];
    char *folder = NULL, *archive = NULL;
    char *images = make_image_list(d);
    struct program_result ended = {0};
    int rc = 0;
    if (images == NULL || asprintf(&folder, "BYRE_DRILL_DIR=%s", d->result->folder) < 0 ||
        asprintf(&archive, "BYRE_DRILL_ARCHIVE=%s", cs_id_hex(&d->archive->id, hex)) < 0) {
        rc = error_no_memory(err);
    } else {
        char *const environment[] = {folder, archive, images, NULL};
        const struct program_options options = {
            .argv = argv,
            .folder = d->result->folder,
            .environment = environment,
            .terminate = true,
            .cancel = d->options->listener.cancel,
        };
        note(d, "running", d->options->command);
        if (d->options->before_command != NULL)
            d->options->before_command(d->options->listener.arg);
        rc = program_run(&options, &ended, err);
    }
    free(folder);
    free(archive);
    free(images);
    if (rc < 0)
        return rc;
    d->result->command_ran = true;
    d->result->command_code = ended.code;
    d->result->failures += ended.code != 0;
    return 0;
}

/* ---- all of it ---------------------------------------------------------------- */

static int in_folder(struct drill *d, struct error *err)
{
    int rc = restore(d, err);
    for (size_t i = 0; rc == 0 && i < d->result->file_count; i++)
        rc = check_file(d, &d->result->files[i], err);
    if (rc == 0)
        rc = check_images(d, err);
    if (rc == 0 && d->options->command != NULL && d->result->failures == 0)
        rc = run_command(d, err);
    return rc;
}

/* What is left there is somebody's disk: it is said, whatever else went wrong. */
static void remove_folder(const struct drill *d)
{
    const struct engine_listener *listener = &d->options->listener;
    struct error err = {0};
    if (scratch_remove(d->result->folder, &err) == 0)
        return;
    d->result->failures++;
    if (listener->warning != NULL)
        listener->warning(listener->arg, err.message);
}

int engine_drill(struct cs_store *store, const struct cs_archive *archive,
                 const struct engine_drill_options *options, struct engine_drill_result *result,
                 struct error *err)
{
    struct drill d = {.store = store, .archive = archive, .options = options, .result = result};
    struct cs_error ce;
    *result = (struct engine_drill_result){0};
    if (cs_require_data_key(store, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = record_archive_read(&d.record, store, &archive->id, err);
    if (rc < 0)
        rc = engine_unless_forgotten(store, archive, err);
    if (rc == 0)
        rc = require_space(&d, err);
    if (rc == 0 && has_qcow2(&d.record))
        rc = qemu_img_require(options->listener.cancel, err);
    if (rc == 0)
        rc = scratch_make(options->folder, "byre-drill", &result->folder, err);
    if (rc == 0) {
        rc = in_folder(&d, err);
        if (!options->keep)
            remove_folder(&d);
    }
    record_archive_clear(&d.record);
    return rc;
}

void engine_drill_result_clear(struct engine_drill_result *result)
{
    for (size_t i = 0; i < result->file_count; i++) {
        free(result->files[i].path);
        free(result->files[i].message);
    }
    for (size_t i = 0; i < result->image_count; i++) {
        free(result->images[i].name);
        free(result->images[i].path);
        free(result->images[i].message);
    }
    free(result->files);
    free(result->images);
    free(result->folder);
    *result = (struct engine_drill_result){0};
}
