/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One archive from one or many images: every layer is opened and locked before
 * the first is read, and stays so until the commit; a file that changed
 * underway means that nothing is committed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/backup_bitmap.h"
#include "engine/backup_layer.h"
#include "engine/backup_origin.h"
#include "engine/blob.h"
#include "engine/engine.h"
#include "engine/parent.h"
#include "engine/path.h"
#include "engine/placing.h"
#include "engine/unchanged.h"

enum { TRIES = 3 }; /* where a prune frees what the run rests on */

struct backup {
    struct cs_store *store;
    const struct engine_backup_options *options;
    struct engine_backup_result *result;
    struct layer_set set;
    struct layer **tops; /* of each image */
    struct backup_bitmaps bitmaps;
    struct cs_writer *writer;
    struct record_archive archive;
    struct summary_file *files; /* what tells the layers' files */
    struct parents *parents;
    struct parent *chosen;       /* of the layers */
    struct timespec began;       /* before any file was looked at */
    _Atomic uint64_t read_later; /* backup_layer.h */
    struct backup_progress progress;
};

static void warn(const struct backup *b, const char *message)
{
    if (b->options->listener.warning != NULL)
        b->options->listener.warning(b->options->listener.arg, message);
}

static void on_warning(void *arg, const char *message)
{
    warn(arg, message);
}

/* Tells what is done while no layer is stored. */
static void tell(const struct backup *b, const char *what)
{
    const struct engine_listener *l = &b->options->listener;
    if (l->file != NULL)
        l->file(l->arg, 0, 0);
    if (l->progress != NULL)
        l->progress(l->arg, what, b->progress.done, b->progress.total);
}

/* ---- before anything is read ---- */

/* The first image's file name without its suffix. */
static int choose_name(struct backup *b, struct error *err)
{
    char *name = b->result->name;
    size_t room = sizeof b->result->name;
    const char *base =
        b->options->name != NULL ? b->options->name : path_base(b->options->images[0]);
    size_t n = strlen(base);
    const char *dot = strrchr(base, '.');
    if (b->options->name == NULL && dot != NULL && dot != base)
        n = (size_t)(dot - base);
    if (n >= room)
        return error_set(err, ERROR_USAGE, "the name has more than 255 bytes");
    memcpy(name, base, n);
    name[n] = 0;
    int rc = engine_check_name(name, err);
    if (rc < 0 && b->options->name == NULL)
        return error_wrap(err, "%s gives no name for the archive, choose one with --name",
                          b->options->images[0]);
    return rc;
}

static struct chain_options chain_options(const struct backup *b)
{
    return (struct chain_options){
        .only_top = b->options->only_top,
        .assume_stopped = b->options->assume_stopped,
        .force_corrupt = b->options->force_corrupt,
        .inside = b->options->origin != NULL ? b->options->origin->folder : NULL,
    };
}

static int add_bitmaps(struct backup *b, struct error *err)
{
    struct chain_options options = chain_options(b);
    return backup_bitmaps_add(&b->bitmaps, &options, err);
}

/* That image is not where the machine writes, or not all that it wrote. */
static void look_for_overlay(struct backup *b, const char *image)
{
    char message[4096];
    if (b->options->frozen_base ||
        snprintf(message, sizeof message, "%s.byre-live", image) >= (int)sizeof message ||
        access(message, F_OK) < 0)
        return;
    snprintf(message, sizeof message,
             "%s: the temporary overlay of a live backup lies beside it, so that newer writes are "
             "not part of this backup; byre live status says what to do",
             image);
    warn(b, message);
    b->result->partial = true;
}

static int open_images(struct backup *b, struct error *err)
{
    struct chain_options options = chain_options(b);
    b->tops = calloc(b->options->image_count, sizeof *b->tops);
    if (b->tops == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < b->options->image_count; i++) {
        int rc = layer_set_open(&b->set, b->options->images[i], &options, &b->tops[i], err);
        if (rc < 0)
            return rc;
        look_for_overlay(b, b->options->images[i]);
        if (!b->tops[i]->used_as_base)
            continue;
        b->result->top_in_use_as_base = true;
        if (b->options->frozen_base)
            continue;
        char message[4096];
        snprintf(message, sizeof message,
                 "%s: is in use as somebody's backing file, so that newer writes are in an overlay "
                 "that is not part of this backup (a forgotten blockcommit?); --frozen-base says "
                 "that this is meant",
                 b->options->images[i]);
        warn(b, message);
        b->result->partial = true;
    }
    return 0;
}

/* ---- records ---- */

static size_t position_of(const struct backup *b, const struct layer *layer)
{
    size_t i = 0;
    while (b->set.layers[i] != layer)
        i++;
    return i;
}

static int describe_images(struct backup *b, struct error *err)
{
    size_t n = b->options->image_count;
    b->archive.images = calloc(n, sizeof *b->archive.images);
    if (b->archive.images == NULL)
        return error_no_memory(err);
    b->archive.image_count = n;
    for (size_t i = 0; i < n; i++) {
        struct record_image *image = &b->archive.images[i];
        const char *path = b->archive.layers[position_of(b, b->tops[i])].file.path;
        image->path = strdup(path);
        image->name = strdup(path_base(path));
        image->layers = calloc(b->set.count, sizeof *image->layers);
        if (image->path == NULL || image->name == NULL || image->layers == NULL)
            return error_no_memory(err);
        for (const struct layer *l = b->tops[i]; l != NULL; l = l->backing)
            image->layers[image->layer_count++] = position_of(b, l);
    }
    return 0;
}

static int describe_archive(struct backup *b, struct error *err)
{
    struct record_archive *a = &b->archive;
    const struct backup_origin *origin = b->options->origin;
    char text[64], host[256] = "";
    struct tm tm;
    time_t t = b->began.tv_sec;
    gethostname(host, sizeof host - 1);
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    cs_random_hex(a->nonce, sizeof a->nonce - 1);
    a->name = strdup(b->result->name);
    a->host = strdup(origin != NULL ? origin->host : host);
    a->time = strdup(origin != NULL ? origin->time : text);
    a->tags = calloc(b->options->tag_count + 1, sizeof *a->tags);
    if (a->name == NULL || a->host == NULL || a->time == NULL || a->tags == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < b->options->tag_count; i++) {
        a->tags[i] = strdup(b->options->tags[i]);
        if (a->tags[i] == NULL)
            return error_no_memory(err);
        a->tag_count = i + 1;
    }
    return 0;
}

/* ---- storing ---- */

/* ---- parents ---- */

/* Describes the layers' files, and finds out in which archives they are already. */
static int choose_parents(struct backup *b, struct error *err)
{
    size_t n = b->set.count;
    b->archive.layers = calloc(n + 1, sizeof *b->archive.layers);
    b->files = calloc(n + 1, sizeof *b->files);
    b->chosen = calloc(n + 1, sizeof *b->chosen);
    if (b->archive.layers == NULL || b->files == NULL || b->chosen == NULL)
        return error_no_memory(err);
    b->archive.layer_count = n;
    for (size_t i = 0; i < n; i++) {
        struct record_layer *record = &b->archive.layers[i];
        int rc = backup_layer_describe(b->set.layers[i], b->options->origin, record, err);
        if (rc < 0)
            return rc;
        parent_tags(b->store, record, b->archive.host, &b->files[i]);
    }
    return parents_choose(&b->parents, b->store, b->files, n, b->chosen, &b->options->listener,
                          err);
}

/* Whether ${layer} says that there is one below it, which was not opened. */
static bool lacks_base(const struct layer *layer)
{
    return layer->backing == NULL && layer->format == LAYER_QCOW2 &&
           qcow2_image_header(layer->image)->backing_file[0] != 0;
}

/* Whether nothing was written to the layers below ${layer}, stored already, since ${parent}. That
 * they hold what they held is not enough: what is copied up from them leaves no trace, and they may
 * have held something else in between. */
static bool below_frozen(const struct backup *b, const struct layer *layer,
                         const struct parent *parent)
{
    size_t then = parent->position;
    if (parent->archive == NULL)
        return false;
    for (; layer->backing != NULL; layer = layer->backing)
        if (!parent_below(parent, &then) ||
            !unchanged_is_frozen(&b->archive.layers[position_of(b, layer->backing)],
                                 &parent->archive->layers[then], parent->started_ns,
                                 b->options->trust_mtime))
            return false;
    return !lacks_base(layer) && !parent_below(parent, &then);
}

/* ---- storing ---- */

/* Tells the writer whose subtrees are taken over: it has to notice if they are forgotten. */
static int name_used(struct backup *b, struct error *err)
{
    struct cs_error ce;
    for (size_t i = 0; i < b->set.count && !b->options->full_read; i++)
        if (b->chosen[i].archive != NULL &&
            cs_writer_uses_archive(b->writer, &b->chosen[i].archive->id, &ce) < 0)
            return engine_store_error(err, &ce);
    return 0;
}

/* What the host has allocated is the best guess of what there is to deal with. */
static void begin_progress(struct backup *b)
{
    b->progress = (struct backup_progress){.listener = &b->options->listener};
    for (size_t i = 0; i < b->set.count; i++) {
        uint64_t host = (uint64_t)b->set.layers[i]->st.st_blocks * 512;
        uint64_t size = b->set.layers[i]->file_size;
        b->progress.total += S_ISREG(b->set.layers[i]->st.st_mode) && host < size ? host : size;
    }
    tell(b, "looking for earlier backups");
}

static int store_layers(struct backup *b, struct error *err)
{
    const struct engine_listener *l = &b->options->listener;
    size_t n = b->set.count;
    struct backup_run run = {
        .store = b->store,
        .writer = b->writer,
        .options = b->options,
        .result = b->result,
        .progress = &b->progress,
        .read_later = &b->read_later,
    };
    int rc = name_used(b, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (l->file != NULL)
            l->file(l->arg, i + 1, n);
        rc = backup_layer(&run, b->set.layers[i], &b->chosen[i],
                          below_frozen(b, b->set.layers[i], &b->chosen[i]), &b->archive.layers[i],
                          err);
    }
    b->result->layers_total = n;
    return rc;
}

static int store_side_file(struct backup *b, const char *path, struct record_side_file *side,
                           struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_sys(err, errno, "%s", path);
    int rc = 0;
    if (fstat(fd, &st) < 0)
        rc = error_sys(err, errno, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = error_set(err, ERROR_USAGE, "%s: a side file must be a regular file", path);
    side->mode = st.st_mode;
    side->name = strdup(path_base(path));
    if (rc == 0 && side->name == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < b->archive.with_count; i++)
        if (strcmp(b->archive.with[i].name, side->name) == 0)
            rc = error_set(err, ERROR_USAGE, "%s: there is another side file of this name", path);
    if (rc == 0)
        rc = blob_write_file(b->writer, fd, path, 0, &side->blob, err);
    close(fd);
    if (rc == 0 && b->options->origin != NULL)
        side->mode = b->options->origin->side_file_mode(b->options->origin->arg, side->name);
    return rc;
}

static int store_side_files(struct backup *b, struct error *err)
{
    b->archive.with = calloc(b->options->with_count + 1, sizeof *b->archive.with);
    if (b->archive.with == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < b->options->with_count; i++) {
        tell(b, b->options->with[i]);
        int rc = store_side_file(b, b->options->with[i], &b->archive.with[i], err);
        b->archive.with_count = i + 1; /* also on failure: it may own something */
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int store_record(struct backup *b, enum cs_type type, const char *json, size_t len,
                        struct cs_id *id, struct error *err)
{
    struct cs_error ce;
    if (cs_write_object(b->writer, type, json, len, id, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

static int store_records(struct backup *b, struct error *err)
{
    const struct backup_origin *origin = b->options->origin;
    char *json = NULL;
    size_t len = 0;
    int rc = origin != NULL ? origin->complete(origin->arg, err) : 0;
    if (rc == 0)
        rc = placing_assign(&b->archive, err);
    for (size_t i = 0; rc == 0 && i < b->archive.layer_count; i++) {
        struct record_layer *layer = &b->archive.layers[i];
        rc = record_layer_encode(layer, &json, &len, err);
        if (rc == 0)
            rc = store_record(b, CS_LAYER_RECORD, json, len, &layer->id, err);
        free(json);
        json = NULL;
    }
    if (rc == 0)
        rc = record_archive_encode(&b->archive, &json, &len, err);
    if (rc == 0)
        rc = store_record(b, CS_ARCHIVE_RECORD, json, len, &b->archive.id, err);
    free(json);
    return rc;
}

static int commit(struct backup *b, struct error *err)
{
    struct cs_error ce;
    char *summary = NULL;
    size_t len = 0;
    struct summary_details details = {
        .summary = {.images = b->archive.image_count,
                    .bytes_allocated = b->result->bytes_allocated},
        .started_ns = b->began.tv_sec * 1000000000LL + b->began.tv_nsec,
        .bytes_read = b->result->bytes_read,
        .files = b->files,
        .file_count = b->archive.layer_count,
    };
    const struct parent *parent = &b->chosen[position_of(b, b->tops[0])];
    if (parent->archive != NULL && !b->options->full_read) {
        cs_id_hex(&parent->archive->id, details.summary.parent);
        memcpy(b->result->parent, details.summary.parent, sizeof b->result->parent);
    }
    int rc = summary_encode(&details, &summary, &len, err);
    if (rc < 0)
        return rc;
    struct cs_commit commit = {
        .archive = b->archive.id,
        .time = b->options->origin != NULL ? b->options->origin->seconds : b->began.tv_sec,
        .name = b->archive.name,
        .host = b->archive.host,
        .tags = (const char *const *)b->archive.tags,
        .tag_count = b->archive.tag_count,
        .summary = summary,
        .summary_len = len,
    };
    if (cs_writer_commit(b->writer, &commit, &b->result->stored, &ce) < 0)
        rc = engine_store_error(err, &ce);
    else
        b->result->archive = b->archive.id;
    free(summary);
    return rc;
}

static int check_tags(const struct engine_backup_options *options, struct error *err)
{
    for (size_t i = 0; i < options->tag_count; i++)
        if (engine_check_name(options->tags[i], err) < 0)
            return error_wrap(err, "tag");
    return 0;
}

static int run(struct backup *b, struct error *err)
{
    struct cs_error ce;
    struct cs_writer_options options = {
        .compression_level = b->options->compression_level,
        .dry_run = b->options->dry_run,
    };
    int rc = choose_name(b, err);
    if (rc == 0)
        rc = check_tags(b->options, err);
    if (rc == 0)
        rc = add_bitmaps(b, err);
    if (rc == 0)
        rc = open_images(b, err);
    if (rc == 0)
        rc = backup_bitmaps_check(&b->bitmaps, b->tops, err);
    if (rc == 0)
        rc = describe_archive(b, err);
    if (rc == 0)
        begin_progress(b);
    if (rc == 0 && cs_find_missing_packs(b->store, on_warning, b, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = choose_parents(b, err);
    if (rc == 0)
        rc = describe_images(b, err);
    if (rc == 0 && cs_writer_begin(&b->writer, b->store, &options, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = store_layers(b, err);
    if (rc == 0)
        rc = store_side_files(b, err);
    if (rc == 0)
        rc = store_records(b, err);
    if (rc == 0)
        rc = layer_set_verify_unchanged(&b->set, err);
    if (rc == 0)
        tell(b, "flushing");
    if (rc == 0 && !b->options->dry_run)
        rc = commit(b, err);
    else if (rc == 0)
        cs_writer_counters(b->writer, &b->result->stored);
    /* what a stopped run has stored, the next one finds */
    if (rc == ERROR_INTERRUPTED && b->writer != NULL)
        cs_writer_publish(b->writer, NULL);
    return rc;
}

static int backup_once(struct cs_store *store, const struct engine_backup_options *options,
                       struct engine_backup_result *result, struct error *err)
{
    struct backup b = {.store = store, .options = options, .result = result};
    clock_gettime(CLOCK_REALTIME_COARSE, &b.began); /* the clock of file systems */
    b.bitmaps = (struct backup_bitmaps){
        .repository = cs_repository_id(store), .options = options, .result = result};
    *result = (struct engine_backup_result){0};
    if (options->image_count == 0)
        return error_set(err, ERROR_USAGE, "no image is named");
    int rc = run(&b, err);
    cs_writer_end(b.writer);
    layer_set_clear(&b.set); /* the locks go last, */
    backup_bitmaps_finish(&b.bitmaps,
                          rc == 0 && !options->dry_run); /* but qemu-img needs its own */
    record_archive_clear(&b.archive);
    parents_free(b.parents);
    free(b.chosen);
    free(b.files);
    free(b.tops);
    return rc;
}

int engine_backup(struct cs_store *store, const struct engine_backup_options *options,
                  struct engine_backup_result *result, struct error *err)
{
    for (int tries = 1;; tries++) {
        int rc = backup_once(store, options, result, err);
        if (rc != ERROR_CONFLICT || tries == TRIES)
            return rc;
        if (options->listener.note != NULL && err != NULL)
            options->listener.note(options->listener.arg, err->message);
    }
}
