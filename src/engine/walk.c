/* SPDX-License-Identifier: BSD-2-Clause */
/* What an archive's record names. Whatever comes into a record that lies elsewhere comes in here,
 * and into copy_layer.c. */
#include "engine/walk.h"

static int visit_tree(const struct walk_visitor *v, enum walk_part part, size_t index,
                      const struct cs_tree *tree, const struct record_layer *layer,
                      struct error *err)
{
    if (v->at != NULL)
        *v->at = (struct walk_at){.part = part, .layer = layer, .index = index};
    return v->tree(v->arg, tree, layer, layer->file.path, err);
}

static int visit_blob(const struct walk_visitor *v, enum walk_part part, size_t index,
                      const struct record_blob *blob, const struct record_layer *layer,
                      struct error *err)
{
    if (v->at != NULL)
        *v->at = (struct walk_at){.part = part, .layer = layer, .index = index};
    return v->blob(v->arg, blob, layer->file.path, err);
}

static int walk_layer(const struct record_layer *layer, const struct walk_visitor *v,
                      struct error *err)
{
    const struct record_qcow2 *q = &layer->qcow2;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++) {
        rc = visit_tree(v, WALK_CONTENT, i, &layer->views[i].content, layer, err);
        if (rc == 0 && layer->is_qcow2)
            rc = visit_tree(v, WALK_PLACEMENT, i, &layer->views[i].placement, layer, err);
    }
    if (rc == 0)
        rc = visit_blob(v, WALK_HEADER, 0, &q->header, layer, err);
    if (rc == 0)
        rc = visit_blob(v, WALK_CRYPTO, 0, &q->crypto, layer, err);
    if (rc == 0 && q->data_file != NULL)
        rc = visit_blob(v, WALK_TAIL, 0, &q->data_file->tail, layer, err);
    for (size_t i = 0; rc == 0 && i < q->bitmap_count; i++)
        rc = visit_blob(v, WALK_BITMAP, i, &q->bitmaps[i].data, layer, err);
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
    for (size_t i = 0; rc == 0 && i < record->with_count; i++) {
        if (v->at != NULL)
            *v->at = (struct walk_at){.part = WALK_SIDE_FILE, .index = i};
        rc = v->blob(v->arg, &record->with[i].blob, record->with[i].name, err);
    }
    return rc;
}
