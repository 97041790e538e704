/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packs behind their seal: class, trailer's offset and trailer come from the input. What is taken
 * must encode to the very same bytes, and every frame and object must lie where a reader may go.
 */
#include <stdlib.h>
#include <string.h>

#include "compress.h"
#include "pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void hold(const struct cs_trailer *t, uint64_t end)
{
    uint64_t at = CS_PACK_HEADER_SIZE, objects = 0;
    require(t->origin_count > 0 && t->frame_count > 0);
    for (size_t i = 0; i < t->frame_count; i++) {
        const struct cs_frame *f = &t->frames[i];
        uint64_t plain = 0;
        require(f->offset == at && f->stored > CS_SEAL_OVERHEAD);
        require(f->plain > 0 && f->plain <= CS_FRAME_MAX);
        require(f->stored <= f->plain + CS_SEAL_OVERHEAD && f->origin < t->origin_count);
        require(f->codec == CS_CODEC_RAW || f->codec == CS_CODEC_ZSTD);
        require(f->first == objects && f->objects > 0);
        for (size_t k = 0; k < f->objects; k++)
            plain += t->objects[f->first + k].length;
        require(plain == f->plain);
        objects += f->objects;
        at += f->stored;
    }
    require(at == end && objects == t->object_count);
}

static void open_parts(const uint8_t *data, size_t size)
{
    struct cs_pack_header header;
    struct cs_footer footer;
    uint8_t out[CS_PACK_HEADER_SIZE];
    if (size >= CS_PACK_HEADER_SIZE && cs_pack_header_decode(&header, data, "pack", NULL) == 0) {
        cs_pack_header_encode(out, &header);
        require(memcmp(out, data, CS_PACK_HEADER_SIZE) == 0);
    }
    if (size >= CS_FOOTER_CHECKED && cs_footer_decode(&footer, data, "pack", NULL) == 0) {
        cs_footer_encode(out, &footer);
        require(memcmp(out, data, CS_FOOTER_CHECKED) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cs_pack_header header = {.class = CS_META};
    struct cs_trailer t;
    struct cs_error err = {0};
    struct cs_buf again = {0};
    if (cs_crypt_init(NULL) < 0)
        abort();
    open_parts(data, size);
    if (size < 5)
        return 0;
    /* the header is told from outside; make it agree, so that what is behind is reached */
    header.class = data[0] & 1 ? CS_DATA : CS_META;
    uint64_t at = cs_from_le32(data + 1);
    data += 5;
    size -= 5;
    if (size >= 52) {
        memcpy(&header.id, data + 2, CS_NAME_SIZE);
        memcpy(header.ephemeral, data + 18, CS_KEY_SIZE);
        header.epoch = cs_from_le16(data + 50);
    }
    if (cs_trailer_decode(&t, data, size, &header, at, "pack", &err) < 0) {
        require(err.code != 0 && err.message[0] != 0);
        return 0;
    }
    hold(&t, at);
    cs_trailer_encode(&again, &t);
    require(!again.failed && again.len == size && memcmp(again.data, data, size) == 0);
    cs_buf_clear(&again);
    cs_trailer_clear(&t);
    return 0;
}
