/* SPDX-License-Identifier: BSD-2-Clause */
/* What an archive's record names. Whatever comes into a record that lies elsewhere comes in here,
 * and into copy_layer.c. */
#include "engine/walk.h"

static int walk_layer(const struct record_layer *layer, const struct walk_visitor *v,
                      struct error *err)
{
    const struct record_qcow2 *q = &layer->qcow2;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++) {
        rc = v->tree(v->arg, &layer->views[i].content, layer, layer->file.path, err);
        if (rc == 0 && layer->is_qcow2)
            rc = v->tree(v->arg, &layer->views[i].placement, layer, layer->file.path, err);
    }
    if (rc == 0)
        rc = v->blob(v->arg, &q->header, layer->file.path, err);
    if (rc == 0)
        rc = v->blob(v->arg, &q->crypto, layer->file.path, err);
    if (rc == 0 && q->data_file != NULL)
        rc = v->blob(v->arg, &q->data_file->tail, layer->file.path, err);
    for (size_t i = 0; rc == 0 && i < q->bitmap_count; i++)
        rc = v->blob(v->arg, &q->bitmaps[i].data, layer->file.path, err);
    return rc;
}

int walk_record(const struct record_archive *record, const struct walk_visitor *v,
                struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < record->layer_count; i++) {
        rc = walk_layer(&record->layers[i], v, err);
        if (rc == 0 && v->cancel != NULL && *v->cancel)
            rc = error_set(err, ERROR_INTERRUPTED, "stopped");
    }
    for (size_t i = 0; rc == 0 && i < record->with_count; i++)
        rc = v->blob(v->arg, &record->with[i].blob, record->with[i].name, err);
    return rc;
}
