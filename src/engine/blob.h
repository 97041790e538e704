/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BLOB_H
#define BYRE_ENGINE_BLOB_H

#include "engine/record.h"

/* Bytes of a disk, or of a side file, that are kept as data chunks and named in a record. Those of
 * a blob that is marked so are kept as pieces of metadata instead. */

int blob_write(struct cs_writer *writer, const void *data, size_t len, struct record_blob *blob,
               struct error *err);

/* All of ${from}, in the repository ${store}, into the empty ${blob}, cut and kept alike. */
int blob_copy(struct cs_writer *writer, struct cs_store *store, const struct record_blob *from,
              struct record_blob *blob, struct error *err);

/* The file behind ${fd}, from ${offset} (bytes) to its end. */
int blob_write_file(struct cs_writer *writer, int fd, const char *name, uint64_t offset,
                    struct record_blob *blob, struct error *err);

/* All of it into fresh memory; a blob of more than ${max} bytes is ERROR_CORRUPT. */
int blob_read(struct cs_store *store, const struct record_blob *blob, size_t max, uint8_t **data,
              struct error *err);

/* Reading one piece after the other, cut as the caller likes. */
struct blob_reader {
    struct cs_store *store;
    const struct record_blob *blob;
    size_t next;    /* chunk */
    uint8_t *chunk; /* the one at hand */
    size_t used, len;
};

/* Exactly ${len} bytes; ERROR_CORRUPT where there are not so many. */
int blob_reader_next(struct blob_reader *reader, uint8_t *buf, size_t len, struct error *err);
void blob_reader_clear(struct blob_reader *reader);

/* All of it to ${fd}, from ${offset} (bytes) on. */
int blob_read_file(struct cs_store *store, const struct record_blob *blob, int fd, const char *name,
                   uint64_t offset, struct error *err);

#endif
