/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_HMAC_H
#define CS_HMAC_H

#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/* HMAC-SHA-256 on OpenSSL's libcrypto, which uses what the processor has for it. What the key costs
 * is paid once. One context is for one thread at a time. */

enum { CS_HMAC_SIZE = 32 };

struct cs_hmac;

int cs_hmac_new(struct cs_hmac **hmac, const uint8_t key[32], struct cs_error *err);
void cs_hmac_free(struct cs_hmac *hmac);
int cs_hmac(struct cs_hmac *hmac, const void *data, size_t len, uint8_t out[CS_HMAC_SIZE],
            struct cs_error *err);

#endif
