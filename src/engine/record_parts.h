/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RECORD_PARTS_H
#define BYRE_ENGINE_RECORD_PARTS_H

#include "engine/json.h"
#include "engine/record.h"

/* Parts of records, for record.c, record_encode.c and record_decode*.c. Each getter marks ${r} bad
 * where something is malformed; what it made is to be cleared in any case. */

/* Where ${blob} is metadata is not in the JSON, but set before. */
void record_blob_get(struct json_reader *r, const json_t *object, const char *key,
                     struct record_blob *blob);
void record_blob_clear(struct record_blob *blob);

/* The member "file" of ${object}. */
void record_file_get(struct json_reader *r, const json_t *object, struct record_file *file);
json_t *record_file_json(const struct record_file *file); /* a new reference; NULL: no memory */
void record_file_clear(struct record_file *file);

json_t *record_content_json(const struct record_content *content); /* the same */
/* ${o} is the object itself. */
void record_content_get(struct json_reader *r, const json_t *o, struct record_content *content);

void record_qcow2_get(struct json_reader *r, const json_t *o, struct record_qcow2 *q);
void record_qcow2_clear(struct record_qcow2 *q);

#endif
