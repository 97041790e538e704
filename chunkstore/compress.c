/* SPDX-License-Identifier: BSD-2-Clause */
/* zstd, one frame at a time, with contexts that are kept. */
#include "compress.h"

#include <stdlib.h>
#include <zstd.h>

struct cs_compressor {
    ZSTD_CCtx *context;
};

int cs_compressor_new(struct cs_compressor **out, int level, struct cs_error *err)
{
    struct cs_compressor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return cs_fail_memory(err);
    c->context = ZSTD_createCCtx();
    if (c->context == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c->context, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c->context, ZSTD_c_contentSizeFlag, 0))) {
        cs_compressor_free(c);
        return cs_fail_memory(err);
    }
    *out = c;
    return 0;
}

void cs_compressor_free(struct cs_compressor *c)
{
    if (c == NULL)
        return;
    ZSTD_freeCCtx(c->context);
    free(c);
}

void cs_compressor_hurry(struct cs_compressor *c)
{
    ZSTD_CCtx_setParameter(c->context, ZSTD_c_compressionLevel, 1);
}

size_t cs_compress_bound(size_t len)
{
    return ZSTD_compressBound(len);
}

int cs_compress(struct cs_compressor *c, const void *in, size_t len, void *out, size_t capacity,
                size_t *out_len, struct cs_error *err)
{
    size_t n = ZSTD_compress2(c->context, out, capacity, in, len);
    if (ZSTD_isError(n))
        return cs_fail(err, CS_NO_MEMORY, "zstd: %s", ZSTD_getErrorName(n));
    *out_len = n < len - len / 32 ? n : 0;
    return 0;
}

bool cs_expand(const void *in, size_t len, void *out, size_t out_len)
{
    /* one frame and no more: a second one, or a skippable one, would be read over */
    size_t frame = ZSTD_findFrameCompressedSize(in, len);
    if (ZSTD_isError(frame) || frame != len)
        return false;
    size_t n = ZSTD_decompress(out, out_len, in, len);
    return !ZSTD_isError(n) && n == out_len;
}
