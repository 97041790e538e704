/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_COMPRESS_H
#define CS_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/* Frames through libzstd; the only user of it. A compressor is for one thread at a time. */

enum { CS_LEVEL_DEFAULT = 3 };

enum cs_codec { CS_CODEC_RAW = 0, CS_CODEC_ZSTD = 1 };

struct cs_compressor;

int cs_compressor_new(struct cs_compressor **c, int level, struct cs_error *err);
void cs_compressor_free(struct cs_compressor *c);

/* From now on it takes the least time, whatever the level. */
void cs_compressor_hurry(struct cs_compressor *c);

/* Bytes that ${out} must have room for to compress ${len} bytes. */
size_t cs_compress_bound(size_t len);

/* Compresses; sets ${*out_len}, or to 0 where that would save under 3 %: then the bytes are to be
 * kept as they are. */
int cs_compress(struct cs_compressor *c, const void *in, size_t len, void *out, size_t capacity,
                size_t *out_len, struct cs_error *err);

/* Expands one zstd frame into exactly ${out_len} bytes; false where it is anything else. Safe from
 * any thread. */
bool cs_expand(const void *in, size_t len, void *out, size_t out_len);

#endif
