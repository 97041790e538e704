/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_FINGERPRINT_H
#define CS_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/* GMAC-AES-256 with a fixed nonce (FORMAT.md, 8.2), on OpenSSL's libcrypto, as hmac.c is. One
 * context is for one thread at a time. */

struct cs_fingerprinter;

int cs_fingerprinter_new(struct cs_fingerprinter **fp, const uint8_t key[32], struct cs_error *err);
void cs_fingerprinter_free(struct cs_fingerprinter *fp);
int cs_fingerprint(struct cs_fingerprinter *fp, const void *data, size_t len, uint8_t out[16],
                   struct cs_error *err);

/* The same of bytes that come in parts. What fails is told at the end. */
void cs_fingerprint_begin(struct cs_fingerprinter *fp);
void cs_fingerprint_add(struct cs_fingerprinter *fp, const void *data, size_t len);
int cs_fingerprint_end(struct cs_fingerprinter *fp, uint8_t out[16], struct cs_error *err);

#endif
