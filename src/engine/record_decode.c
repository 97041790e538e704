/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records from JSON. Everything that later code relies on is checked here:
 * sizes, positions, shapes of trees, paths that a restore would follow.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/json.h"
#include "engine/path.h"
#include "engine/record_parts.h"
#include "qcow2/header.h"

static void get_tree(struct json_reader *r, const json_t *object, const char *key,
                     enum cs_tree_kind kind, struct cs_tree *tree)
{
    const json_t *value = json_member(r, object, key);
    *tree = (struct cs_tree){.kind = kind};
    tree->level = (unsigned)json_get_int(r, value, "level", 10);
    tree->bytes = json_get_u64(r, value, "bytes");
    const json_t *root = json_member(r, value, "root");
    tree->empty = json_is_null(root);
    if (!tree->empty)
        json_to_id(r, root, key, &tree->root);
    else if (tree->bytes != 0)
        json_bad(r, "bytes");
}

static void get_views(struct json_reader *r, const json_t *o, struct record_layer *l)
{
    const json_t *list = json_list(r, o, "views");
    size_t n = json_array_size(list);
    l->views = calloc(n + 1, sizeof *l->views);
    if (l->views == NULL || n == 0 || (!l->is_qcow2 && n > 1)) {
        json_bad(r, "views");
        return;
    }
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *one = json_array_get(list, i);
        struct record_view *v = &l->views[l->view_count++];
        get_tree(r, one, "content", CS_TREE_CONTENT, &v->content);
        v->l1_size = (uint32_t)json_get_int(r, one, "l1_size", 4 << 20);
        if (!l->is_qcow2)
            continue;
        get_tree(r, one, "placement", CS_TREE_PLACEMENT, &v->placement);
        const json_t *l1_hash = json_member(r, one, "l1_hash");
        if (!json_is_null(l1_hash))
            json_to_id(r, l1_hash, "l1_hash", &v->l1_hash);
    }
}

/* A member that only such layers have. */
static void get_content(struct json_reader *r, const json_t *o, struct record_layer *l)
{
    const json_t *content = json_object_get(o, "content");
    if (content == NULL)
        return;
    l->content = l->is_qcow2 ? NULL : calloc(1, sizeof *l->content);
    if (l->content == NULL)
        json_bad(r, "content");
    else
        record_content_get(r, content, l->content);
}

static void get_layer(struct json_reader *r, const json_t *o, struct record_layer *l)
{
    const char *format = json_string_value(json_member(r, o, "format"));
    l->is_qcow2 = format != NULL && strcmp(format, "qcow2") == 0;
    if (format == NULL || (!l->is_qcow2 && strcmp(format, "raw") != 0))
        json_bad(r, "format");
    l->virtual_size = json_get_u64(r, o, "virtual_size");
    l->bytes_allocated = json_get_u64(r, o, "bytes_allocated");
    record_file_get(r, o, &l->file);
    l->opened_as = json_get_bytes(r, o, "opened_as");
    l->delta = json_get_bytes(r, o, "delta");
    l->delta_reason = json_get_bytes(r, o, "delta_reason");
    l->backing_file = json_get_optional(r, o, "backing_file");
    l->backing_format = json_get_optional(r, o, "backing_format");
    get_views(r, o, l);
    get_content(r, o, l);
    if (r->bad)
        return;
    const struct cs_tree *allocated = l->is_qcow2 ? &l->views->placement : &l->views->content;
    if (l->bytes_allocated != allocated->bytes)
        json_bad(r, "bytes_allocated");
    if (!l->is_qcow2)
        return;
    record_qcow2_get(r, json_member(r, o, "qcow2"), &l->qcow2);
    if (l->view_count != l->qcow2.snapshot_count + 1)
        json_bad(r, "views");
}

static json_t *load(struct json_reader *r, const char *json, size_t len)
{
    json_error_t e;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(root)) {
        error_set(r->err, ERROR_CORRUPT, "%s: is no JSON object: %s at %d", r->what,
                  root == NULL ? e.text : "another type", root == NULL ? e.position : 0);
        json_decref(root);
        r->bad = true;
        return NULL;
    }
    return root;
}

int record_layer_decode(struct record_layer *layer, const char *json, size_t len, struct error *err)
{
    struct json_reader r = {.what = "layer record", .err = err};
    struct record_layer l = {0};
    json_t *root = load(&r, json, len);
    if (root != NULL)
        get_layer(&r, root, &l);
    json_decref(root);
    if (r.bad) {
        record_layer_clear(&l);
        return ERROR_CORRUPT;
    }
    *layer = l;
    return 0;
}

static void get_image(struct json_reader *r, const json_t *o, size_t layers,
                      struct record_image *image)
{
    const json_t *list = json_list(r, o, "layers");
    image->name = json_get_bytes(r, o, "name");
    image->path = json_get_bytes(r, o, "path");
    size_t n = json_array_size(list);
    image->layers = calloc(n + 1, sizeof *image->layers);
    if (image->layers == NULL || n == 0) {
        json_bad(r, "layers");
        return;
    }
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *value = json_array_get(list, i);
        json_int_t at = json_integer_value(value);
        /* a base stands before its overlays, so that positions fall and no chain is a loop */
        if (!json_is_integer(value) || at < 0 || (uint64_t)at >= layers ||
            (i > 0 && (size_t)at >= image->layers[i - 1]))
            json_bad(r, "layers");
        image->layers[i] = (size_t)at;
        image->layer_count = i + 1;
    }
}

static void get_archive_lists(struct json_reader *r, const json_t *o, struct record_archive *a)
{
    const json_t *tags = json_list(r, o, "tags"), *images = json_list(r, o, "images");
    const json_t *layers = json_list(r, o, "layers"), *with = json_list(r, o, "with");
    if (r->bad)
        return;
    a->tags = calloc(json_array_size(tags) + 1, sizeof *a->tags);
    a->images = calloc(json_array_size(images) + 1, sizeof *a->images);
    a->layers = calloc(json_array_size(layers) + 1, sizeof *a->layers);
    a->with = calloc(json_array_size(with) + 1, sizeof *a->with);
    if (a->tags == NULL || a->images == NULL || a->layers == NULL || a->with == NULL) {
        json_bad(r, "images");
        return;
    }
    for (; a->tag_count < json_array_size(tags) && !r->bad; a->tag_count++)
        a->tags[a->tag_count] = json_to_bytes(r, json_array_get(tags, a->tag_count), "tags");
    for (; a->layer_count < json_array_size(layers) && !r->bad; a->layer_count++)
        json_get_id(r, json_array_get(layers, a->layer_count), "id", &a->layers[a->layer_count].id);
    for (; a->image_count < json_array_size(images) && !r->bad; a->image_count++)
        get_image(r, json_array_get(images, a->image_count), a->layer_count,
                  &a->images[a->image_count]);
    for (; a->with_count < json_array_size(with) && !r->bad; a->with_count++) {
        const json_t *file = json_array_get(with, a->with_count);
        struct record_side_file *side = &a->with[a->with_count];
        record_blob_get(r, file, "blob", &side->blob);
        side->mode = (uint32_t)json_get_int(r, file, "mode", 0177777);
        side->name = json_get_bytes(r, file, "name");
        if (side->name != NULL && (!path_is_inside(side->name) || strchr(side->name, '/') != NULL))
            json_bad(r, "name");
    }
    if (a->image_count == 0)
        json_bad(r, "images");
}

int record_archive_decode(struct record_archive *archive, const char *json, size_t len,
                          struct error *err)
{
    struct json_reader r = {.what = "archive record", .err = err};
    struct record_archive a = {0};
    json_t *root = load(&r, json, len);
    if (root != NULL && json_get_int(&r, root, "format", UINT32_MAX) != 1 && !r.bad) {
        error_set(err, ERROR_UNSUPPORTED, "archive record: a newer program wrote it");
        json_decref(root);
        return ERROR_UNSUPPORTED;
    }
    if (root != NULL) {
        a.name = json_get_bytes(&r, root, "name");
        a.host = json_get_bytes(&r, root, "host");
        a.time = json_get_bytes(&r, root, "time");
        const char *nonce = json_string_value(json_member(&r, root, "nonce"));
        if (nonce == NULL || strlen(nonce) != sizeof a.nonce - 1)
            json_bad(&r, "nonce");
        else
            memcpy(a.nonce, nonce, sizeof a.nonce);
        get_archive_lists(&r, root, &a);
    }
    json_decref(root);
    if (r.bad) {
        record_archive_clear(&a);
        return ERROR_CORRUPT;
    }
    *archive = a;
    return 0;
}

/* How many regions the trees are over: their address space tells. */
static void count_regions(struct record_layer *layer, uint64_t region_size)
{
    const struct record_qcow2 *q = &layer->qcow2;
    bool extended = q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    for (size_t i = 0; i < layer->view_count; i++) {
        struct record_view *v = &layer->views[i];
        uint64_t span = layer->virtual_size;
        if (layer->is_qcow2)
            span = (uint64_t)v->l1_size << (2 * q->cluster_bits - (extended ? 4 : 3));
        v->content.regions = span / region_size + (span % region_size != 0);
        v->placement.regions = v->content.regions;
    }
}

int record_layer_read(struct record_layer *layer, struct cs_store *store, struct error *err)
{
    struct cs_error ce;
    struct cs_id id = layer->id;
    void *json = NULL;
    size_t len = 0;
    char hex[CS_ID_HEX];
    if (cs_read_object(store, CS_LAYER_RECORD, &id, &json, &len, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = record_layer_decode(layer, json, len, err);
    free(json);
    layer->id = id;
    count_regions(layer, cs_region_size(store));
    return rc < 0 ? error_wrap(err, "layer %.16s", cs_id_hex(&id, hex)) : 0;
}

int record_archive_read_alone(struct record_archive *archive, struct cs_store *store,
                              const struct cs_id *id, struct error *err)
{
    struct cs_error ce;
    void *json = NULL;
    size_t len = 0;
    char hex[CS_ID_HEX];
    if (cs_read_object(store, CS_ARCHIVE_RECORD, id, &json, &len, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = record_archive_decode(archive, json, len, err);
    free(json);
    if (rc < 0)
        return error_wrap(err, "archive %.16s", cs_id_hex(id, hex));
    archive->id = *id;
    return 0;
}

int record_archive_read(struct record_archive *archive, struct cs_store *store,
                        const struct cs_id *id, struct error *err)
{
    struct record_archive a = {0};
    char hex[CS_ID_HEX];
    int rc = record_archive_read_alone(&a, store, id, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < a.layer_count; i++)
        rc = record_layer_read(&a.layers[i], store, err);
    if (rc < 0) {
        record_archive_clear(&a);
        return error_wrap(err, "archive %.16s", cs_id_hex(id, hex));
    }
    *archive = a;
    return 0;
}
