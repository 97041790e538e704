/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RECORD_PARTS_H
#define BYRE_ENGINE_RECORD_PARTS_H

#include "engine/json.h"
#include "engine/record.h"

/* Parts of records, for record_decode*.c. Each getter marks ${r} bad where something is malformed;
 * what it made is to be cleared in any case. */

/* Where ${blob} is metadata is not in the JSON, but set before. */
void record_blob_get(struct json_reader *r, const json_t *object, const char *key,
                     struct record_blob *blob);
void record_blob_clear(struct record_blob *blob);
void record_file_system_get(struct json_reader *r, const json_t *object, struct file_system *fs);
void record_qcow2_get(struct json_reader *r, const json_t *o, struct record_qcow2 *q);
void record_qcow2_clear(struct record_qcow2 *q);

#endif
