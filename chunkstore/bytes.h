/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_BYTES_H
#define CS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The one bounded reader and the one growing writer of all on-disk structures
 * (FORMAT.md, section 1; little-endian). Both remember the first failure, so
 * that a decoder or encoder asks once, at its end.
 */

struct cs_reader {
    const uint8_t *data;
    size_t len;
    size_t pos;
    bool bad; /* something went past the end, or was malformed; all later reads give 0 */
};

static inline struct cs_reader cs_reader_of(const void *data, size_t len)
{
    return (struct cs_reader){.data = data, .len = len};
}

/* The next ${n} bytes, lent; NULL (and bad) where there are not so many. */
const uint8_t *cs_get_bytes(struct cs_reader *r, size_t n);
void cs_get_copy(struct cs_reader *r, void *out, size_t n); /* zeros where bad */
uint8_t cs_get_u8(struct cs_reader *r);
uint16_t cs_get_u16(struct cs_reader *r);
uint32_t cs_get_u32(struct cs_reader *r);
uint64_t cs_get_u64(struct cs_reader *r);
uint64_t cs_get_varint(struct cs_reader *r);
int64_t cs_get_svarint(struct cs_reader *r);
/* A u16 length and that many bytes: fresh memory with a zero byte behind; NULL where bad or where
 * the bytes have a zero byte themselves. */
char *cs_get_str16(struct cs_reader *r);
void cs_get_zeros(struct cs_reader *r, size_t n); /* bad unless they are */

/* A u32 count of things of at least ${least} bytes each: bad where not so many can follow. */
uint32_t cs_get_count32(struct cs_reader *r, size_t least);
uint16_t cs_get_count16(struct cs_reader *r, size_t least);

/* Whether everything was read, and nothing was bad. */
static inline bool cs_reader_done(const struct cs_reader *r)
{
    return !r->bad && r->pos == r->len;
}

static inline size_t cs_reader_left(const struct cs_reader *r)
{
    return r->bad ? 0 : r->len - r->pos;
}

struct cs_buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    bool failed; /* out of memory; later puts do nothing */
};

void cs_put_bytes(struct cs_buf *b, const void *data, size_t n);
void cs_put_zeros(struct cs_buf *b, size_t n);
void cs_put_u8(struct cs_buf *b, uint8_t v);
void cs_put_u16(struct cs_buf *b, uint16_t v);
void cs_put_u32(struct cs_buf *b, uint32_t v);
void cs_put_u64(struct cs_buf *b, uint64_t v);
void cs_put_varint(struct cs_buf *b, uint64_t v);
void cs_put_svarint(struct cs_buf *b, int64_t v);
void cs_put_str16(struct cs_buf *b, const char *s); /* failed where it is longer than 65535 */
void cs_buf_clear(struct cs_buf *b);                /* frees */
void cs_buf_wipe(struct cs_buf *b);                 /* overwrites, then frees */

/* In fixed places of a fixed structure. */
static inline void cs_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void cs_le32(uint8_t *p, uint32_t v)
{
    cs_le16(p, (uint16_t)v);
    cs_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void cs_le64(uint8_t *p, uint64_t v)
{
    cs_le32(p, (uint32_t)v);
    cs_le32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t cs_from_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t cs_from_le32(const uint8_t *p)
{
    return (uint32_t)cs_from_le16(p) | (uint32_t)cs_from_le16(p + 2) << 16;
}

static inline uint64_t cs_from_le64(const uint8_t *p)
{
    return (uint64_t)cs_from_le32(p) | (uint64_t)cs_from_le32(p + 4) << 32;
}

#endif
