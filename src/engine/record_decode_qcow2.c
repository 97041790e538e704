/* SPDX-License-Identifier: BSD-2-Clause */
/* The qcow2 part of layer records, and blobs, from JSON. */
#include <stdlib.h>

#include "engine/record_parts.h"

void record_blob_clear(struct record_blob *blob)
{
    free(blob->ids);
    free(blob->lengths);
}

void record_blob_get(struct json_reader *r, const json_t *object, const char *key,
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
        if (length <= 0 || length > (blob->metadata ? CS_META_OBJECT_MAX : CS_DATA_OBJECT_MAX))
            json_bad(r, key);
        blob->lengths[i] = (uint32_t)length;
        sum += (uint64_t)length;
    }
    if (sum != blob->bytes)
        json_bad(r, key);
}

static void data_file_free(struct record_data_file *d)
{
    if (d == NULL)
        return;
    record_file_clear(&d->file);
    free(d->name);
    record_blob_clear(&d->tail);
    free(d);
}

void record_qcow2_clear(struct record_qcow2 *q)
{
    record_blob_clear(&q->header);
    record_blob_clear(&q->crypto);
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
        record_blob_clear(&q->bitmaps[i].data);
    }
    free(q->bitmaps);
    data_file_free(q->data_file);
}

static void get_crypto(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *crypto = json_member(r, o, "crypto");
    if (crypto == NULL || json_is_null(crypto))
        return;
    q->crypto_offset = json_get_u64(r, crypto, "offset");
    record_blob_get(r, crypto, "header", &q->crypto);
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
        b->own = json_get_bool(r, one, "own");
        b->data.metadata = b->own;
        b->flags = (uint32_t)json_get_int(r, one, "flags", UINT32_MAX);
        b->type = (uint32_t)json_get_int(r, one, "type", 255);
        b->granularity_bits = (uint32_t)json_get_int(r, one, "granularity_bits", 63);
        b->extra = json_get_data(r, one, "extra", &b->extra_len);
        record_blob_get(r, one, "data", &b->data);
        get_bitmap_table(r, one, b, q->cluster_bits);
    }
}

static void get_data_file(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
{
    const json_t *value = json_member(r, o, "data_file");
    if (value == NULL || json_is_null(value))
        return;
    struct record_data_file *d = calloc(1, sizeof *d);
    q->data_file = d;
    if (d == NULL) {
        json_bad(r, "data_file");
        return;
    }
    record_file_get(r, value, &d->file);
    d->name = json_get_bytes(r, value, "name");
    record_blob_get(r, value, "tail", &d->tail);
    if (d->tail.bytes > d->file.size)
        json_bad(r, "tail");
}

void record_qcow2_get(struct json_reader *r, const json_t *o, struct record_qcow2 *q)
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
    record_blob_get(r, o, "header", &q->header);
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
