/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One layer into the store: its file is described here, and what is as the
 * parent has it is taken over as a whole; its parts are stored by the
 * neighbours.
 */
#include "engine/backup_layer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/backup_qcow2.h"
#include "engine/base_view.h"
#include "engine/unchanged.h"

/* An export is no file of this host: what a restore needs to know is what a new one would be. */
static int describe_export(const struct layer *layer, struct record_file *file, struct error *err)
{
    *file = (struct record_file){
        .path = strdup(layer->path),
        .real_path = strdup(layer->real_path),
        .size = layer->virtual_size,
        .mode = S_IFREG | 0600,
        .uid = geteuid(),
        .gid = getegid(),
    };
    return file->path == NULL || file->real_path == NULL ? error_no_memory(err) : 0;
}

int backup_layer_describe(const struct layer *layer, const struct content *content,
                          const char *bitmap, const struct backup_origin *origin,
                          struct record_layer *record, struct error *err)
{
    enum backup_kind kind = layer->format == LAYER_QCOW2 ? BACKUP_QCOW2 : BACKUP_RAW;
    record->virtual_size = layer->virtual_size;
    if (content != NULL) {
        record->content = content_record(content, content_is_export(content) ? bitmap : NULL);
        if (record->content == NULL)
            return error_no_memory(err);
    }
    int rc = layer->fd < 0
                 ? describe_export(layer, &record->file, err)
                 : record_file_describe(&record->file, layer->fd, &layer->st, layer->file_size,
                                        layer->path, layer->real_path, err);
    if (rc == 0 && origin != NULL)
        rc = origin->file(origin->arg, kind, &record->file, err);
    if (rc < 0)
        return rc;
    /* only the top was opened by a path that is not in another layer */
    bool is_top = origin != NULL && strcmp(layer->opened_as, layer->path) == 0;
    record->opened_as = strdup(is_top ? record->file.path : layer->opened_as);
    return record->opened_as == NULL ? error_no_memory(err) : 0;
}

/* Takes over all trees of the parent's layer. */
static int take_over(struct layer_job *job, struct error *err)
{
    const struct record_layer *before = job->unchanged->before;
    struct record_layer *record = job->record;
    for (size_t i = 0; i < before->view_count; i++) {
        int rc = base_view_try(job, before, i, err);
        if (rc < 0)
            return rc;
    }
    if (record->views == NULL) { /* raw */
        record->views = calloc(before->view_count + 1, sizeof *record->views);
        if (record->views == NULL)
            return error_no_memory(err);
        record->view_count = before->view_count;
    }
    /* the same metadata, so as many views, in the same order */
    memcpy(record->views, before->views, record->view_count * sizeof *record->views);
    layer_job_progress(job, before->bytes_allocated);
    return 0;
}

static int store_by_rule(struct layer_job *job, struct error *err)
{
    const struct unchanged *u = job->unchanged;
    if (u->rule == UNCHANGED_FROZEN || u->rule == UNCHANGED_MTIME)
        return take_over(job, err);
    if (job->content != NULL)
        return backup_content(job, err);
    return job->layer->format == LAYER_QCOW2 ? backup_qcow2_views(job, err) : backup_raw(job, err);
}

static int store(struct layer_job *job, struct error *err)
{
    int rc = store_by_rule(job, err);
    if (rc == 0 || !job->parent_broken)
        return rc;
    layer_job_warn(job, "%s: the earlier backup cannot be used, so all is read: %s",
                   job->layer->path, err->message);
    unchanged_forget(job->unchanged, "the earlier backup of this file cannot be read");
    return store_by_rule(job, err);
}

/* Whether every view came out as the parent has it. */
static bool came_out_same(const struct record_layer *a, const struct record_layer *b)
{
    if (b == NULL || a->view_count != b->view_count || a->is_qcow2 != b->is_qcow2)
        return false;
    for (size_t i = 0; i < a->view_count; i++)
        if (!record_same_tree(&a->views[i].content, &b->views[i].content) ||
            (a->is_qcow2 && !record_same_tree(&a->views[i].placement, &b->views[i].placement)))
            return false;
    return true;
}

static int say_how(struct record_layer *record, const struct unchanged *u, struct error *err)
{
    record->delta = strdup(unchanged_rule_name(u->rule));
    record->delta_reason = strdup(u->reason);
    return record->delta == NULL || record->delta_reason == NULL ? error_no_memory(err) : 0;
}

int backup_layer(struct backup_run *run, const struct layer *layer, struct content *content,
                 const struct parent *parent, bool below_frozen, struct record_layer *record,
                 struct error *err)
{
    struct unchanged unchanged = {0};
    struct layer_job job = {
        .run = run,
        .store = run->store,
        .writer = run->writer,
        .layer = layer,
        .content = content,
        .record = record,
        .region_size = cs_region_size(run->store),
    };
    bool qcow2 = layer->format == LAYER_QCOW2;
    int rc = qcow2 ? backup_qcow2_metadata(&job, err) : 0;
    if (rc == 0)
        rc = unchanged_decide(&unchanged, &job, parent, below_frozen, err);
    job.unchanged = &unchanged;
    if (rc == 0)
        rc = store(&job, err);
    if (rc == 0)
        rc = say_how(record, &unchanged, err);
    if (rc == 0) {
        record->bytes_allocated =
            qcow2 ? record->views->placement.bytes : record->views->content.bytes;
        run->result->layers_unchanged += came_out_same(record, unchanged.before);
        run->result->bytes_allocated += record->bytes_allocated;
    }
    run->result->bytes_read += job.bytes_read + atomic_exchange(run->read_later, 0) +
                               (qcow2 ? qcow2_image_data_read(layer->image) : 0);
    run->result->bytes_metadata_read += job.metadata_read + layer_metadata_read(layer);
    unchanged_clear(&unchanged);
    return rc;
}
