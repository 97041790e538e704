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
#include "engine/record.h"

static void blob_clear(struct record_blob *blob)
{
    free(blob->ids);
    free(blob->lengths);
}

static void data_file_free(struct record_data_file *d)
{
    if (d == NULL)
        return;
    free(d->name);
    free(d->path);
    free(d->real_path);
    free(d->placed_path);
    free(d);
}

static void qcow2_clear(struct record_qcow2 *q)
{
    blob_clear(&q->header);
    blob_clear(&q->crypto);
    free(q->extensions);
    for (size_t i = 0; i < q->snapshot_count; i++) {
        free(q->snapshots[i].raw);
        free(q->snapshots[i].id);
        free(q->snapshots[i].name);
    }
    free(q->snapshots);
    for (size_t i = 0; i < q->bitmap_count; i++) {
        free(q->bitmaps[i].name);
        free(q->bitmaps[i].extra);
        free(q->bitmaps[i].runs);
        blob_clear(&q->bitmaps[i].data);
    }
    free(q->bitmaps);
    data_file_free(q->data_file);
}

void record_layer_clear(struct record_layer *l)
{
    free(l->path);
    free(l->real_path);
    free(l->opened_as);
    free(l->placed_path);
    free(l->delta);
    free(l->delta_reason);
    free(l->backing_file);
    free(l->backing_format);
    free(l->fs_uuid);
    free(l->views);
    qcow2_clear(&l->qcow2);
    *l = (struct record_layer){0};
}

void record_archive_clear(struct record_archive *a)
{
    free(a->name);
    free(a->host);
    free(a->time);
    for (size_t i = 0; i < a->tag_count; i++)
        free(a->tags[i]);
    free(a->tags);
    for (size_t i = 0; i < a->image_count; i++) {
        free(a->images[i].name);
        free(a->images[i].path);
        free(a->images[i].layers);
    }
    free(a->images);
    for (size_t i = 0; i < a->layer_count; i++)
        record_layer_clear(&a->layers[i]);
    free(a->layers);
    for (size_t i = 0; i < a->with_count; i++) {
        free(a->with[i].name);
        blob_clear(&a->with[i].blob);
    }
    free(a->with);
    *a = (struct record_archive){0};
}

static void get_tree(struct json_reader *r, const json_t *object, const char *key,
                     enum cs_tree_kind kind, struct cs_tree *tree)
{
    const json_t *value = json_member(r, object, key);
    *tree = (struct cs_tree){.kind = kind};
    tree->level = (unsigned)json_get_int(r, value, "level", 10);
    const json_t *root = json_member(r, value, "root");
    tree->empty = json_is_null(root);
    if (!tree->empty)
        json_to_id(r, root, key, &tree->root);
}

static void get_blob(struct json_reader *r, const json_t *object, const char *key,
                     struct record_blob *blob)
{
    const json_t *value = json_member(r, object, key);
    const json_t *chunks = json_list(r, value, "chunks");
    uint64_t sum = 0;
    blob->bytes = json_get_u64(r, value, "bytes");
    if (r->bad)
        return;
    size_t n = json_array_size(chunks);
    blob->ids = calloc(n + 1, sizeof *blob->ids);
    blob->lengths = calloc(n + 1, sizeof *blob->lengths);
    if (blob->ids == NULL || blob->lengths == NULL) {
        json_bad(r, key);
        return;
    }
    blob->count = n;
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *pair = json_array_get(chunks, i);
        json_int_t length = json_integer_value(json_array_get(pair, 1));
        json_to_id(r, json_array_get(pair, 0), key, &blob->ids[i]);
        if (length <= 0 || length > CS_DATA_OBJECT_MAX)
            json_bad(r, key);
        blob->lengths[i] = (uint32_t)length;
        sum += (uint64_t)length;
    }
    if (sum != blob->bytes)
        json_bad(r, key);
}

static void get_crypto(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *crypto = json_member(r, o, "crypto");
    if (crypto == NULL || json_is_null(crypto))
        return;
    q->crypto_offset = json_get_u64(r, crypto, "offset");
    get_blob(r, crypto, "header", &q->crypto);
}

static void get_snapshots(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *list = json_list(r, o, "snapshots");
    size_t n = json_array_size(list);
    q->snapshots = calloc(n + 1, sizeof *q->snapshots);
    if (q->snapshots == NULL || n != q->nb_snapshots) {
        json_bad(r, "snapshots");
        return;
    }
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *one = json_array_get(list, i);
        struct record_snapshot *s = &q->snapshots[q->snapshot_count++];
        s->raw = json_get_data(r, one, "raw", &s->raw_len);
        s->id = json_get_bytes(r, one, "id");
        s->name = json_get_bytes(r, one, "name");
        s->date_sec = (uint32_t)json_get_int(r, one, "date_sec", UINT32_MAX);
        s->date_nsec = (uint32_t)json_get_int(r, one, "date_nsec", UINT32_MAX);
        s->vm_clock = json_get_u64(r, one, "vm_clock");
        s->vm_state_size = json_get_u64(r, one, "vm_state_size");
        s->disk_size = json_get_u64(r, one, "disk_size");
    }
}

static void get_bitmap_table(struct json_reader *r, const json_t *one, struct record_bitmap *b,
                             uint32_t cluster_bits)
{
    const json_t *runs = json_list(r, one, "table");
    uint64_t data = 0, total = 0;
    b->runs = calloc(json_array_size(runs) + 1, sizeof *b->runs);
    if (b->runs == NULL) {
        json_bad(r, "table");
        return;
    }
    for (size_t k = 0; k < json_array_size(runs) && !r->bad; k++) {
        const json_t *class = json_array_get(json_array_get(runs, k), 0);
        const json_t *count = json_array_get(json_array_get(runs, k), 1);
        if (!json_is_integer(class) || json_integer_value(class) < 0 ||
            json_integer_value(class) > 2 || !json_is_integer(count) ||
            json_integer_value(count) < 1 || json_integer_value(count) > 0x8000000) {
            json_bad(r, "table");
            return;
        }
        b->runs[k][0] = (uint32_t)json_integer_value(class);
        b->runs[k][1] = (uint32_t)json_integer_value(count);
        total += b->runs[k][1];
        data += b->runs[k][0] == 2 ? b->runs[k][1] : 0;
        b->run_count = k + 1;
    }
    if (total > 0x8000000 || b->data.bytes != data << cluster_bits)
        json_bad(r, "table");
}

static void get_bitmaps(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *list = json_list(r, o, "bitmaps");
    size_t n = json_array_size(list);
    q->bitmaps = calloc(n + 1, sizeof *q->bitmaps);
    if (q->bitmaps == NULL || n > 65535) {
        json_bad(r, "bitmaps");
        return;
    }
    for (size_t i = 0; i < n && !r->bad; i++) {
        const json_t *one = json_array_get(list, i);
        struct record_bitmap *b = &q->bitmaps[q->bitmap_count++];
        b->name = json_get_bytes(r, one, "name");
        b->flags = (uint32_t)json_get_int(r, one, "flags", UINT32_MAX);
        b->type = (uint32_t)json_get_int(r, one, "type", 255);
        b->granularity_bits = (uint32_t)json_get_int(r, one, "granularity_bits", 63);
        b->extra = json_get_data(r, one, "extra", &b->extra_len);
        get_blob(r, one, "data", &b->data);
        get_bitmap_table(r, one, b, q->cluster_bits);
    }
}

static void get_data_file(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *file = json_member(r, o, "data_file");
    if (file == NULL || json_is_null(file))
        return;
    struct record_data_file *d = calloc(1, sizeof *d);
    q->data_file = d;
    if (d == NULL) {
        json_bad(r, "data_file");
        return;
    }
    d->name = json_get_bytes(r, file, "name");
    d->path = json_get_bytes(r, file, "path");
    d->real_path = json_get_bytes(r, file, "real_path");
    d->placed_path = json_get_bytes(r, file, "placed_path");
    d->size = json_get_u64(r, file, "size");
    d->host_bytes = json_get_u64(r, file, "host_bytes");
    d->mode = (uint32_t)json_get_int(r, file, "mode", 0177777);
    d->uid = (uint32_t)json_get_int(r, file, "uid", UINT32_MAX);
    d->gid = (uint32_t)json_get_int(r, file, "gid", UINT32_MAX);
    d->mtime_ns = json_get_i64(r, file, "mtime_ns");
    d->ctime_ns = json_get_i64(r, file, "ctime_ns");
    d->device = json_get_u64(r, file, "device");
    d->inode = json_get_u64(r, file, "inode");
    if (d->placed_path != NULL && !path_is_inside(d->placed_path))
        json_bad(r, "placed_path");
}

static void get_qcow2(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    q->version = (uint32_t)json_get_int(r, o, "version", 3);
    q->cluster_bits = (uint32_t)json_get_int(r, o, "cluster_bits", 21);
    q->size = json_get_u64(r, o, "size");
    q->crypt_method = (uint32_t)json_get_int(r, o, "crypt_method", 2);
    q->l1_size = (uint32_t)json_get_int(r, o, "l1_size", 4 << 20);
    q->l1_offset = json_get_u64(r, o, "l1_offset");
    q->refcount_table_offset = json_get_u64(r, o, "refcount_table_offset");
    q->refcount_table_clusters =
        (uint32_t)json_get_int(r, o, "refcount_table_clusters", UINT32_MAX);
    q->nb_snapshots = (uint32_t)json_get_int(r, o, "nb_snapshots", 65536);
    q->snapshots_offset = json_get_u64(r, o, "snapshots_offset");
    q->incompatible = json_get_u64(r, o, "incompatible");
    q->compatible = json_get_u64(r, o, "compatible");
    q->autoclear = json_get_u64(r, o, "autoclear");
    q->refcount_order = (uint32_t)json_get_int(r, o, "refcount_order", 6);
    q->header_length = (uint32_t)json_get_int(r, o, "header_length", 2 << 20);
    q->compression_type = (uint32_t)json_get_int(r, o, "compression_type", 1);
    get_blob(r, o, "header", &q->header);
    get_crypto(r, o, q);
    get_snapshots(r, o, q);
    get_bitmaps(r, o, q);
    get_data_file(r, o, q);
    const json_t *extensions = json_list(r, o, "extensions");
    size_t n = json_array_size(extensions);
    q->extensions = calloc(n + 1, sizeof *q->extensions);
    for (size_t i = 0; q->extensions != NULL && i < n && !r->bad; i++) {
        const json_t *pair = json_array_get(extensions, i);
        for (unsigned k = 0; k < 2; k++) {
            json_int_t v = json_integer_value(json_array_get(pair, k));
            if (!json_is_integer(json_array_get(pair, k)) || v < 0 || v > UINT32_MAX)
                json_bad(r, "extensions");
            q->extensions[i][k] = (uint32_t)v;
        }
        q->extension_count = i + 1;
    }
    if (q->version < 2 || q->cluster_bits < 9 || q->header.bytes > 1ULL << q->cluster_bits)
        json_bad(r, "cluster_bits");
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
        json_get_id(r, one, "l1_hash", &v->l1_hash);
    }
}

static void get_layer(struct json_reader *r, const json_t *o, struct record_layer *l)
{
    const char *format = json_string_value(json_member(r, o, "format"));
    l->is_qcow2 = format != NULL && strcmp(format, "qcow2") == 0;
    if (format == NULL || (!l->is_qcow2 && strcmp(format, "raw") != 0))
        json_bad(r, "format");
    l->virtual_size = json_get_u64(r, o, "virtual_size");
    l->file_size = json_get_u64(r, o, "file_size");
    l->bytes_allocated = json_get_u64(r, o, "bytes_allocated");
    l->path = json_get_bytes(r, o, "path");
    l->real_path = json_get_bytes(r, o, "real_path");
    l->opened_as = json_get_bytes(r, o, "opened_as");
    l->placed_path = json_get_bytes(r, o, "placed_path");
    l->delta = json_get_bytes(r, o, "delta");
    l->delta_reason = json_get_bytes(r, o, "delta_reason");
    l->backing_file = json_get_optional(r, o, "backing_file");
    l->backing_format = json_get_optional(r, o, "backing_format");
    l->mode = (uint32_t)json_get_int(r, o, "mode", 0177777);
    l->uid = (uint32_t)json_get_int(r, o, "uid", UINT32_MAX);
    l->gid = (uint32_t)json_get_int(r, o, "gid", UINT32_MAX);
    l->mtime_ns = json_get_i64(r, o, "mtime_ns");
    l->ctime_ns = json_get_i64(r, o, "ctime_ns");
    l->device = json_get_u64(r, o, "device");
    l->inode = json_get_u64(r, o, "inode");
    l->host_bytes = json_get_u64(r, o, "host_bytes");
    const json_t *fs = json_member(r, o, "filesystem");
    const char *type = json_string_value(json_member(r, fs, "type"));
    l->fs_type = type != NULL ? strtoull(type, NULL, 16) : 0;
    l->fs_uuid = json_get_optional(r, fs, "uuid");
    if (l->placed_path != NULL && !path_is_inside(l->placed_path))
        json_bad(r, "placed_path");
    get_views(r, o, l);
    if (!l->is_qcow2)
        return;
    get_qcow2(r, json_member(r, o, "qcow2"), &l->qcow2);
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
        get_blob(r, file, "blob", &side->blob);
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

static int read_layer(struct record_layer *layer, struct cs_store *store, struct error *err)
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
    return rc < 0 ? error_wrap(err, "layer %.16s", cs_id_hex(&id, hex)) : 0;
}

int record_archive_read(struct record_archive *archive, struct cs_store *store,
                        const struct cs_id *id, struct error *err)
{
    struct cs_error ce;
    struct record_archive a = {0};
    void *json = NULL;
    size_t len = 0;
    char hex[CS_ID_HEX];
    if (cs_read_object(store, CS_ARCHIVE_RECORD, id, &json, &len, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = record_archive_decode(&a, json, len, err);
    free(json);
    for (size_t i = 0; rc == 0 && i < a.layer_count; i++)
        rc = read_layer(&a.layers[i], store, err);
    if (rc < 0) {
        record_archive_clear(&a);
        return error_wrap(err, "archive %.16s", cs_id_hex(id, hex));
    }
    a.id = *id;
    *archive = a;
    return 0;
}
