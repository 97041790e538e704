/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bounded reader and the growing writer. They know no structure; what a
 * field means and which values it may have is for the decoder to say.
 */
#include "bytes.h"

#include <stdlib.h>

const uint8_t *cs_get_bytes(struct cs_reader *r, size_t n)
{
    if (r->bad || n > r->len - r->pos) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += n;
    return p;
}

void cs_get_copy(struct cs_reader *r, void *out, size_t n)
{
    const uint8_t *p = cs_get_bytes(r, n);
    if (p != NULL)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

uint8_t cs_get_u8(struct cs_reader *r)
{
    const uint8_t *p = cs_get_bytes(r, 1);
    return p != NULL ? p[0] : 0;
}

uint16_t cs_get_u16(struct cs_reader *r)
{
    const uint8_t *p = cs_get_bytes(r, 2);
    return p != NULL ? cs_from_le16(p) : 0;
}

uint32_t cs_get_u32(struct cs_reader *r)
{
    const uint8_t *p = cs_get_bytes(r, 4);
    return p != NULL ? cs_from_le32(p) : 0;
}

uint64_t cs_get_u64(struct cs_reader *r)
{
    const uint8_t *p = cs_get_bytes(r, 8);
    return p != NULL ? cs_from_le64(p) : 0;
}

uint64_t cs_get_varint(struct cs_reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = cs_get_u8(r);
        if (r->bad)
            return 0;
        /* the tenth byte has room for one bit; a last byte of zero says nothing */
        if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    r->bad = true;
    return 0;
}

int64_t cs_get_svarint(struct cs_reader *r)
{
    uint64_t v = cs_get_varint(r);
    return (int64_t)((v >> 1) ^ (~(v & 1) + 1));
}

char *cs_get_str16(struct cs_reader *r)
{
    size_t n = cs_get_u16(r);
    const uint8_t *p = cs_get_bytes(r, n);
    if (p == NULL || memchr(p, 0, n) != NULL) {
        r->bad = true;
        return NULL;
    }
    char *s = malloc(n + 1);
    if (s == NULL) {
        r->bad = true;
        return NULL;
    }
    memcpy(s, p, n);
    s[n] = 0;
    return s;
}

void cs_get_zeros(struct cs_reader *r, size_t n)
{
    const uint8_t *p = cs_get_bytes(r, n);
    for (size_t i = 0; p != NULL && i < n; i++)
        if (p[i] != 0)
            r->bad = true;
}

uint32_t cs_get_count32(struct cs_reader *r, size_t least)
{
    uint32_t n = cs_get_u32(r);
    if (n > cs_reader_left(r) / least) {
        r->bad = true;
        return 0;
    }
    return n;
}

uint16_t cs_get_count16(struct cs_reader *r, size_t least)
{
    uint16_t n = cs_get_u16(r);
    if (n > cs_reader_left(r) / least) {
        r->bad = true;
        return 0;
    }
    return n;
}

static uint8_t *grow(struct cs_buf *b, size_t n)
{
    size_t need;
    if (b->failed || __builtin_add_overflow(b->len, n, &need)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->capacity) {
        size_t capacity = b->capacity != 0 ? b->capacity : 256;
        while (capacity < need)
            capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : need;
        uint8_t *data = realloc(b->data, capacity);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->capacity = capacity;
    }
    uint8_t *p = b->data + b->len;
    b->len = need;
    return p;
}

void cs_put_bytes(struct cs_buf *b, const void *data, size_t n)
{
    if (n == 0)
        return;
    uint8_t *p = grow(b, n);
    if (p != NULL)
        memcpy(p, data, n);
}

void cs_put_zeros(struct cs_buf *b, size_t n)
{
    uint8_t *p = grow(b, n);
    if (p != NULL)
        memset(p, 0, n);
}

void cs_put_u8(struct cs_buf *b, uint8_t v)
{
    cs_put_bytes(b, &v, 1);
}

void cs_put_u16(struct cs_buf *b, uint16_t v)
{
    uint8_t p[2];
    cs_le16(p, v);
    cs_put_bytes(b, p, sizeof p);
}

void cs_put_u32(struct cs_buf *b, uint32_t v)
{
    uint8_t p[4];
    cs_le32(p, v);
    cs_put_bytes(b, p, sizeof p);
}

void cs_put_u64(struct cs_buf *b, uint64_t v)
{
    uint8_t p[8];
    cs_le64(p, v);
    cs_put_bytes(b, p, sizeof p);
}

void cs_put_varint(struct cs_buf *b, uint64_t v)
{
    uint8_t p[10];
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    cs_put_bytes(b, p, n);
}

void cs_put_svarint(struct cs_buf *b, int64_t v)
{
    cs_put_varint(b, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

void cs_put_str16(struct cs_buf *b, const char *s)
{
    size_t n = strlen(s);
    if (n > UINT16_MAX) {
        b->failed = true;
        return;
    }
    cs_put_u16(b, (uint16_t)n);
    cs_put_bytes(b, s, n);
}

void cs_buf_clear(struct cs_buf *b)
{
    free(b->data);
    *b = (struct cs_buf){0};
}

void cs_buf_wipe(struct cs_buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    cs_buf_clear(b);
}
