/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy remembers: everything up to its bound, and never something else. */
#include "engine/copy_memo.h"

#include <string.h>

#include "qcow2_fixture.h"

enum { BOUND = 1 << 19 };

/* Ids are spread like hashes. */
static struct cs_id id_of(uint64_t n)
{
    struct cs_id id = {{0}};
    uint64_t spread = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    spread ^= spread >> 32;
    memcpy(id.bytes, &spread, sizeof spread);
    return id;
}

static void test_what_is_added_is_found(void **state)
{
    struct copy_memo memo = {0};
    struct cs_id to = {{0}};
    uint64_t bytes = 0;
    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        struct cs_id from = id_of(i), other = id_of(i + 1000000);
        assert_false(copy_memo_find(&memo, &from, 0, &to, &bytes));
        copy_memo_add(&memo, &from, 0, &other, i);
    }
    for (uint64_t i = 0; i < 100000; i++) {
        struct cs_id from = id_of(i), other = id_of(i + 1000000);
        assert_true(copy_memo_find(&memo, &from, 0, &to, &bytes));
        assert_memory_equal(&to, &other, sizeof to);
        assert_int_equal(bytes, i);
        assert_false(copy_memo_find(&memo, &from, 7, &to, &bytes));
        assert_false(copy_memo_find(&memo, &other, 0, &to, &bytes));
    }
    copy_memo_clear(&memo);
    struct cs_id from = id_of(0);
    assert_false(copy_memo_find(&memo, &from, 0, &to, &bytes));
}

static void test_the_last_word_counts_and_contexts_are_apart(void **state)
{
    struct copy_memo memo = {0};
    struct cs_id from = id_of(1), a = id_of(2), b = id_of(3), to;
    uint64_t bytes = 0;
    (void)state;
    copy_memo_add(&memo, &from, 0, &a, 1);
    copy_memo_add(&memo, &from, 64, &b, 2);
    copy_memo_add(&memo, &from, 0, &b, 3);
    assert_int_equal(memo.count, 2);
    assert_true(copy_memo_find(&memo, &from, 0, &to, &bytes) && bytes == 3);
    assert_memory_equal(&to, &b, sizeof to);
    assert_true(copy_memo_find(&memo, &from, 64, &to, &bytes) && bytes == 2);
    copy_memo_clear(&memo);
}

static void test_it_does_not_grow_for_ever(void **state)
{
    struct copy_memo memo = {0};
    struct cs_id to;
    uint64_t bytes = 0, found = 0;
    (void)state;
    for (uint64_t i = 0; i < BOUND + 1000; i++) {
        struct cs_id from = id_of(i);
        copy_memo_add(&memo, &from, 0, &from, i);
    }
    for (uint64_t i = 0; i < BOUND + 1000; i++) {
        struct cs_id from = id_of(i);
        found += copy_memo_find(&memo, &from, 0, &to, &bytes) && bytes == i;
    }
    assert_int_equal(found, BOUND);
    assert_int_equal(memo.count, BOUND);
    copy_memo_clear(&memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_added_is_found),
        cmocka_unit_test(test_the_last_word_counts_and_contexts_are_apart),
        cmocka_unit_test(test_it_does_not_grow_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
