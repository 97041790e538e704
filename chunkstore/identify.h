/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_IDENTIFY_H
#define CS_IDENTIFY_H

#include "crypt.h"

/* The ids of objects (FORMAT.md, section 5). One identifier is for one thread at a time. */

struct cs_identifier;

int cs_identifier_new(struct cs_identifier **identifier, enum cs_id_hash hash,
                      const uint8_t id_key[CS_KEY_SIZE], struct cs_error *err);
void cs_identifier_free(struct cs_identifier *identifier);

/* The id of the ${len} bytes at ${data} as an object of that class and type. It fails only where
 * memory or libcrypto does. */
int cs_identify(struct cs_identifier *identifier, enum cs_class class, uint8_t type,
                const void *data, size_t len, struct cs_id *id, struct cs_error *err);

#endif
