/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region cut by what was known of it is cut as if nothing were, and no more is read than is near
 * a change. Against the plain cut, which test_cs_chunker.c holds against a second chunker.
 */
#include <stdlib.h>
#include <string.h>

#include "rechunk_fixture.h"

/* ---- what must not be read ---- */

/* Whether there is a change in the blocks that decide about ${at}. */
static bool change_near(const struct cs_chunker *c, const uint8_t *touched, uint32_t at)
{
    uint32_t reach = (c->zero_blocks + 1) * c->block_size;
    uint32_t from = at > reach ? at - reach : 0, to = least(at + reach, c->region_size);
    return memchr(touched + from, 1, to - from) != NULL;
}

/* The chunk of ${new} that is chunk ${i} of ${old}, at the same place; count: none. */
static size_t find_chunk(const struct work *old, size_t i, const struct work *new)
{
    size_t k = 0;
    while (k < new->count &&new->cuts[k].offset < old->cuts[i].offset)
        k++;
    if (k == new->count || new->cuts[k].offset != old->cuts[i].offset ||
        memcmp(&new->chunks[k].id, &old->chunks[i].id, sizeof old->chunks[i].id) != 0)
        return new->count;
    return k;
}

/*
 * Chunks that are chunks again, at the same bytes, with no change among their bytes nor near their
 * end: they must be known, and of what is the same in them only the blocks next to a change may
 * have been read. ${touched}: bytes that are not as before, or not said to be.
 */
static void assert_little_was_read(const struct cs_chunker *c, const struct work *old,
                                   const struct work *new, const uint8_t *touched,
                                   const uint8_t *read)
{
    struct cs_cursor at = cs_cursor_of(old->region.runs, old->region.run_count);
    for (size_t i = 0; i < old->count; i++) {
        struct cs_cursor next = at;
        uint32_t end = cs_cursor_skip(&next, old->cuts[i].length);
        size_t k = find_chunk(old, i, new);
        bool quiet = k < new->count && !change_near(c, touched, end - 1);
        for (uint32_t b = at.at; quiet && b < end; b++)
            quiet = !touched[b];
        if (quiet)
            assert_true(new->known[k]);
        for (uint32_t b = at.at; quiet && read != NULL && b < end; b++)
            if (read[b])
                assert_true(change_near(c, touched, b));
        at = next;
    }
}

/* ---- tests ---- */

static uint64_t all_same, all_read, all_known;

/* The new region by what is known of the old one, and what was found out on the way. */
static void compare(const struct cs_chunker *c, const struct picture *old,
                    const struct picture *new, const uint8_t *same, bool at_hand)
{
    struct work before = cut_plainly(c, old), expected = cut_plainly(c, new), w = new_work(c);
    struct cs_content content = content_of(&before);
    uint8_t *touched = new_bytes(c->region_size);
    struct source s = {.p = new, .same = same, .data = w.region.data};
    struct cs_error err = {0};
    s.read = new_bytes(c->region_size);
    for (uint32_t i = 0; i < c->region_size; i++) {
        touched[i] =
            old->kind[i] != new->kind[i] ||
            (new->kind[i] == DATA && (same != NULL ? !same[i] : new->value[i] != old->value[i]));
        all_same += same != NULL && same[i];
    }
    lay_out(&w, new, same);
    if (rechunk(c, &w, &content, at_hand ? NULL : &s, &err) < 0)
        fail_msg("%s", err.message);
    identify(&w);
    assert_equal_work(&w, &expected);
    assert_little_was_read(c, &before, &w, touched, same != NULL ? s.read : NULL);
    if (memchr(touched, 1, c->region_size) == NULL)
        assert_int_equal(s.bytes, 0);
    for (size_t i = 0; i < w.count; i++)
        all_known += w.known[i];
    all_read += s.bytes;
    free(s.read);
    free(touched);
    free_work(&w);
    free_work(&expected);
    free_work(&before);
}

static void compare_seed(const struct cs_chunker *c)
{
    struct picture old = new_picture(c->region_size);
    draw(&old, c->block_size);
    struct picture new = changed(&old, c->block_size);
    uint8_t *same = draw_same(&old, &new);
    compare(c, &old, &new, same, false);
    compare(c, &old, &new, NULL, false);
    compare(c, &old, &new, NULL, true);
    free(same);
    free_picture(&new);
    free_picture(&old);
}

static void test_random_changes_of_short_regions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        random_state = seed * 1000;
        struct cs_chunker c = small();
        compare_seed(&c);
    }
    assert_true(all_known > 0 && all_read > 0);
}

static void test_random_changes_of_whole_regions(void **state)
{
    (void)state;
    struct cs_chunker c = standard();
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_state = seed;
        compare_seed(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_of_short_regions),
        cmocka_unit_test(test_random_changes_of_whole_regions),
    };

    return cmocka_run_group_tests(tests, fingerprinter_setup, fingerprinter_teardown);
}
