/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compressed clusters: raw deflate and zstd, with contexts that are made at
 * first use and kept. Accepts what QEMU accepts, and writes what QEMU writes,
 * bit for bit; knows nothing of where a stream lies.
 */
#include "qcow2/codec.h"

#include <errno.h>
#include <libdeflate.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

struct qcow2_codec {
    enum qcow2_compression type;
    struct libdeflate_decompressor *expander;
    z_stream inflate;
    z_stream deflate;
    bool inflate_ready;
    bool deflate_ready;
    ZSTD_DCtx *dctx;
    ZSTD_CCtx *cctx;
};

/* QEMU writes with a window of 2^12, but its inflate accepts one of 2^15. */
enum { READ_WINDOW = -15, WRITE_WINDOW = -12, WRITE_MEMORY = 9 };

int qcow2_codec_new(struct qcow2_codec **codec, enum qcow2_compression type, struct error *err)
{
    struct qcow2_codec *c;

    *codec = NULL;
    if (type != QCOW2_ZLIB && type != QCOW2_ZSTD)
        return error_set(err, ERROR_UNSUPPORTED, "compression type %d is not known", (int)type);
    if (!(c = calloc(1, sizeof *c)))
        return error_no_memory(err);
    c->type = type;
    *codec = c;
    return 0;
}

void qcow2_codec_free(struct qcow2_codec *codec)
{
    if (!codec)
        return;
    libdeflate_free_decompressor(codec->expander);
    if (codec->inflate_ready)
        inflateEnd(&codec->inflate);
    if (codec->deflate_ready)
        deflateEnd(&codec->deflate);
    ZSTD_freeDCtx(codec->dctx);
    ZSTD_freeCCtx(codec->cctx);
    free(codec);
}

/*
 * A stream that goes on behind a full output counts as good, as in QEMU, for
 * which the length in the descriptor is no more than a hint.
 */
static int inflate_decode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                          size_t out_len, size_t *used, struct error *err)
{
    z_stream *s = &c->inflate;
    int rc;

    if (!c->inflate_ready) {
        if (inflateInit2(s, READ_WINDOW) != Z_OK)
            return error_no_memory(err);
        c->inflate_ready = true;
    } else if (inflateReset(s) != Z_OK) {
        return error_set(err, ERROR_CORRUPT, "deflate: the context is broken");
    }
    s->next_in = (z_const Bytef *)in;
    s->avail_in = (uInt)in_len;
    s->next_out = out;
    s->avail_out = (uInt)out_len;
    rc = inflate(s, Z_FINISH);
    if (rc == Z_MEM_ERROR)
        return error_no_memory(err);
    if ((rc != Z_STREAM_END && rc != Z_BUF_ERROR && rc != Z_OK) || s->avail_out != 0)
        return error_set(err, ERROR_CORRUPT, "deflate: gives %zu of %zu bytes%s%s",
                         out_len - s->avail_out, out_len, s->msg ? ": " : "", s->msg ? s->msg : "");
    *used = in_len - s->avail_in;
    return 0;
}

static int deflate_decode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                          size_t out_len, size_t *used, struct error *err)
{
    if (!c->expander && !(c->expander = libdeflate_alloc_decompressor()))
        return error_no_memory(err);
    if (libdeflate_deflate_decompress_ex(c->expander, in, in_len, out, out_len, used, NULL) ==
        LIBDEFLATE_SUCCESS)
        return 0;
    return inflate_decode(c, in, in_len, out, out_len, used, err);
}

/* One cluster may be several frames; the last has to be complete when the cluster is. */
static int zstd_decode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t out_len, size_t *used, struct error *err)
{
    ZSTD_inBuffer input = {.src = in, .size = in_len};
    ZSTD_outBuffer output = {.dst = out, .size = out_len};
    size_t rc = 0;

    if (!c->dctx && !(c->dctx = ZSTD_createDCtx()))
        return error_no_memory(err);
    ZSTD_DCtx_reset(c->dctx, ZSTD_reset_session_only);
    while (output.pos < output.size) {
        size_t in_before = input.pos, out_before = output.pos;

        rc = ZSTD_decompressStream(c->dctx, &output, &input);
        if (ZSTD_isError(rc))
            return error_set(err, ERROR_CORRUPT, "zstd: %s", ZSTD_getErrorName(rc));
        if (input.pos == in_before && output.pos == out_before)
            return error_set(err, ERROR_CORRUPT, "zstd: gives %zu of %zu bytes", output.pos,
                             out_len);
    }
    if (rc > 0)
        return error_set(err, ERROR_CORRUPT, "zstd: the frame does not end at %zu bytes", out_len);
    *used = input.pos;
    return 0;
}

int qcow2_codec_decode(struct qcow2_codec *codec, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t out_len, size_t *used, struct error *err)
{
    *used = 0;
    if (in_len > UINT_MAX || out_len > UINT_MAX)
        return error_set(err, ERROR_USAGE, "a stream of %zu bytes for %zu", in_len, out_len);
    if (codec->type == QCOW2_ZSTD)
        return zstd_decode(codec, in, in_len, out, out_len, used, err);
    return deflate_decode(codec, in, in_len, out, out_len, used, err);
}

static int deflate_encode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                          size_t room, size_t *out_len, struct error *err)
{
    z_stream *s = &c->deflate;
    int rc;

    if (!c->deflate_ready) {
        if (deflateInit2(s, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WRITE_WINDOW, WRITE_MEMORY,
                         Z_DEFAULT_STRATEGY) != Z_OK)
            return error_no_memory(err);
        c->deflate_ready = true;
    } else if (deflateReset(s) != Z_OK) {
        return error_set(err, ERROR_IO, "deflate: the context is broken");
    }
    s->next_in = (z_const Bytef *)in;
    s->avail_in = (uInt)in_len;
    s->next_out = out;
    s->avail_out = (uInt)room;
    rc = deflate(s, Z_FINISH);
    if (rc == Z_STREAM_END)
        *out_len = room - s->avail_out;
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return error_set(err, ERROR_IO, "deflate: error %d", rc);
    return 0;
}

static int zstd_encode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t room, size_t *out_len, struct error *err)
{
    ZSTD_inBuffer input = {.src = in, .size = in_len};
    ZSTD_outBuffer output = {.dst = out, .size = room};
    size_t rc;

    if (!c->cctx && !(c->cctx = ZSTD_createCCtx()))
        return error_no_memory(err);
    ZSTD_CCtx_reset(c->cctx, ZSTD_reset_session_only);
    rc = ZSTD_compressStream2(c->cctx, &output, &input, ZSTD_e_end);
    if (ZSTD_isError(rc))
        return error_set(err, ERROR_IO, "zstd: %s", ZSTD_getErrorName(rc));
    if (rc == 0)
        *out_len = output.pos;
    return 0;
}

static int encode(struct qcow2_codec *c, const uint8_t *in, size_t in_len, uint8_t *out,
                  size_t room, size_t *out_len, struct error *err)
{
    *out_len = 0;
    if (in_len == 0 || in_len > UINT_MAX / 2)
        return error_set(err, ERROR_USAGE, "a cluster of %zu bytes", in_len);
    if (c->type == QCOW2_ZSTD)
        return zstd_encode(c, in, in_len, out, room, out_len, err);
    return deflate_encode(c, in, in_len, out, room, out_len, err);
}

int qcow2_codec_encode(struct qcow2_codec *codec, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t *out_len, struct error *err)
{
    /* The room for the output is part of what makes zstd's stream the same as QEMU's. */
    return encode(codec, in, in_len, out, in_len - 1, out_len, err);
}

int qcow2_codec_encode_always(struct qcow2_codec *codec, const uint8_t *in, size_t in_len,
                              uint8_t *out, size_t *out_len, struct error *err)
{
    int rc = encode(codec, in, in_len, out, 2 * in_len, out_len, err);

    if (rc == 0 && *out_len == 0)
        return error_set(err, ERROR_IO, "%zu bytes do not fit a stream", in_len);
    return rc;
}
