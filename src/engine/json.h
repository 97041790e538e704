/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_JSON_H
#define BYRE_ENGINE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chunkstore.h"

/*
 * Canonical JSON (chunkstore/FORMAT.md, section 9) on jansson. The makers return
 * new references, or NULL where there is no memory; jansson's *_set_new take
 * NULL for a failure, so that a record is asked once, at its end.
 */

json_t *json_from_u64(uint64_t value); /* a decimal string */
json_t *json_from_i64(int64_t value);
json_t *json_from_bytes(const char *s); /* a string, or {"b64": ...} where it is not UTF-8 */
json_t *json_from_data(const void *data, size_t len); /* {"b64": ...}, whatever the bytes are */
json_t *json_from_optional(const char *s);            /* null for NULL */
json_t *json_from_id(const struct cs_id *id);

/* Canonical text into fresh memory. */
int json_encode(const json_t *value, char **text, size_t *len, struct error *err);

/*
 * Reading: each takes a member from an object, remembers the first failure in ${r}, and gives zeros
 * from then on.
 */
struct json_reader {
    const char *what; /* names the record in messages */
    struct error *err;
    bool bad;
};

int json_bad(struct json_reader *r, const char *key); /* marks ${r}; returns ERROR_CORRUPT */
#ifdef __clang_analyzer__
#define json_bad(r, key) ((json_bad)(r, key), (r)->bad = true, (int)ERROR_CORRUPT)
#endif
const json_t *json_member(struct json_reader *r, const json_t *object, const char *key);
const json_t *json_list(struct json_reader *r, const json_t *object, const char *key);
bool json_get_bool(struct json_reader *r, const json_t *object, const char *key);
uint64_t json_get_int(struct json_reader *r, const json_t *object, const char *key, uint64_t max);
uint64_t json_get_u64(struct json_reader *r, const json_t *object, const char *key);
int64_t json_get_i64(struct json_reader *r, const json_t *object, const char *key);
char *json_get_bytes(struct json_reader *r, const json_t *object, const char *key); /* fresh */
uint8_t *json_get_data(struct json_reader *r, const json_t *object, const char *key,
                       size_t *len); /* fresh */
char *json_get_optional(struct json_reader *r, const json_t *object, const char *key);
void json_get_id(struct json_reader *r, const json_t *object, const char *key, struct cs_id *id);
void json_to_id(struct json_reader *r, const json_t *value, const char *key, struct cs_id *id);
char *json_to_bytes(struct json_reader *r, const json_t *value, const char *key); /* fresh */

#endif
