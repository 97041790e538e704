/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of what a run has stored: found once added, also where prefixes crowd together. */
#include "cs_fixture.h"

#include "pending.h"

static struct cs_id id_of(uint64_t seed)
{
    struct cs_id id;
    noise(&id, sizeof id, seed);
    return id;
}

static void test_found_once_added(void **state)
{
    struct cs_pending p = {0};
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        struct cs_id id = id_of(i);
        if (i % 1000 == 0)
            assert_false(cs_pending_has(&p, &id));
        assert_ok(cs_pending_add(&p, &id, (uint32_t)i, (uint16_t)(i / 7), (uint16_t)(i % 7), err));
    }
    assert_int_equal(p.count, 20000);
    for (uint64_t i = 0; i < 40000; i++) {
        struct cs_id id = id_of(i);
        assert_true(cs_pending_has(&p, &id) == (i < 20000));
    }
    for (uint64_t i = 0; i < 20000; i++) { /* and in the order of adding */
        struct cs_id id = id_of(i);
        assert_memory_equal(p.entries[i].prefix, id.bytes, 16);
        assert_int_equal(p.entries[i].pack, i);
        assert_int_equal(p.entries[i].frame, (uint16_t)(i / 7));
        assert_int_equal(p.entries[i].slot, i % 7);
    }
    cs_pending_clear(&p);
}

static void test_crowded_prefixes(void **state)
{
    struct cs_pending p = {0};
    struct cs_id id = {{0}};
    (void)state;
    for (unsigned i = 0; i < 3000; i++) { /* all of the same place in the table */
        id.bytes[8] = (uint8_t)i;
        id.bytes[9] = (uint8_t)(i >> 8);
        assert_false(cs_pending_has(&p, &id));
        assert_ok(cs_pending_add(&p, &id, i, 0, 0, err));
        assert_true(cs_pending_has(&p, &id));
    }
    cs_pending_clear(&p);
}

static void test_empty_and_cleared(void **state)
{
    struct cs_pending p = {0};
    struct cs_id id = id_of(1);
    (void)state;
    assert_false(cs_pending_has(&p, &id));
    assert_ok(cs_pending_add(&p, &id, 0, 0, 0, err));
    cs_pending_clear(&p);
    assert_false(cs_pending_has(&p, &id));
    assert_int_equal(p.count, 0);
    cs_pending_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_once_added),
        cmocka_unit_test(test_crowded_prefixes),
        cmocka_unit_test(test_empty_and_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
