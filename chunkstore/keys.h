/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_KEYS_H
#define CS_KEYS_H

#include "store.h"

/* Changes of a key entry (FORMAT.md, 7.2), for its payload. */
void cs_put_key_add(struct cs_buf *out, const struct cs_identity *identity, enum cs_role role,
                    enum cs_slot_kind kind, const char *label);
void cs_put_key_remove(struct cs_buf *out, const struct cs_name *slot);
void cs_put_key_epoch(struct cs_buf *out, uint16_t epoch, const uint8_t data_public[CS_KEY_SIZE]);

#endif
