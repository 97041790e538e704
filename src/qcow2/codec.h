/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_CODEC_H
#define BYRE_QCOW2_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"

/*
 * The streams of compressed clusters: raw deflate (libdeflate; where it
 * refuses, zlib's inflate decides, as it does in QEMU) and zstd. A codec keeps
 * its contexts, and is for one thread at a time.
 */

struct qcow2_codec;

int qcow2_codec_new(struct qcow2_codec **codec, enum qcow2_compression type, struct error *err);
void qcow2_codec_free(struct qcow2_codec *codec);

/*
 * Expands the stream at ${in}, of at most ${in_len} bytes, into exactly ${out_len} bytes, and sets
 * ${*used} to the bytes of it that the stream really has. ERROR_CORRUPT where it does not give
 * exactly that.
 */
int qcow2_codec_decode(struct qcow2_codec *codec, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t out_len, size_t *used, struct error *err);

/*
 * Compresses ${in_len} bytes as QEMU does it (deflateInit2(-1, Z_DEFLATED, -12, 9,
 * Z_DEFAULT_STRATEGY), or zstd at its default level) into ${out}. Sets ${*out_len} to the length,
 * or to 0 where it is not below ${in_len}: then the cluster is to be written as it is. ${out} has
 * room for ${in_len} bytes.
 */
int qcow2_codec_encode(struct qcow2_codec *codec, const uint8_t *in, size_t in_len, uint8_t *out,
                       size_t *out_len, struct error *err);

/* Compresses like qcow2_codec_encode, but takes a stream of any length: ${out} has room for
 * 2 * ${in_len} bytes, which no stream exceeds. */
int qcow2_codec_encode_always(struct qcow2_codec *codec, const uint8_t *in, size_t in_len,
                              uint8_t *out, size_t *out_len, struct error *err);

#endif
