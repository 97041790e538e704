/* SPDX-License-Identifier: BSD-2-Clause */
/* Cutting by what is known: how little a change costs, and what is not as it is said to be. */
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "rechunk_fixture.h"

/* A region of random bytes, one data run, and what is known of it. */
struct plain {
    struct cs_chunker c;
    struct picture p;
    uint8_t *same; /* all of it at first */
    struct work before;
    struct cs_content content;
};

static struct plain new_plain(void)
{
    struct plain x = {.c = standard(), .p = new_picture(4096 * KIB)};
    random_state = 7;
    memset(x.p.kind, DATA, x.p.size);
    fill(x.p.value, x.p.size);
    x.same = new_bytes(x.p.size);
    memset(x.same, 1, x.p.size);
    x.before = cut_plainly(&x.c, &x.p);
    x.content = content_of(&x.before);
    return x;
}

static void free_plain(struct plain *x)
{
    free_work(&x->before);
    free(x->same);
    free_picture(&x->p);
}

static void test_a_small_change_costs_little(void **state)
{
    struct plain x = new_plain();

    (void)state;
    for (uint32_t at = 0; at < x.p.size; at += 64 * KIB) {
        struct work w = new_work(&x.c);
        struct source s = {.p = &x.p, .same = x.same, .data = w.region.data};
        struct cs_error err;
        size_t known = 0;
        s.read = new_bytes(x.p.size);
        x.p.value[at + 5000] ^= 1;
        memset(x.same + at, 0, 64 * KIB);
        lay_out(&w, &x.p, x.same);
        assert_int_equal(rechunk(&x.c, &w, &x.content, &s, &err), 0);
        for (size_t i = 0; i < w.count; i++)
            known += w.known[i];
        assert_true(known + 6 >= w.count);
        assert_true(s.bytes <= 3 * x.c.max_size);
        assert_true(s.calls <= 6);
        x.p.value[at + 5000] ^= 1;
        memset(x.same + at, 1, 64 * KIB);
        free(s.read);
        free_work(&w);
    }
    free_plain(&x);
}

/* A chunk that ended because the block behind it was too much goes on where that is shorter now. */
static void test_a_shorter_block_may_still_fit(void **state)
{
    struct cs_chunker c = standard();
    struct picture old = new_picture(c.region_size), new;

    (void)state;
    random_state = 9;
    c.threshold = 0;
    memset(old.kind + 3 * SECTOR, DATA, 128 * 4 * KIB);
    fill(old.value, old.size);
    struct work before = cut_plainly(&c, &old);
    assert_int_equal(before.cuts[0].length, 256 * KIB - 3 * SECTOR);
    for (uint32_t cut = 1; cut <= 8; cut++) {
        uint8_t *same = new_bytes(c.region_size);
        new = new_picture(c.region_size);
        memcpy(new.value, old.value, old.size);
        memset(new.kind + 3 * SECTOR, DATA, 256 * KIB - 3 * SECTOR + cut * SECTOR);
        memcpy(same, new.kind, new.size);
        struct work expected = cut_plainly(&c, &new), w = new_work(&c);
        struct cs_content content = content_of(&before);
        struct source s = {.p = &new, .same = same, .data = w.region.data};
        struct cs_error err;
        s.read = new_bytes(c.region_size);
        lay_out(&w, &new, same);
        assert_int_equal(rechunk(&c, &w, &content, &s, &err), 0);
        identify(&w);
        assert_equal_work(&w, &expected);
        assert_int_equal(w.count, cut <= 3 ? 1 : 2);
        free(s.read);
        free(same);
        free_work(&w);
        free_work(&expected);
        free_picture(&new);
    }
    free_work(&before);
    free_picture(&old);
}

static void test_a_changed_bit_is_found_anywhere(void **state)
{
    struct plain x = new_plain();

    (void)state;
    for (uint32_t at = 0; at < x.p.size; at += x.p.size / 24 - 1) {
        x.p.value[at] ^= 0x80;
        struct work expected = cut_plainly(&x.c, &x.p), w = new_work(&x.c);
        struct cs_error err;
        size_t unknown = 0;
        lay_out(&w, &x.p, NULL);
        assert_int_equal(rechunk(&x.c, &w, &x.content, NULL, &err), 0);
        for (size_t i = 0; i < w.count; i++)
            unknown += !w.known[i];
        assert_in_range(unknown, 1, 6);
        identify(&w);
        assert_equal_work(&w, &expected);
        free_work(&w);
        free_work(&expected);
        x.p.value[at] ^= 0x80;
    }
    free_plain(&x);
}

static void test_what_was_not_there_cannot_be_the_same(void **state)
{
    struct plain x = new_plain();
    uint8_t *read = new_bytes(x.p.size);
    struct cs_error err;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const struct cs_run runs[][2] = {
            {{.offset = 64 * KIB, .length = 64 * KIB}}, /* begins behind the region's begin */
            {{.length = 4096 * KIB - SECTOR}},          /* ends before its end */
            {{.length = 64 * KIB}, {.offset = 65 * KIB, .length = 4096 * KIB - 65 * KIB}},
            {{.offset = 0}}, /* nothing at all */
        };
        struct work w = new_work(&x.c);
        struct cs_content content = x.content;
        content.runs = (struct cs_run *)runs[i];
        content.run_count = i == 3 ? 0 : i == 2 ? 2 : 1;
        struct source s = {.p = &x.p, .same = x.same, .data = w.region.data, .read = read};
        lay_out(&w, &x.p, x.same);
        assert_int_equal(rechunk(&x.c, &w, &content, &s, &err), CS_USAGE);
        free_work(&w);
    }
    free(read);
    free_plain(&x);
}

static void test_a_failure_to_read_is_handed_on(void **state)
{
    struct plain x = new_plain();
    uint8_t *read = new_bytes(x.p.size);

    (void)state;
    for (uint32_t at = 0; at < x.p.size; at += 256 * KIB)
        memset(x.same + at, 0, SECTOR);
    for (uint32_t call = 1, rc = 1; rc != 0; call++) {
        struct work w = new_work(&x.c);
        struct source s = {
            .p = &x.p, .same = x.same, .data = w.region.data, .read = read, .fails_in = call};
        struct cs_error err = {0};
        memset(read, 0, x.p.size);
        lay_out(&w, &x.p, x.same);
        int got = rechunk(&x.c, &w, &x.content, &s, &err);
        assert_int_equal(got, s.fails_in == 0 ? CS_IO : 0);
        rc = s.fails_in == 0;
        assert_true(rc == 0 || err.code == CS_IO);
        w.region.run_count = 0;
        lay_out(&w, &x.p, x.same);
        assert_int_equal(rechunk(&x.c, &w, &x.content, NULL, &err), CS_USAGE);
        free_work(&w);
    }
    free(read);
    free_plain(&x);
}

/* A leaf that decodes, but that no cutter made. */
static struct cs_content draw_leaf(uint32_t size)
{
    struct cs_content c = {.runs = new_bytes(512 * sizeof *c.runs),
                           .chunks = new_bytes((size + 512) * sizeof *c.chunks)};
    uint32_t longest = 1 + below(1 << (1 + below(16))), data = 0;
    bool zero = false;
    for (uint32_t at = below(2) ? below(longest) : 0, n; at < size && c.run_count < 512; at += n) {
        n = least(1 + below(longest), size - at);
        zero = !zero;
        c.runs[c.run_count++] = (struct cs_run){.offset = at, .length = n, .zero = zero};
        data += zero ? 0 : n;
        if (below(4) == 0)
            at += least(below(longest), size - at - n);
    }
    longest = 1 + below(1 << (1 + below(18)));
    for (uint32_t n; data > 0; data -= n) {
        n = least(1 + below(longest), data);
        fill(c.chunks[c.chunk_count].id.bytes, 32);
        c.chunks[c.chunk_count++].length = n;
    }
    return c;
}

/* Whatever the earlier leaf is, what comes of it is a leaf, and has the runs that it should. */
static void test_a_strange_leaf_does_no_harm(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        random_state = seed;
        struct cs_chunker c = small();
        struct picture p = new_picture(c.region_size);
        struct cs_content old = draw_leaf(c.region_size), decoded;
        struct work w = new_work(&c);
        struct source s = {.p = &p, .data = w.region.data};
        struct cs_error err;
        struct cs_buf leaf = {0};
        uint8_t *same = new_bytes(p.size);
        draw(&p, c.block_size);
        for (size_t i = 0; i < old.run_count; i++)
            for (uint32_t at = old.runs[i].offset, end = at + old.runs[i].length; at < end; at++)
                same[at] = p.kind[at] == DATA;
        for (uint32_t at = 0; at < p.size; at += SECTOR)
            if (below(8) == 0 || memchr(same + at, 0, SECTOR) != NULL)
                memset(same + at, 0, SECTOR);
        s.same = same;
        s.read = new_bytes(p.size);
        lay_out(&w, &p, same);
        assert_int_equal(rechunk(&c, &w, &old, &s, &err), 0);
        identify(&w);
        if (w.region.run_count > 0) {
            cs_content_encode(&leaf, w.region.runs, w.region.run_count, w.chunks, w.count);
            assert_int_equal(cs_content_decode(&decoded, leaf.data, leaf.len, p.size, &err), 0);
            cs_content_clear(&decoded);
        }
        cs_buf_clear(&leaf);
        free(s.read);
        free(same);
        free_work(&w);
        free(old.runs);
        free(old.chunks);
        free_picture(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_change_costs_little),
        cmocka_unit_test(test_a_shorter_block_may_still_fit),
        cmocka_unit_test(test_a_changed_bit_is_found_anywhere),
        cmocka_unit_test(test_what_was_not_there_cannot_be_the_same),
        cmocka_unit_test(test_a_failure_to_read_is_handed_on),
        cmocka_unit_test(test_a_strange_leaf_does_no_harm),
    };

    return cmocka_run_group_tests(tests, fingerprinter_setup, fingerprinter_teardown);
}
