/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PACK_H
#define CS_PACK_H

#include "bytes.h"
#include "checksum.h"
#include "chunkstore.h"
#include "crypt.h"

struct cs_store;

/*
 * The structure of pack files (FORMAT.md, section 6): header, trailer, footer,
 * and the identity and key of a frame. Writing is pack_write.c's, reading
 * pack_read.c's.
 */

enum {
    CS_PACK_HEADER_SIZE = 64,
    CS_PACK_FOOTER_SIZE = 56,
    CS_FRAME_AD_SIZE = 84,
    CS_TRAILER_AD_SIZE = 80,
    CS_FRAME_MAX = 2 << 20,        /* bytes of objects in a frame */
    CS_META_FRAME_MAX = 128 << 10, /* in one that we write for metadata */
    CS_PACK_TARGET = 64 << 20,     /* bytes at which a pack is closed */
    CS_PACK_MAX_FRAMES = 65535,
    CS_PACK_MAX_OBJECTS = 65536,
    CS_TRAILER_MAX = 32 << 20, /* bytes; a sanity limit for readers */
};

struct cs_pack_header {
    enum cs_class class;
    uint16_t epoch;
    struct cs_name id;
    uint8_t ephemeral[CS_KEY_SIZE]; /* zero for metadata */
};

void cs_pack_header_encode(uint8_t out[CS_PACK_HEADER_SIZE], const struct cs_pack_header *header);
int cs_pack_header_decode(struct cs_pack_header *header, const uint8_t in[CS_PACK_HEADER_SIZE],
                          const char *name, struct cs_error *err);

struct cs_origin {
    struct cs_name pack;
    uint8_t ephemeral[CS_KEY_SIZE];
    uint16_t epoch;
};

struct cs_frame {
    uint64_t offset; /* in the pack, bytes */
    uint32_t stored; /* length there, with nonce and tag */
    uint32_t plain;  /* length of the objects in it */
    uint8_t codec;
    uint16_t origin; /* index */
    uint16_t number; /* in the origin */
    uint16_t objects;
    uint8_t checksum[CS_CHECKSUM_SIZE];
    uint32_t first; /* index of its first object; not stored */
};

struct cs_object {
    struct cs_id id;
    uint8_t type;
    uint32_t length;
};

struct cs_trailer {
    struct cs_origin *origins;
    size_t origin_count;
    struct cs_frame *frames;
    size_t frame_count;
    struct cs_object *objects;
    size_t object_count;
};

void cs_trailer_encode(struct cs_buf *out, const struct cs_trailer *trailer);

/* Decodes and holds everything against the pack: ${trailer_at} is the offset of the trailer, where
 * the frames must end. */
int cs_trailer_decode(struct cs_trailer *trailer, const uint8_t *data, size_t len,
                      const struct cs_pack_header *header, uint64_t trailer_at, const char *name,
                      struct cs_error *err);
void cs_trailer_clear(struct cs_trailer *trailer);

struct cs_footer {
    uint64_t trailer_at;
    uint32_t trailer_len; /* sealed */
    uint16_t epoch;
    struct cs_name pack;
};

/* The first 40 bytes; the checksum behind them is over header, sealed trailer and these. */
enum { CS_FOOTER_CHECKED = 40 };
void cs_footer_encode(uint8_t out[CS_FOOTER_CHECKED], const struct cs_footer *footer);
int cs_footer_decode(struct cs_footer *footer, const uint8_t in[CS_FOOTER_CHECKED],
                     const char *name, struct cs_error *err);

void cs_pack_file(char out[64], const struct cs_name *pack);

/* Associated data of the trailer, and of a frame. */
void cs_trailer_identity(uint8_t ad[CS_TRAILER_AD_SIZE], const struct cs_id *repository_id,
                         const struct cs_name *pack, uint16_t epoch, uint64_t trailer_at,
                         uint32_t trailer_len);
void cs_frame_identity(uint8_t ad[CS_FRAME_AD_SIZE], const struct cs_id *repository_id,
                       enum cs_class class, const struct cs_origin *origin,
                       const struct cs_frame *frame);

/* The data key of a pack, from the shared point of ${dh}: DH(e, P) = DH(p, E). */
bool cs_pack_data_key(uint8_t key[CS_KEY_SIZE], const uint8_t own_private[CS_KEY_SIZE],
                      const uint8_t other_public[CS_KEY_SIZE],
                      const uint8_t data_secret[CS_KEY_SIZE], const uint8_t ephemeral[CS_KEY_SIZE],
                      const uint8_t data_public[CS_KEY_SIZE], const struct cs_id *repository_id,
                      const struct cs_name *origin);

#endif
