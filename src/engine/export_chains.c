/* SPDX-License-Identifier: BSD-2-Clause */
/* All of an archive into a tar: the files that a restore would write. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/export.h"

/* ---- the manifest ---- */

static void describe_file(const struct record_file *record, struct manifest_file *file)
{
    file->name = strdup(record->placed_path);
    file->path = strdup(record->path);
    file->host_bytes = record->host_bytes;
    file->mode = S_ISREG(record->mode) ? record->mode & 07777 : 0600;
    file->uid = record->uid;
    file->gid = record->gid;
    file->mtime_ns = record->mtime_ns;
}

static char *copy_of(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

static int describe_layer(struct exporter *e, const struct restore_plan *plan, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    const char *format =
        plan->backing_format != NULL ? plan->backing_format : layer->backing_format;
    struct manifest_file *file = manifest_add_file(&e->manifest);
    if (file == NULL)
        return error_no_memory(err);
    describe_file(&layer->file, file);
    file->kind = layer->is_qcow2 ? MANIFEST_QCOW2 : MANIFEST_RAW;
    file->virtual_size = layer->virtual_size;
    file->backing_file = copy_of(plan->backing);
    file->backing_format = plan->backing != NULL ? copy_of(format) : NULL;
    cs_id_hex(&layer->id, file->layer);
    if (file->name == NULL || file->path == NULL ||
        (plan->backing != NULL && file->backing_file == NULL))
        return error_no_memory(err);
    if (layer->qcow2.data_file == NULL)
        return 0;
    file = manifest_add_file(&e->manifest);
    if (file == NULL)
        return error_no_memory(err);
    describe_file(&layer->qcow2.data_file->file, file);
    file->kind = MANIFEST_DATA;
    cs_id_hex(&layer->id, file->layer);
    return file->name == NULL || file->path == NULL ? error_no_memory(err) : 0;
}

static int describe_images(struct exporter *e, struct error *err)
{
    const struct record_archive *a = &e->r.archive;
    for (size_t i = 0; i < a->image_count; i++) {
        struct manifest_image *image = manifest_add_image(&e->manifest);
        if (image == NULL)
            return error_no_memory(err);
        image->name = strdup(a->images[i].name);
        image->path = strdup(a->images[i].path);
        if (image->name == NULL || image->path == NULL)
            return error_no_memory(err);
        for (size_t k = 0; k < a->images[i].layer_count; k++)
            if (!manifest_image_add(image, a->layers[a->images[i].layers[k]].file.placed_path))
                return error_no_memory(err);
    }
    return 0;
}

static int describe(struct exporter *e, const struct restore_plan *plans, size_t n,
                    struct error *err)
{
    int rc = describe_images(e, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = plans[i].layer != NULL ? describe_layer(e, &plans[i], err)
                                    : export_describe_side_file(e, plans[i].side, err);
    return rc;
}

/* ---- the files ---- */

static int send_layer(struct exporter *e, struct restore_plan *plan,
                      const struct manifest_file **next, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    const struct record_data_file *data = layer->qcow2.data_file;
    struct restore_names names = restore_plan_names(plan);
    uint64_t written = 0;
    int rc = export_spool(e, layer->file.placed_path, &plan->target, err);
    if (rc == 0 && data != NULL)
        rc = export_spool(e, data->file.placed_path, &plan->data, err);
    if (rc == 0) {
        rc = restore_layer(&e->r, layer, &names, &plan->target, &written, err);
        if (rc == ERROR_NO_SPACE)
            rc = export_no_room(e, err);
    }
    if (rc == 0)
        rc = export_send(e, (*next)++, &plan->target, err);
    if (rc == 0 && data != NULL)
        rc = export_send(e, (*next)++, &plan->data, err);
    return rc;
}

int export_chains(struct exporter *e, struct error *err)
{
    struct restore_plan *plans = NULL;
    size_t count = 0;
    int rc = restore_plans_make(&e->r, e->r.archive.image_count, &plans, &count, err);
    e->r.bytes_total *= 2; /* all is written, and then sent */
    if (rc == 0)
        rc = describe(e, plans, count, err);
    if (rc == 0)
        rc = export_manifest(e, err);
    const struct manifest_file *next = e->manifest.files;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = plans[i].layer != NULL ? send_layer(e, &plans[i], &next, err)
                                    : export_send_side_file(e, plans[i].side, next++, err);
    restore_plans_free(plans, count);
    return rc;
}
