/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a pack: byte-exact round trips, every truncation, and trailers that lie. */
#include "cs_fixture.h"

#include "compress.h"
#include "pack.h"

enum { FRAMES = 3, OBJECTS = 6 };

struct sample {
    struct cs_origin origins[2];
    struct cs_frame frames[FRAMES];
    struct cs_object objects[OBJECTS];
    struct cs_trailer trailer;
    struct cs_pack_header header;
    uint64_t end;
};

static void make(struct sample *s)
{
    static const uint32_t lengths[OBJECTS] = {100, 200, 300, 4096, 1, 2};
    static const uint16_t counts[FRAMES] = {3, 1, 2};
    *s = (struct sample){.header = {.class = CS_DATA, .epoch = 2}};
    memset(&s->header.id, 7, sizeof s->header.id);
    memset(s->header.ephemeral, 8, CS_KEY_SIZE);
    s->origins[0] = (struct cs_origin){.pack = s->header.id, .epoch = 2};
    memset(s->origins[0].ephemeral, 8, CS_KEY_SIZE);
    memset(&s->origins[1], 9, sizeof s->origins[1]);
    uint64_t at = CS_PACK_HEADER_SIZE;
    unsigned next = 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        memset(&s->objects[i].id, (int)i + 1, CS_ID_SIZE);
        s->objects[i].type = CS_CHUNK;
        s->objects[i].length = lengths[i];
    }
    for (unsigned i = 0; i < FRAMES; i++) {
        struct cs_frame *f = &s->frames[i];
        for (unsigned k = 0; k < counts[i]; k++)
            f->plain += lengths[next++];
        f->codec = i == 0 ? CS_CODEC_ZSTD : CS_CODEC_RAW;
        f->stored = (i == 0 ? 50 : f->plain) + CS_SEAL_OVERHEAD;
        f->offset = at;
        f->origin = i == 2;
        f->number = i == 2 ? 77 : (uint16_t)i;
        f->objects = counts[i];
        at += f->stored;
    }
    s->end = at;
    s->trailer = (struct cs_trailer){s->origins, 2, s->frames, FRAMES, s->objects, OBJECTS};
}

static int decode(const struct sample *s, const uint8_t *data, size_t len, struct cs_error *err)
{
    struct cs_trailer t;
    int rc = cs_trailer_decode(&t, data, len, &s->header, s->end, "pack", err);
    if (rc == 0)
        cs_trailer_clear(&t);
    return rc;
}

static int code_and_decode(const struct sample *s, struct cs_error *err)
{
    struct cs_buf b = {0};
    cs_trailer_encode(&b, &s->trailer);
    assert_false(b.failed);
    int rc = decode(s, b.data, b.len, err);
    cs_buf_clear(&b);
    return rc;
}

static void test_trailer_round_trip(void **state)
{
    struct sample s;
    struct cs_buf b = {0}, again = {0};
    struct cs_trailer t;
    (void)state;
    make(&s);
    cs_trailer_encode(&b, &s.trailer);
    assert_int_equal(b.len, 2 + 2 * 50 + 2 + FRAMES * 39 + 4 + OBJECTS * 37);
    assert_ok(cs_trailer_decode(&t, b.data, b.len, &s.header, s.end, "pack", err));
    assert_int_equal(t.frames[1].first, 3);
    assert_int_equal(t.frames[2].first, 4);
    assert_int_equal(t.frames[2].number, 77);
    cs_trailer_encode(&again, &t);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    cs_trailer_clear(&t);
    cs_buf_clear(&b);
    cs_buf_clear(&again);
}

static void test_every_truncation_of_a_trailer(void **state)
{
    struct sample s;
    struct cs_buf b = {0};
    (void)state;
    make(&s);
    cs_trailer_encode(&b, &s.trailer);
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, b.data, len);
        assert_fails(CS_CORRUPT, decode(&s, copy, len, err));
        free(copy);
    }
    cs_put_u8(&b, 0);
    assert_fails(CS_CORRUPT, decode(&s, b.data, b.len, err));
    cs_buf_clear(&b);
}

#define assert_lie(change)                                                                         \
    do {                                                                                           \
        make(&s);                                                                                  \
        change;                                                                                    \
        assert_fails(CS_CORRUPT, code_and_decode(&s, err));                                        \
    } while (0)

static void test_hostile_trailers(void **state)
{
    struct sample s;
    (void)state;
    make(&s);
    assert_ok(code_and_decode(&s, err));
    assert_lie(s.frames[0].offset++);
    assert_lie(s.frames[1].offset = 0);
    assert_lie(s.frames[1].offset = UINT64_MAX);
    assert_lie(s.frames[1].stored = 0);
    assert_lie(s.frames[1].stored = CS_SEAL_OVERHEAD);
    assert_lie(s.frames[1].stored++);
    assert_lie(s.frames[1].stored = UINT32_MAX);
    assert_lie(s.frames[0].stored = s.frames[0].plain + CS_SEAL_OVERHEAD + 1);
    assert_lie(s.frames[1].plain = 0);
    assert_lie(s.frames[1].plain = UINT32_MAX);
    assert_lie(s.frames[0].plain = CS_FRAME_MAX + 1);
    assert_lie(s.frames[0].codec = 2);
    assert_lie(s.frames[0].codec = 255);
    assert_lie(s.frames[2].origin = 2);
    assert_lie(s.frames[1].number = 5); /* of its own pack it is the second */
    assert_lie(s.frames[1].objects = 0);
    assert_lie(s.frames[1].objects = 2);
    assert_lie(s.frames[2].objects = UINT16_MAX);
    assert_lie(s.objects[0].length++);
    assert_lie(s.objects[0].length = UINT32_MAX);
    assert_lie(s.objects[3].length = 0);
    assert_lie(s.objects[0].type = CS_CHUNK + 1);
    assert_lie(s.trailer.object_count--);
    assert_lie(s.trailer.frame_count--);
    assert_lie(s.trailer.frame_count = 0; s.trailer.object_count = 0; s.end = CS_PACK_HEADER_SIZE);
    assert_lie(s.trailer.origin_count = 0);
    assert_lie(s.header.epoch++);
    assert_lie(s.header.id.bytes[3]++);
    assert_lie(s.header.ephemeral[0]++);
    assert_lie(s.end--);
    assert_lie(s.end++);
}

static void test_header_and_footer(void **state)
{
    struct sample s;
    struct cs_pack_header header;
    struct cs_footer footer = {.trailer_at = 0x1122334455667788, .trailer_len = 99, .epoch = 3},
                     back;
    uint8_t out[CS_PACK_HEADER_SIZE], again[CS_PACK_HEADER_SIZE];
    (void)state;
    make(&s);
    cs_pack_header_encode(out, &s.header);
    assert_ok(cs_pack_header_decode(&header, out, "pack", err));
    cs_pack_header_encode(again, &header);
    assert_memory_equal(out, again, sizeof out);
    for (size_t i = 0; i < 16; i++) {
        out[i] ^= 0x80;
        if (i != 12 && i != 13) /* the epoch is held against the trailer */
            assert_true(cs_pack_header_decode(&header, out, "pack", NULL) < 0);
        out[i] ^= 0x80;
    }
    memset(&footer.pack, 5, sizeof footer.pack);
    cs_footer_encode(out, &footer);
    assert_ok(cs_footer_decode(&back, out, "pack", err));
    assert_true(back.trailer_at == footer.trailer_at && back.trailer_len == 99 && back.epoch == 3);
    assert_memory_equal(&back.pack, &footer.pack, sizeof back.pack);
    for (size_t i = 0; i < 8; i++) {
        out[i] ^= 1;
        assert_fails(CS_CORRUPT, cs_footer_decode(&back, out, "pack", err));
        out[i] ^= 1;
    }
    out[22] = 1;
    assert_fails(CS_CORRUPT, cs_footer_decode(&back, out, "pack", err));
}

/* Whatever identifies a frame is in its associated data. */
static void test_a_frame_cannot_be_taken_for_another(void **state)
{
    struct sample s;
    struct cs_id repository = {{1}};
    uint8_t ad[CS_FRAME_AD_SIZE], other[CS_FRAME_AD_SIZE];
    (void)state;
#define assert_other_identity(change)                                                              \
    do {                                                                                           \
        enum cs_class class = CS_DATA;                                                             \
        repository.bytes[0] = 1;                                                                   \
        make(&s);                                                                                  \
        cs_frame_identity(ad, &repository, class, &s.origins[0], &s.frames[1]);                    \
        change;                                                                                    \
        cs_frame_identity(other, &repository, class, &s.origins[0], &s.frames[1]);                 \
        assert_memory_not_equal(ad, other, sizeof ad);                                             \
    } while (0)
    assert_other_identity(class = CS_META);
    assert_other_identity(repository.bytes[0] = 2);
    assert_other_identity(s.origins[0].epoch++);
    assert_other_identity(s.origins[0].pack.bytes[15]++);
    assert_other_identity(s.frames[1].codec = CS_CODEC_ZSTD);
    assert_other_identity(s.frames[1].number++);
    assert_other_identity(s.frames[1].stored++);
    assert_other_identity(s.frames[1].plain++);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trailer_round_trip),
        cmocka_unit_test(test_every_truncation_of_a_trailer),
        cmocka_unit_test(test_hostile_trailers),
        cmocka_unit_test(test_header_and_footer),
        cmocka_unit_test(test_a_frame_cannot_be_taken_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
