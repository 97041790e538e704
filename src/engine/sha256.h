/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_SHA256_H
#define BYRE_ENGINE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* SHA-256, for files that others verify with sha256sum. Byre's own ids are another matter. */

enum { SHA256_HEX = 65 }; /* digits and the final zero byte */

struct sha256;

int sha256_new(struct sha256 **sha, struct error *err);

/* Begins anew. */
int sha256_begin(struct sha256 *sha, struct error *err);
int sha256_add(struct sha256 *sha, const void *data, size_t len, struct error *err);
int sha256_add_zeros(struct sha256 *sha, uint64_t len, struct error *err);
int sha256_end(struct sha256 *sha, char hex[SHA256_HEX], struct error *err);
void sha256_free(struct sha256 *sha);

#endif
