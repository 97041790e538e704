/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoding and decoding of a pack's parts, without I/O. The decoder of the
 * trailer accepts nothing that would make a reader go outside of the pack.
 */
#include "pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress.h"
#include "config.h"

static const char header_magic[8] = "byrepack";
static const char footer_magic[8] = "byretail";

enum { ORIGIN_BYTES = 50, FRAME_BYTES = 39, OBJECT_BYTES = 37 };

void cs_pack_file(char out[64], const struct cs_name *pack)
{
    char hex[CS_NAME_HEX];
    snprintf(out, 64, "packs/%s", cs_name_hex(pack, hex));
}

void cs_pack_header_encode(uint8_t out[CS_PACK_HEADER_SIZE], const struct cs_pack_header *h)
{
    memset(out, 0, CS_PACK_HEADER_SIZE);
    memcpy(out, header_magic, 8);
    cs_le16(out + 8, 1);
    out[10] = (uint8_t)h->class;
    cs_le16(out + 12, h->epoch);
    memcpy(out + 16, h->id.bytes, CS_NAME_SIZE);
    memcpy(out + 32, h->ephemeral, CS_KEY_SIZE);
}

int cs_pack_header_decode(struct cs_pack_header *h, const uint8_t in[CS_PACK_HEADER_SIZE],
                          const char *name, struct cs_error *err)
{
    if (memcmp(in, header_magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: does not begin as a pack", name);
    if (cs_from_le16(in + 8) != 1)
        return cs_fail(err, CS_CORRUPT,
                       "%s: has version %u, which this repository\'s format does not know", name,
                       cs_from_le16(in + 8));
    if ((in[10] != CS_DATA && in[10] != CS_META) || in[11] != 0 || in[14] != 0 || in[15] != 0)
        return cs_fail(err, CS_CORRUPT, "%s: its header is malformed at 10", name);
    h->class = in[10];
    h->epoch = cs_from_le16(in + 12);
    memcpy(h->id.bytes, in + 16, CS_NAME_SIZE);
    memcpy(h->ephemeral, in + 32, CS_KEY_SIZE);
    return 0;
}

void cs_footer_encode(uint8_t out[CS_FOOTER_CHECKED], const struct cs_footer *f)
{
    memset(out, 0, CS_FOOTER_CHECKED);
    memcpy(out, footer_magic, 8);
    cs_le64(out + 8, f->trailer_at);
    cs_le32(out + 16, f->trailer_len);
    cs_le16(out + 20, f->epoch);
    memcpy(out + 24, f->pack.bytes, CS_NAME_SIZE);
}

int cs_footer_decode(struct cs_footer *f, const uint8_t in[CS_FOOTER_CHECKED], const char *name,
                     struct cs_error *err)
{
    if (memcmp(in, footer_magic, 8) != 0 || in[22] != 0 || in[23] != 0)
        return cs_fail(err, CS_CORRUPT, "%s: does not end as a pack (cut off?)", name);
    f->trailer_at = cs_from_le64(in + 8);
    f->trailer_len = cs_from_le32(in + 16);
    f->epoch = cs_from_le16(in + 20);
    memcpy(f->pack.bytes, in + 24, CS_NAME_SIZE);
    return 0;
}

void cs_trailer_identity(uint8_t ad[CS_TRAILER_AD_SIZE], const struct cs_id *repository_id,
                         const struct cs_name *pack, uint16_t epoch, uint64_t trailer_at,
                         uint32_t trailer_len)
{
    memset(ad, 0, CS_TRAILER_AD_SIZE);
    memcpy(ad, "byre trailer", 12);
    cs_le16(ad + 16, CS_FORMAT_VERSION);
    cs_le16(ad + 18, epoch);
    memcpy(ad + 20, repository_id->bytes, CS_ID_SIZE);
    memcpy(ad + 52, pack->bytes, CS_NAME_SIZE);
    cs_le64(ad + 68, trailer_at);
    cs_le32(ad + 76, trailer_len);
}

void cs_frame_identity(uint8_t ad[CS_FRAME_AD_SIZE], const struct cs_id *repository_id,
                       enum cs_class class, const struct cs_origin *origin,
                       const struct cs_frame *frame)
{
    memset(ad, 0, CS_FRAME_AD_SIZE);
    memcpy(ad, "byre frame", 10);
    cs_le16(ad + 16, CS_FORMAT_VERSION);
    ad[18] = (uint8_t) class;
    ad[19] = frame->codec;
    cs_le16(ad + 20, origin->epoch);
    memcpy(ad + 24, repository_id->bytes, CS_ID_SIZE);
    memcpy(ad + 56, origin->pack.bytes, CS_NAME_SIZE);
    cs_le32(ad + 72, frame->number);
    cs_le32(ad + 76, frame->stored);
    cs_le32(ad + 80, frame->plain);
}

bool cs_pack_data_key(uint8_t key[CS_KEY_SIZE], const uint8_t own_private[CS_KEY_SIZE],
                      const uint8_t other_public[CS_KEY_SIZE],
                      const uint8_t data_secret[CS_KEY_SIZE], const uint8_t ephemeral[CS_KEY_SIZE],
                      const uint8_t data_public[CS_KEY_SIZE], const struct cs_id *repository_id,
                      const struct cs_name *origin)
{
    uint8_t message[4 * CS_KEY_SIZE + CS_NAME_SIZE];
    if (!cs_dh(message, own_private, other_public))
        return false;
    memcpy(message + 32, ephemeral, CS_KEY_SIZE);
    memcpy(message + 64, data_public, CS_KEY_SIZE);
    memcpy(message + 96, repository_id->bytes, CS_ID_SIZE);
    memcpy(message + 128, origin->bytes, CS_NAME_SIZE);
    cs_keyed(key, data_secret, "byre data pack", message, sizeof message);
    cs_wipe(message, sizeof message);
    return true;
}

void cs_trailer_encode(struct cs_buf *out, const struct cs_trailer *t)
{
    cs_put_u16(out, (uint16_t)t->origin_count);
    for (size_t i = 0; i < t->origin_count; i++) {
        cs_put_bytes(out, t->origins[i].pack.bytes, CS_NAME_SIZE);
        cs_put_bytes(out, t->origins[i].ephemeral, CS_KEY_SIZE);
        cs_put_u16(out, t->origins[i].epoch);
    }
    cs_put_u16(out, (uint16_t)t->frame_count);
    for (size_t i = 0; i < t->frame_count; i++) {
        const struct cs_frame *f = &t->frames[i];
        cs_put_u64(out, f->offset);
        cs_put_u32(out, f->stored);
        cs_put_u32(out, f->plain);
        cs_put_u8(out, f->codec);
        cs_put_u16(out, f->origin);
        cs_put_u16(out, f->number);
        cs_put_u16(out, f->objects);
        cs_put_bytes(out, f->checksum, CS_CHECKSUM_SIZE);
    }
    cs_put_u32(out, (uint32_t)t->object_count);
    for (size_t i = 0; i < t->object_count; i++) {
        cs_put_bytes(out, t->objects[i].id.bytes, CS_ID_SIZE);
        cs_put_u8(out, t->objects[i].type);
        cs_put_u32(out, t->objects[i].length);
    }
}

static int get_frames(struct cs_trailer *t, struct cs_reader *r)
{
    t->frame_count = cs_get_count16(r, FRAME_BYTES);
    t->frames = calloc(t->frame_count + 1, sizeof *t->frames);
    if (t->frames == NULL)
        return CS_NO_MEMORY;
    uint64_t at = CS_PACK_HEADER_SIZE;
    uint32_t first = 0;
    for (size_t i = 0; i < t->frame_count; i++) {
        struct cs_frame *f = &t->frames[i];
        f->offset = cs_get_u64(r);
        f->stored = cs_get_u32(r);
        f->plain = cs_get_u32(r);
        f->codec = cs_get_u8(r);
        f->origin = cs_get_u16(r);
        f->number = cs_get_u16(r);
        f->objects = cs_get_u16(r);
        cs_get_copy(r, f->checksum, CS_CHECKSUM_SIZE);
        f->first = first;
        if (f->offset != at || f->stored <= CS_SEAL_OVERHEAD || f->plain == 0 ||
            f->plain > CS_FRAME_MAX || f->stored > f->plain + CS_SEAL_OVERHEAD ||
            f->codec > CS_CODEC_ZSTD || f->objects == 0 ||
            (f->codec == CS_CODEC_RAW && f->stored != f->plain + CS_SEAL_OVERHEAD) ||
            f->origin >= t->origin_count || (f->origin == 0 && f->number != i))
            r->bad = true;
        at += f->stored;
        first += f->objects;
    }
    return 0;
}

static int get_objects(struct cs_trailer *t, struct cs_reader *r, enum cs_class class)
{
    t->object_count = cs_get_count32(r, OBJECT_BYTES);
    t->objects = calloc(t->object_count + 1, sizeof *t->objects);
    if (t->objects == NULL)
        return CS_NO_MEMORY;
    for (size_t i = 0; i < t->object_count; i++) {
        cs_get_copy(r, t->objects[i].id.bytes, CS_ID_SIZE);
        t->objects[i].type = cs_get_u8(r);
        t->objects[i].length = cs_get_u32(r);
        if (t->objects[i].length == 0 || t->objects[i].length > CS_DATA_OBJECT_MAX ||
            (class == CS_DATA && t->objects[i].type != CS_CHUNK))
            r->bad = true;
    }
    size_t next = 0;
    for (size_t i = 0; i < t->frame_count && !r->bad; i++) {
        uint64_t sum = 0;
        if (t->frames[i].objects > t->object_count - next)
            r->bad = true;
        for (size_t k = 0; k < t->frames[i].objects && !r->bad; k++)
            sum += t->objects[next++].length;
        if (sum != t->frames[i].plain)
            r->bad = true;
    }
    if (next != t->object_count)
        r->bad = true;
    return 0;
}

int cs_trailer_decode(struct cs_trailer *out, const uint8_t *data, size_t len,
                      const struct cs_pack_header *header, uint64_t trailer_at, const char *name,
                      struct cs_error *err)
{
    struct cs_trailer t = {0};
    struct cs_reader r = cs_reader_of(data, len);
    int rc = 0;
    t.origin_count = cs_get_count16(&r, ORIGIN_BYTES);
    t.origins = calloc(t.origin_count + 1, sizeof *t.origins);
    if (t.origins == NULL) {
        rc = CS_NO_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < t.origin_count; i++) {
        cs_get_copy(&r, t.origins[i].pack.bytes, CS_NAME_SIZE);
        cs_get_copy(&r, t.origins[i].ephemeral, CS_KEY_SIZE);
        t.origins[i].epoch = cs_get_u16(&r);
    }
    if (t.origin_count == 0 || t.origins[0].epoch != header->epoch ||
        memcmp(&t.origins[0].pack, &header->id, sizeof header->id) != 0 ||
        memcmp(t.origins[0].ephemeral, header->ephemeral, CS_KEY_SIZE) != 0)
        r.bad = true;
    rc = get_frames(&t, &r);
    if (rc == 0)
        rc = get_objects(&t, &r, header->class);
    const struct cs_frame *last = t.frame_count > 0 ? &t.frames[t.frame_count - 1] : NULL;
    if (rc == 0 &&
        (!cs_reader_done(&r) || last == NULL || last->offset + last->stored != trailer_at))
        rc = cs_fail(err, CS_CORRUPT, "%s: its trailer at %" PRIu64 " is malformed near byte %zu",
                     name, trailer_at, r.pos);
out:
    if (rc == CS_NO_MEMORY)
        cs_fail_memory(err);
    if (rc < 0)
        cs_trailer_clear(&t);
    else
        *out = t;
    return rc;
}

void cs_trailer_clear(struct cs_trailer *trailer)
{
    free(trailer->origins);
    free(trailer->frames);
    free(trailer->objects);
    *trailer = (struct cs_trailer){0};
}
