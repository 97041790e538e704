/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blobs: cut every 256 KiB and kept as data, so that only a full key reads them
 * back; or cut every 128 KiB and kept as metadata. What they mean is nothing to it.
 */
#include "engine/blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "engine/engine.h"

enum { PIECE = 256 << 10 };

static size_t piece_size(const struct record_blob *blob)
{
    return blob->metadata ? CS_META_OBJECT_MAX : PIECE;
}

static int write_object(struct cs_writer *writer, bool metadata, const void *data, size_t len,
                        struct cs_id *id, struct error *err)
{
    struct cs_error ce;
    int rc = metadata ? cs_write_object(writer, CS_PIECE, data, len, id, &ce)
                      : cs_write_chunk(writer, data, len, id, &ce);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

/* Reads chunk or piece ${i} of ${blob} into ${buf}, which has room for its length. */
static int read_object(struct cs_store *store, const struct record_blob *blob, size_t i, void *buf,
                       struct error *err)
{
    struct cs_error ce;
    void *data = NULL;
    size_t len = 0;
    if (!blob->metadata)
        return cs_read_chunk(store, &blob->ids[i], buf, blob->lengths[i], &ce) < 0
                   ? engine_store_error(err, &ce)
                   : 0;
    int rc = cs_read_object(store, CS_PIECE, &blob->ids[i], &data, &len, &ce);
    if (rc == 0 && len != blob->lengths[i])
        rc = cs_fail(&ce, CS_CORRUPT, "a piece of a blob has %zu bytes, %u are expected", len,
                     (unsigned)blob->lengths[i]);
    if (rc == 0)
        memcpy(buf, data, len);
    free(data);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

static int append(struct cs_writer *writer, const void *data, size_t len, struct record_blob *blob,
                  struct error *err)
{
    struct cs_id *ids = reallocarray(blob->ids, blob->count + 1, sizeof *ids);
    if (ids != NULL)
        blob->ids = ids;
    uint32_t *lengths = reallocarray(blob->lengths, blob->count + 1, sizeof *lengths);
    if (lengths != NULL)
        blob->lengths = lengths;
    if (ids == NULL || lengths == NULL)
        return error_no_memory(err);
    int rc = write_object(writer, blob->metadata, data, len, &ids[blob->count], err);
    if (rc < 0)
        return rc;
    lengths[blob->count++] = (uint32_t)len;
    blob->bytes += len;
    return 0;
}

int blob_write(struct cs_writer *writer, const void *data, size_t len, struct record_blob *blob,
               struct error *err)
{
    size_t piece = piece_size(blob);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < len; at += piece)
        rc = append(writer, (const uint8_t *)data + at, len - at < piece ? len - at : piece, blob,
                    err);
    return rc;
}

int blob_copy(struct cs_writer *writer, struct cs_store *store, const struct record_blob *from,
              struct record_blob *blob, struct error *err)
{
    uint8_t *piece = malloc(CS_DATA_OBJECT_MAX);
    if (piece == NULL)
        return error_no_memory(err);
    int rc = 0;
    blob->metadata = from->metadata;
    for (size_t i = 0; rc == 0 && i < from->count; i++) {
        rc = read_object(store, from, i, piece, err);
        if (rc == 0)
            rc = append(writer, piece, from->lengths[i], blob, err);
    }
    free(piece);
    return rc;
}

int blob_write_file(struct cs_writer *writer, int fd, const char *name, uint64_t offset,
                    struct record_blob *blob, struct error *err)
{
    size_t room = piece_size(blob);
    uint8_t *piece = malloc(room);
    if (piece == NULL)
        return error_no_memory(err);
    int rc = 0;
    for (size_t got = room; rc == 0 && got == room;) {
        rc = io_read_some(fd, name, offset + blob->bytes, piece, room, &got, err);
        if (rc == 0 && got > 0)
            rc = append(writer, piece, got, blob, err);
    }
    free(piece);
    return rc;
}

int blob_reader_next(struct blob_reader *r, uint8_t *buf, size_t len, struct error *err)
{
    if (r->chunk == NULL) {
        r->chunk = malloc(CS_DATA_OBJECT_MAX);
        if (r->chunk == NULL)
            return error_no_memory(err);
    }
    while (len > 0) {
        if (r->used == r->len) {
            if (r->next == r->blob->count)
                return error_set(err, ERROR_CORRUPT, "a blob ends too early");
            r->len = r->blob->lengths[r->next];
            r->used = 0;
            int rc = read_object(r->store, r->blob, r->next++, r->chunk, err);
            if (rc < 0)
                return rc;
        }
        size_t n = r->len - r->used < len ? r->len - r->used : len;
        memcpy(buf, r->chunk + r->used, n);
        r->used += n;
        buf += n;
        len -= n;
    }
    return 0;
}

void blob_reader_clear(struct blob_reader *r)
{
    free(r->chunk);
    r->chunk = NULL;
}

int blob_read(struct cs_store *store, const struct record_blob *blob, size_t max, uint8_t **data,
              struct error *err)
{
    if (blob->bytes > max)
        return error_set(err, ERROR_CORRUPT, "a blob has %llu bytes, at most %zu are possible",
                         (unsigned long long)blob->bytes, max);
    struct blob_reader reader = {.store = store, .blob = blob};
    uint8_t *out = malloc((size_t)blob->bytes + 1);
    if (out == NULL)
        return error_no_memory(err);
    int rc = blob_reader_next(&reader, out, (size_t)blob->bytes, err);
    blob_reader_clear(&reader);
    if (rc < 0)
        free(out);
    else
        *data = out;
    return rc;
}

int blob_read_file(struct cs_store *store, const struct record_blob *blob, int fd, const char *name,
                   uint64_t offset, struct error *err)
{
    uint8_t *piece = malloc(CS_DATA_OBJECT_MAX);
    if (piece == NULL)
        return error_no_memory(err);
    int rc = 0;
    uint64_t at = offset;
    for (size_t i = 0; rc == 0 && i < blob->count; i++) {
        rc = read_object(store, blob, i, piece, err);
        if (rc == 0)
            rc = io_write(fd, name, at, piece, blob->lengths[i], err);
        at += blob->lengths[i];
    }
    free(piece);
    return rc;
}
