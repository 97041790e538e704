/* SPDX-License-Identifier: BSD-2-Clause */
/* Blobs: cut every 256 KiB, kept as data, so that only a full key reads them back. */
#include "engine/blob.h"

#include <stdlib.h>

#include "base/io.h"
#include "engine/engine.h"

enum { PIECE = 256 << 10 };

static int append(struct cs_writer *writer, const void *data, size_t len, struct record_blob *blob,
                  struct error *err)
{
    struct cs_error ce;
    struct cs_id *ids = reallocarray(blob->ids, blob->count + 1, sizeof *ids);
    if (ids != NULL)
        blob->ids = ids;
    uint32_t *lengths = reallocarray(blob->lengths, blob->count + 1, sizeof *lengths);
    if (lengths != NULL)
        blob->lengths = lengths;
    if (ids == NULL || lengths == NULL)
        return error_no_memory(err);
    if (cs_write_chunk(writer, data, len, &ids[blob->count], &ce) < 0)
        return engine_store_error(err, &ce);
    lengths[blob->count++] = (uint32_t)len;
    blob->bytes += len;
    return 0;
}

int blob_write(struct cs_writer *writer, const void *data, size_t len, struct record_blob *blob,
               struct error *err)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < len; at += PIECE)
        rc = append(writer, (const uint8_t *)data + at, len - at < PIECE ? len - at : PIECE, blob,
                    err);
    return rc;
}

int blob_write_file(struct cs_writer *writer, int fd, const char *name, struct record_blob *blob,
                    struct error *err)
{
    uint8_t *piece = malloc(PIECE);
    if (piece == NULL)
        return error_no_memory(err);
    int rc = 0;
    for (size_t got = PIECE; rc == 0 && got == PIECE;) {
        rc = io_read_some(fd, name, blob->bytes, piece, PIECE, &got, err);
        if (rc == 0 && got > 0)
            rc = append(writer, piece, got, blob, err);
    }
    free(piece);
    return rc;
}

int blob_read(struct cs_store *store, const struct record_blob *blob, size_t max, uint8_t **data,
              struct error *err)
{
    struct cs_error ce;
    if (blob->bytes > max)
        return error_set(err, ERROR_CORRUPT, "a blob has %llu bytes, at most %zu are possible",
                         (unsigned long long)blob->bytes, max);
    uint8_t *out = malloc((size_t)blob->bytes + 1);
    if (out == NULL)
        return error_no_memory(err);
    size_t at = 0;
    for (size_t i = 0; i < blob->count; i++) {
        if (cs_read_chunk(store, &blob->ids[i], out + at, blob->lengths[i], &ce) < 0) {
            free(out);
            return engine_store_error(err, &ce);
        }
        at += blob->lengths[i];
    }
    *data = out;
    return 0;
}

int blob_read_file(struct cs_store *store, const struct record_blob *blob, int fd, const char *name,
                   struct error *err)
{
    struct cs_error ce;
    uint8_t *piece = malloc(CS_DATA_OBJECT_MAX);
    if (piece == NULL)
        return error_no_memory(err);
    int rc = 0;
    uint64_t at = 0;
    for (size_t i = 0; rc == 0 && i < blob->count; i++) {
        if (cs_read_chunk(store, &blob->ids[i], piece, blob->lengths[i], &ce) < 0)
            rc = engine_store_error(err, &ce);
        else
            rc = io_write(fd, name, at, piece, blob->lengths[i], err);
        at += blob->lengths[i];
    }
    free(piece);
    return rc;
}
