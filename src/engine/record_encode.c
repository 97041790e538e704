/* SPDX-License-Identifier: BSD-2-Clause */
/* Records as canonical JSON. */
#include <stdlib.h>
#include <string.h>

#include "engine/record_parts.h"

static json_t *tree_json(const struct cs_tree *tree)
{
    return json_pack("{s:o, s:i, s:o}", "bytes", json_from_u64(tree->bytes), "level",
                     (int)tree->level, "root",
                     tree->empty ? json_null() : json_from_id(&tree->root));
}

static json_t *blob_json(const struct record_blob *blob)
{
    json_t *chunks = json_array();
    for (size_t i = 0; i < blob->count; i++)
        json_array_append_new(
            chunks, json_pack("[o,I]", json_from_id(&blob->ids[i]), (json_int_t)blob->lengths[i]));
    return json_pack("{s:o, s:o}", "bytes", json_from_u64(blob->bytes), "chunks", chunks);
}

static json_t *l1_hash_json(const struct cs_id *hash)
{
    static const struct cs_id unknown;
    return memcmp(hash, &unknown, sizeof unknown) != 0 ? json_from_id(hash) : json_null();
}

static json_t *view_json(const struct record_view *view, bool is_qcow2)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "content", tree_json(&view->content), "placement",
                     is_qcow2 ? tree_json(&view->placement) : json_null(), "l1_size",
                     json_integer(view->l1_size), "l1_hash", l1_hash_json(&view->l1_hash));
}

static json_t *views_json(const struct record_layer *l)
{
    json_t *views = json_array();
    for (size_t i = 0; i < l->view_count; i++)
        json_array_append_new(views, view_json(&l->views[i], l->is_qcow2));
    return views;
}

static json_t *snapshots_json(const struct record_qcow2 *q)
{
    json_t *snapshots = json_array();
    for (size_t i = 0; i < q->snapshot_count; i++) {
        const struct record_snapshot *s = &q->snapshots[i];
        json_array_append_new(
            snapshots,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "raw",
                      json_from_data(s->raw, s->raw_len), "id", json_from_bytes(s->id), "name",
                      json_from_bytes(s->name), "date_sec", json_integer(s->date_sec), "date_nsec",
                      json_integer(s->date_nsec), "vm_clock", json_from_u64(s->vm_clock),
                      "vm_state_size", json_from_u64(s->vm_state_size), "disk_size",
                      json_from_u64(s->disk_size)));
    }
    return snapshots;
}

static json_t *bitmaps_json(const struct record_qcow2 *q)
{
    json_t *bitmaps = json_array();
    for (size_t i = 0; i < q->bitmap_count; i++) {
        const struct record_bitmap *b = &q->bitmaps[i];
        json_t *runs = json_array();
        for (size_t k = 0; k < b->run_count; k++)
            json_array_append_new(
                runs, json_pack("[I,I]", (json_int_t)b->runs[k][0], (json_int_t)b->runs[k][1]));
        json_array_append_new(bitmaps,
                              json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                                        json_from_bytes(b->name), "own", b->own, "flags",
                                        json_integer(b->flags), "type", json_integer(b->type),
                                        "granularity_bits", json_integer(b->granularity_bits),
                                        "extra", json_from_data(b->extra, b->extra_len), "table",
                                        runs, "data", blob_json(&b->data)));
    }
    return bitmaps;
}

static json_t *crypto_json(const struct record_qcow2 *q)
{
    if (q->crypto.bytes == 0)
        return json_null();
    return json_pack("{s:o, s:o}", "offset", json_from_u64(q->crypto_offset), "header",
                     blob_json(&q->crypto));
}

static json_t *data_file_json(const struct record_data_file *d)
{
    if (d == NULL)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "file", record_file_json(&d->file), "name",
                     json_from_bytes(d->name), "tail", blob_json(&d->tail));
}

static json_t *qcow2_json(const struct record_qcow2 *q)
{
    json_t *o = json_object(), *extensions = json_array();
    for (size_t i = 0; i < q->extension_count; i++)
        json_array_append_new(extensions, json_pack("[I,I]", (json_int_t)q->extensions[i][0],
                                                    (json_int_t)q->extensions[i][1]));
    json_object_set_new(o, "version", json_integer(q->version));
    json_object_set_new(o, "cluster_bits", json_integer(q->cluster_bits));
    json_object_set_new(o, "size", json_from_u64(q->size));
    json_object_set_new(o, "crypt_method", json_integer(q->crypt_method));
    json_object_set_new(o, "l1_size", json_integer(q->l1_size));
    json_object_set_new(o, "l1_offset", json_from_u64(q->l1_offset));
    json_object_set_new(o, "refcount_table_offset", json_from_u64(q->refcount_table_offset));
    json_object_set_new(o, "refcount_table_clusters", json_integer(q->refcount_table_clusters));
    json_object_set_new(o, "nb_snapshots", json_integer(q->nb_snapshots));
    json_object_set_new(o, "snapshots_offset", json_from_u64(q->snapshots_offset));
    json_object_set_new(o, "incompatible", json_from_u64(q->incompatible));
    json_object_set_new(o, "compatible", json_from_u64(q->compatible));
    json_object_set_new(o, "autoclear", json_from_u64(q->autoclear));
    json_object_set_new(o, "refcount_order", json_integer(q->refcount_order));
    json_object_set_new(o, "header_length", json_integer(q->header_length));
    json_object_set_new(o, "compression_type", json_integer(q->compression_type));
    json_object_set_new(o, "header", blob_json(&q->header));
    json_object_set_new(o, "crypto", crypto_json(q));
    json_object_set_new(o, "snapshots", snapshots_json(q));
    json_object_set_new(o, "bitmaps", bitmaps_json(q));
    json_object_set_new(o, "data_file", data_file_json(q->data_file));
    json_object_set_new(o, "extensions", extensions);
    return o;
}

int record_layer_encode(const struct record_layer *l, char **json, size_t *len, struct error *err)
{
    json_t *o = json_object();
    if (o == NULL)
        return error_no_memory(err);
    json_object_set_new(o, "format", json_string(l->is_qcow2 ? "qcow2" : "raw"));
    json_object_set_new(o, "virtual_size", json_from_u64(l->virtual_size));
    json_object_set_new(o, "bytes_allocated", json_from_u64(l->bytes_allocated));
    json_object_set_new(o, "views", views_json(l));
    json_object_set_new(o, "file", record_file_json(&l->file));
    json_object_set_new(o, "opened_as", json_from_bytes(l->opened_as));
    json_object_set_new(o, "delta", json_from_bytes(l->delta));
    json_object_set_new(o, "delta_reason", json_from_bytes(l->delta_reason));
    json_object_set_new(o, "backing_file", json_from_optional(l->backing_file));
    json_object_set_new(o, "backing_format", json_from_optional(l->backing_format));
    json_object_set_new(o, "qcow2", l->is_qcow2 ? qcow2_json(&l->qcow2) : json_null());
    if (l->content != NULL)
        json_object_set_new(o, "content", record_content_json(l->content));
    size_t members = 11 + (l->content != NULL);
    int rc = json_object_size(o) == members ? json_encode(o, json, len, err) : error_no_memory(err);
    json_decref(o);
    return rc;
}

static json_t *image_json(const struct record_image *image)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < image->layer_count; i++)
        json_array_append_new(layers, json_integer((json_int_t)image->layers[i]));
    return json_pack("{s:o, s:o, s:o}", "layers", layers, "name", json_from_bytes(image->name),
                     "path", json_from_bytes(image->path));
}

int record_archive_encode(const struct record_archive *a, char **json, size_t *len,
                          struct error *err)
{
    json_t *o = json_object(), *tags = json_array(), *images = json_array();
    json_t *layers = json_array(), *with = json_array();
    for (size_t i = 0; i < a->tag_count; i++)
        json_array_append_new(tags, json_from_bytes(a->tags[i]));
    for (size_t i = 0; i < a->image_count; i++)
        json_array_append_new(images, image_json(&a->images[i]));
    for (size_t i = 0; i < a->layer_count; i++)
        json_array_append_new(layers, json_pack("{s:o}", "id", json_from_id(&a->layers[i].id)));
    for (size_t i = 0; i < a->with_count; i++)
        json_array_append_new(
            with, json_pack("{s:o, s:i, s:o}", "blob", blob_json(&a->with[i].blob), "mode",
                            (int)a->with[i].mode, "name", json_from_bytes(a->with[i].name)));
    json_object_set_new(o, "format", json_integer(1));
    json_object_set_new(o, "name", json_from_bytes(a->name));
    json_object_set_new(o, "host", json_from_bytes(a->host));
    json_object_set_new(o, "time", json_from_bytes(a->time));
    json_object_set_new(o, "nonce", json_string(a->nonce));
    json_object_set_new(o, "tags", tags);
    json_object_set_new(o, "images", images);
    json_object_set_new(o, "layers", layers);
    json_object_set_new(o, "with", with);
    bool whole = json_object_size(o) == 9 && json_array_size(tags) == a->tag_count &&
                 json_array_size(images) == a->image_count &&
                 json_array_size(layers) == a->layer_count &&
                 json_array_size(with) == a->with_count;
    int rc = whole ? json_encode(o, json, len, err) : error_no_memory(err);
    json_decref(o);
    return rc;
}
