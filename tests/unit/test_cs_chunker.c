/* SPDX-License-Identifier: BSD-2-Clause */
/* Where chunks end, rule by rule, and against a second chunker that goes byte by byte. */
#include "chunker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

enum { KIB = 1024, BLOCK = 4 * KIB, REGION = 4096 * KIB };

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random() % n);
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(next_random() >> 8);
}

/* The parameters of new repositories. */
static struct cs_chunker standard(void)
{
    struct cs_chunker c = {.region_size = REGION,
                           .block_size = BLOCK,
                           .min_size = 16 * KIB,
                           .max_size = 256 * KIB,
                           .threshold = UINT64_MAX / 12,
                           .zero_blocks = 4};
    for (unsigned i = 0; i < sizeof c.secret; i++)
        c.secret[i] = (uint8_t)(i * 151 + 7);
    return c;
}

/* Small ones, so that a short region meets every rule. */
static struct cs_chunker small(void)
{
    struct cs_chunker c = standard();
    c.region_size = 256 * KIB;
    c.block_size = 512;
    c.min_size = 2 * KIB;
    c.max_size = 16 * KIB;
    return c;
}

/* A region with buffers of exactly the sizes that chunker.h promises to be enough. */
struct work {
    struct cs_chunker c;
    uint8_t *data; /* each byte at its offset */
    struct cs_run *runs;
    size_t run_count;
    struct cs_cut *cuts;
    size_t cut_count;
};

static struct work new_work(struct cs_chunker c)
{
    struct work w = {.c = c};
    w.data = calloc(1, c.region_size);
    w.runs = malloc((c.region_size / 512 + 1) * sizeof *w.runs);
    w.cuts = malloc((c.region_size / c.min_size + 1) * sizeof *w.cuts);
    assert_true(w.data != NULL && w.runs != NULL && w.cuts != NULL);
    return w;
}

static void free_work(struct work *w)
{
    free(w->data);
    free(w->runs);
    free(w->cuts);
}

static void add_zeros(struct work *w, uint32_t offset, uint32_t length)
{
    w->runs[w->run_count++] = (struct cs_run){.offset = offset, .length = length, .zero = true};
}

/* A data run of random bytes, none of them in a zero block. */
static uint8_t *add_data(struct work *w, uint32_t offset, uint32_t length)
{
    uint8_t *p = w->data + offset;
    w->runs[w->run_count++] = (struct cs_run){.offset = offset, .length = length};
    fill(p, length);
    return p;
}

static void chunk(struct work *w)
{
    cs_chunker_cut(&w->c, w->data, w->runs, &w->run_count, w->cuts, &w->cut_count);
}

/* Where byte ${n} of the data runs, end to end, lies in the region. */
static uint32_t place_of(const struct work *w, uint32_t n)
{
    size_t i = 0;
    for (; i < w->run_count && (w->runs[i].zero || w->runs[i].length <= n); i++)
        if (!w->runs[i].zero)
            n -= w->runs[i].length;
    assert_true(i < w->run_count);
    return w->runs[i].offset + n;
}

static void assert_cuts(const struct work *w, const uint32_t *lengths, size_t n)
{
    uint32_t offset = 0;
    assert_int_equal(w->cut_count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(w->cuts[i].offset, place_of(w, offset));
        assert_int_equal(w->cuts[i].length, lengths[i]);
        offset += lengths[i];
    }
}

static void assert_run(const struct work *w, size_t i, uint32_t offset, uint32_t length, bool zero)
{
    assert_true(i < w->run_count);
    assert_int_equal(w->runs[i].offset, offset);
    assert_int_equal(w->runs[i].length, length);
    assert_int_equal(w->runs[i].zero, zero);
}

#define ASSERT_CUTS(w, ...)                                                                        \
    assert_cuts(w, (const uint32_t[]){__VA_ARGS__},                                                \
                sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void test_nothing_in_nothing_out(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    chunk(&w);
    assert_int_equal(w.run_count, 0);
    assert_int_equal(w.cut_count, 0);
    add_zeros(&w, 512, 1024);
    chunk(&w);
    assert_int_equal(w.run_count, 1);
    assert_run(&w, 0, 512, 1024, true);
    assert_int_equal(w.cut_count, 0);
    free_work(&w);
}

static void test_no_chunk_exceeds_the_largest(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0; /* no hash is below */
    add_data(&w, 0, REGION);
    chunk(&w);
    assert_int_equal(w.cut_count, 16);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(w.cuts[i].length, 256 * KIB);
    free_work(&w);
}

static void test_block_that_would_exceed_the_largest_begins_the_next(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0;
    /* blocks are those of the guest's address: the first is short, and 64 more do not fit */
    add_data(&w, 512, 512 * KIB);
    chunk(&w);
    ASSERT_CUTS(&w, BLOCK - 512 + 63 * BLOCK, 256 * KIB, 512);
    free_work(&w);
}

static void test_chunk_may_be_exactly_the_largest(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0;
    add_data(&w, 0, 256 * KIB + 1);
    chunk(&w);
    ASSERT_CUTS(&w, 256 * KIB, 1);
    free_work(&w);
}

static void test_hash_cuts_from_the_smallest_size_on(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = UINT64_MAX; /* every hash is below */
    add_data(&w, 0, 40 * KIB);
    chunk(&w);
    ASSERT_CUTS(&w, 16 * KIB, 16 * KIB, 8 * KIB);
    free_work(&w);

    w = new_work(standard());
    w.c.threshold = UINT64_MAX;
    add_data(&w, 512, 40 * KIB); /* four blocks are 512 bytes short of the smallest */
    chunk(&w);
    ASSERT_CUTS(&w, 20 * KIB - 512, 16 * KIB, 4 * KIB + 512);
    free_work(&w);
}

static void test_threshold_itself_does_not_cut(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    uint8_t *p = add_data(&w, 0, 17 * KIB);
    uint64_t hash =
        XXH3_64bits_withSecret(p + 3 * BLOCK, BLOCK, w.c.secret, CS_CHUNKER_SECRET_SIZE);
    w.c.threshold = hash;
    chunk(&w);
    ASSERT_CUTS(&w, 17 * KIB);
    w.c.threshold = hash + 1;
    chunk(&w);
    ASSERT_CUTS(&w, 16 * KIB, KIB);
    free_work(&w);
}

static void test_end_of_run_cuts_once_there_is_enough(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0;
    add_data(&w, 0, 16 * KIB);       /* enough */
    add_data(&w, 20 * KIB, 4 * KIB); /* not */
    add_data(&w, 32 * KIB, 8 * KIB); /* still not */
    add_zeros(&w, 40 * KIB, 512);    /* what lies between does not matter */
    add_data(&w, 41 * KIB, 4 * KIB); /* now */
    add_data(&w, 64 * KIB, 512);     /* the end of the region cuts */
    add_data(&w, 65 * KIB, 100);
    chunk(&w);
    ASSERT_CUTS(&w, 16 * KIB, 16 * KIB, 612);
    assert_int_equal(w.run_count, 7);
    free_work(&w);
}

static void test_runs_cut_one_byte_from_the_smallest(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0;
    add_data(&w, 0, 16 * KIB - 1);
    add_data(&w, 32 * KIB, 16 * KIB);
    add_data(&w, 64 * KIB, 16 * KIB + 1);
    chunk(&w);
    ASSERT_CUTS(&w, 32 * KIB - 1, 16 * KIB + 1);
    free_work(&w);
}

static void test_three_zero_blocks_stay_and_four_go(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    w.c.threshold = 0;
    uint8_t *p = add_data(&w, 0, 64 * KIB);
    memset(p + 2 * BLOCK, 0, 3 * BLOCK);
    memset(p + 8 * BLOCK, 0, 4 * BLOCK);
    chunk(&w);
    assert_int_equal(w.run_count, 3);
    assert_run(&w, 0, 0, 8 * BLOCK, false);
    assert_run(&w, 1, 8 * BLOCK, 4 * BLOCK, true);
    assert_run(&w, 2, 12 * BLOCK, 4 * BLOCK, false);
    ASSERT_CUTS(&w, 8 * BLOCK, 4 * BLOCK);
    free_work(&w);
}

static void test_zero_blocks_must_be_whole_and_aligned(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    /* 4 blocks of zero bytes, but only three whole ones: at the start, the end, and within */
    uint8_t *p = add_data(&w, 512, 4 * BLOCK);
    memset(p, 0, 4 * BLOCK);
    p = add_data(&w, 10 * BLOCK, 3 * BLOCK + 512);
    memset(p, 0, 3 * BLOCK + 512);
    p = add_data(&w, 20 * BLOCK, 8 * BLOCK);
    memset(p + 512, 0, 4 * BLOCK);
    chunk(&w);
    assert_int_equal(w.run_count, 3);
    assert_run(&w, 0, 512, 4 * BLOCK, false);
    assert_run(&w, 1, 10 * BLOCK, 3 * BLOCK + 512, false);
    assert_run(&w, 2, 20 * BLOCK, 8 * BLOCK, false);
    free_work(&w);
}

static void test_one_byte_keeps_a_block(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 4 * BLOCK; at += 4 * BLOCK / 16 - 1) {
        struct work w = new_work(standard());
        uint8_t *p = add_data(&w, 0, 4 * BLOCK);
        memset(p, 0, 4 * BLOCK);
        p[at] = 1;
        chunk(&w);
        assert_int_equal(w.run_count, 1);
        assert_run(&w, 0, 0, 4 * BLOCK, false);
        free_work(&w);
    }
}

static void test_zeros_leave_the_ends_of_an_unaligned_run(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    uint8_t *p = add_data(&w, 512, 6 * BLOCK);
    memset(p, 0, 6 * BLOCK);
    chunk(&w);
    assert_int_equal(w.run_count, 3);
    assert_run(&w, 0, 512, BLOCK - 512, false);
    assert_run(&w, 1, BLOCK, 5 * BLOCK, true);
    assert_run(&w, 2, 6 * BLOCK, 512, false);
    ASSERT_CUTS(&w, BLOCK);
    free_work(&w);
}

static void test_zeros_join_the_zero_runs_beside_them(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    add_zeros(&w, 0, BLOCK);
    memset(add_data(&w, BLOCK, 4 * BLOCK), 0, 4 * BLOCK);
    add_zeros(&w, 5 * BLOCK, BLOCK);
    uint8_t *p = add_data(&w, 6 * BLOCK, 9 * BLOCK);
    memset(p, 0, 4 * BLOCK);
    memset(p + 5 * BLOCK, 0, 4 * BLOCK);
    chunk(&w);
    assert_int_equal(w.run_count, 3);
    assert_run(&w, 0, 0, 10 * BLOCK, true);
    assert_run(&w, 1, 10 * BLOCK, BLOCK, false);
    assert_run(&w, 2, 11 * BLOCK, 4 * BLOCK, true);
    ASSERT_CUTS(&w, BLOCK);
    free_work(&w);
}

static void test_all_zero_region_has_no_chunk(void **state)
{
    struct work w = new_work(standard());

    (void)state;
    memset(add_data(&w, 0, REGION), 0, REGION);
    chunk(&w);
    assert_int_equal(w.run_count, 1);
    assert_run(&w, 0, 0, REGION, true);
    assert_int_equal(w.cut_count, 0);
    free_work(&w);
}

static void test_most_runs_that_can_be_fit(void **state)
{
    struct work w = new_work(small());

    (void)state;
    w.c.zero_blocks = 1;
    uint8_t *p = add_data(&w, 0, w.c.region_size);
    for (uint32_t at = 0; at < w.c.region_size; at += 1024)
        memset(p + at, 0, 512);
    chunk(&w);
    assert_int_equal(w.run_count, w.c.region_size / 512);
    for (uint32_t i = 0; i < w.run_count; i++)
        assert_run(&w, i, i * 512, 512, i % 2 == 0);
    free_work(&w);

    /* so are caller's runs of 512 bytes */
    w = new_work(small());
    for (uint32_t at = 0; at < w.c.region_size; at += 1024) {
        add_data(&w, at, 512);
        add_zeros(&w, at + 512, 512);
    }
    chunk(&w);
    assert_int_equal(w.run_count, w.c.region_size / 512);
    assert_true(w.cut_count > 0);
    free_work(&w);
}

static void test_golden_cuts(void **state)
{
    /* Chunking is for ever: other cuts would store everything again. */
    static const uint32_t golden[] = {
        53248,  24576,  53248,  45056, 114688, 28672,  69632,  28672, 36864,  28672,
        102400, 114688, 20480,  36864, 57344,  36864,  77824,  16384, 131072, 40960,
        151552, 126976, 118784, 57344, 81920,  126976, 40960,  61440, 49152,  24576,
        172032, 28672,  131072, 32768, 16384,  24576,  110592, 40960, 200704, 81920,
        110592, 45056,  16384,  61440, 24576,  245760, 65536,  49152, 20480,  86016,
        32768,  36864,  24576,  65536, 36864,  262144, 155648, 57344};
    struct work w = new_work(standard());

    (void)state;
    random_state = 42;
    add_data(&w, 0, REGION);
    chunk(&w);
    assert_cuts(&w, golden, sizeof golden / sizeof *golden);
    free_work(&w);
}

/* ---- a second chunker, which knows a region byte by byte ---- */

enum { HOLE, DATA, ZERO };

struct picture {
    uint8_t *kind;
    uint8_t *value;
    uint32_t size;
};

static struct picture new_picture(uint32_t size)
{
    struct picture p = {.kind = calloc(1, size), .value = calloc(1, size), .size = size};
    assert_true(p.kind != NULL && p.value != NULL);
    return p;
}

static void free_picture(struct picture *p)
{
    free(p->kind);
    free(p->value);
}

/* Draws stretches with bounds on sectors, but for the very end; kinds and zero blocks at random. */
static void draw(struct picture *p, uint32_t block)
{
    uint32_t size = below(4) != 0 ? p->size : 1 + below(p->size);
    uint32_t longest = 1 + below(1 << (1 + below(10)));
    for (uint32_t at = 0, n; at < size; at += n) {
        n = (1 + below(longest)) * 512;
        if (n > size - at)
            n = size - at;
        uint8_t kind = (uint8_t)below(3);
        memset(p->kind + at, kind, n);
        if (kind == DATA)
            fill(p->value + at, n);
    }
    uint32_t holes = below(40);
    for (uint32_t i = 0; i < holes; i++) {
        uint32_t at = below(p->size), n = (1 + below(9)) * block;
        if (below(2))
            at -= at % block;
        memset(p->value + at, 0, n < p->size - at ? n : p->size - at);
    }
}

/* Lays out a picture as runs; where ${split}, data and zero runs are cut at random sectors. */
static void lay_out(struct work *w, const struct picture *p, bool split)
{
    uint32_t end;
    w->run_count = 0;
    for (uint32_t at = 0; at < p->size; at = end) {
        end = at + 1;
        while (end < p->size && p->kind[end] == p->kind[at] &&
               !(split && end % 512 == 0 && below(8) == 0))
            end++;
        if (p->kind[at] == HOLE)
            continue;
        if (p->kind[at] == ZERO) {
            add_zeros(w, at, end - at);
            continue;
        }
        memcpy(add_data(w, at, end - at), p->value + at, end - at);
    }
}

static bool block_goes(const struct picture *p, uint32_t at, uint32_t block)
{
    if (at + block > p->size)
        return false;
    for (uint32_t i = at; i < at + block; i++)
        if (p->kind[i] != DATA || p->value[i] != 0)
            return false;
    return true;
}

static void turn_zeros(struct picture *p, const struct cs_chunker *c)
{
    uint32_t end;
    for (uint32_t at = 0; at < p->size; at = end + c->block_size) {
        end = at;
        while (block_goes(p, end, c->block_size))
            end += c->block_size;
        if ((end - at) / c->block_size >= c->zero_blocks)
            memset(p->kind + at, ZERO, end - at);
    }
}

/* Chunks a picture whose zeros are turned; returns the number of cuts. */
static size_t cut_picture(const struct picture *p, const struct cs_chunker *c, struct cs_cut *cuts)
{
    uint8_t *block = malloc(c->block_size);
    uint32_t chunk_len = 0, offset = 0; /* of its first byte */
    size_t n = 0;

    assert_non_null(block);
    for (uint32_t at = 0, len; at < p->size; at += len) {
        len = 1;
        if (p->kind[at] != DATA)
            continue;
        while (at + len < p->size && p->kind[at + len] == DATA && (at + len) % c->block_size != 0)
            len++;
        bool run_ends = at + len == p->size || p->kind[at + len] != DATA;
        memcpy(block, p->value + at, len);
        bool hash_cuts =
            XXH3_64bits_withSecret(block, len, c->secret, CS_CHUNKER_SECRET_SIZE) < c->threshold;
        if (chunk_len + len > c->max_size) {
            cuts[n++] = (struct cs_cut){offset, chunk_len};
            chunk_len = 0;
        }
        if (chunk_len == 0)
            offset = at;
        chunk_len += len;
        if (chunk_len >= c->min_size && (hash_cuts || run_ends)) {
            cuts[n++] = (struct cs_cut){offset, chunk_len};
            chunk_len = 0;
        }
    }
    if (chunk_len > 0)
        cuts[n++] = (struct cs_cut){offset, chunk_len};
    free(block);
    return n;
}

static void assert_equal_work(const struct work *a, const struct work *b)
{
    assert_int_equal(a->run_count, b->run_count);
    for (size_t i = 0; i < a->run_count; i++)
        assert_run(a, i, b->runs[i].offset, b->runs[i].length, b->runs[i].zero);
    assert_int_equal(a->cut_count, b->cut_count);
    for (size_t i = 0; i < a->cut_count; i++) {
        assert_int_equal(a->cuts[i].offset, b->cuts[i].offset);
        assert_int_equal(a->cuts[i].length, b->cuts[i].length);
    }
}

/* A chunk's bytes are those of the data runs from its offset on, and no other's are moved. */
static void assert_gathers(struct work *w)
{
    uint8_t *before = malloc(w->c.region_size);
    uint8_t *stream = malloc(w->c.region_size + 1);
    assert_true(before != NULL && stream != NULL);
    memcpy(before, w->data, w->c.region_size);
    uint32_t len = 0;
    for (size_t i = 0; i < w->run_count; i++)
        if (!w->runs[i].zero) {
            memcpy(stream + len, w->data + w->runs[i].offset, w->runs[i].length);
            len += w->runs[i].length;
        }
    struct cs_cursor at = cs_cursor_of(w->runs, w->run_count);
    uint32_t offset = 0;
    for (size_t i = 0; i < w->cut_count; i++) {
        cs_chunker_gather(w->data, &at, w->cuts[i].length);
        assert_memory_equal(w->data + w->cuts[i].offset, stream + offset, w->cuts[i].length);
        offset += w->cuts[i].length;
        uint32_t next = i + 1 < w->cut_count ? w->cuts[i + 1].offset : w->c.region_size;
        assert_memory_equal(w->data + next, before + next, w->c.region_size - next);
    }
    assert_int_equal(offset, len);
    assert_true(cs_cursor_done(&at));
    free(before);
    free(stream);
}

static void compare(struct cs_chunker c)
{
    struct picture p = new_picture(c.region_size);
    struct work expected = new_work(c), plain = new_work(c), split = new_work(c);

    draw(&p, c.block_size);
    lay_out(&plain, &p, false);
    lay_out(&split, &p, true);
    chunk(&plain);
    chunk(&split);
    turn_zeros(&p, &c);
    lay_out(&expected, &p, false);
    expected.cut_count = cut_picture(&p, &c, expected.cuts);

    assert_equal_work(&plain, &expected);
    assert_equal_work(&split, &expected);
    assert_gathers(&plain);
    free_work(&split);
    free_work(&plain);
    free_work(&expected);
    free_picture(&p);
}

static void test_random_regions_as_the_second_chunker_has_them(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct cs_chunker c = small();
        random_state = seed;
        c.zero_blocks = 1 + below(6);
        if (below(4) == 0)
            c.threshold = 0;
        compare(c);
    }
    for (uint64_t seed = 1; seed <= 6; seed++) {
        random_state = seed;
        compare(standard());
    }
}

static void test_chunking_again_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct cs_chunker c = small();
        struct picture p = new_picture(c.region_size);
        struct work once = new_work(c), twice = new_work(c);
        random_state = seed;
        draw(&p, c.block_size);
        random_state = seed;
        lay_out(&once, &p, false);
        chunk(&once);
        for (size_t i = 0; i < once.run_count; i++)
            twice.runs[i] = once.runs[i];
        twice.run_count = once.run_count;
        memcpy(twice.data, once.data, c.region_size);
        chunk(&twice);
        assert_equal_work(&twice, &once);
        free_work(&once);
        free_work(&twice);
        free_picture(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_in_nothing_out),
        cmocka_unit_test(test_no_chunk_exceeds_the_largest),
        cmocka_unit_test(test_block_that_would_exceed_the_largest_begins_the_next),
        cmocka_unit_test(test_chunk_may_be_exactly_the_largest),
        cmocka_unit_test(test_hash_cuts_from_the_smallest_size_on),
        cmocka_unit_test(test_threshold_itself_does_not_cut),
        cmocka_unit_test(test_end_of_run_cuts_once_there_is_enough),
        cmocka_unit_test(test_runs_cut_one_byte_from_the_smallest),
        cmocka_unit_test(test_three_zero_blocks_stay_and_four_go),
        cmocka_unit_test(test_zero_blocks_must_be_whole_and_aligned),
        cmocka_unit_test(test_one_byte_keeps_a_block),
        cmocka_unit_test(test_zeros_leave_the_ends_of_an_unaligned_run),
        cmocka_unit_test(test_zeros_join_the_zero_runs_beside_them),
        cmocka_unit_test(test_all_zero_region_has_no_chunk),
        cmocka_unit_test(test_most_runs_that_can_be_fit),
        cmocka_unit_test(test_golden_cuts),
        cmocka_unit_test(test_random_regions_as_the_second_chunker_has_them),
        cmocka_unit_test(test_chunking_again_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
