/* SPDX-License-Identifier: BSD-2-Clause */
/* The level of compression goes to where the bottleneck is, stays there, and keeps its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "level.h"

enum { PACKS = 40 };

/*
 * A machine that has ${workers}, a storage that takes ${rate} MB/s, and other work of ${other} ns
 * for each byte of a disk. Levels as they are on disks of real systems: ns a byte, and what is
 * left.
 */
static const double cost[] = {0, 1.2, 1.4, 2.1, 2.7, 5, 7.1};
static const double left[] = {0, .284, .276, .270, .268, .264, .260};

static struct cs_level_times pack(int level, double rate, double other, unsigned workers)
{
    double plain = 67108864 / left[level];
    double storing = 67108864 / (rate / 1000), compressing = plain * cost[level];
    double computing = (compressing + plain * other) / workers;
    double elapsed = storing > computing ? storing : computing;
    return (struct cs_level_times){.elapsed = (uint64_t)elapsed,
                                   .storing = (uint64_t)storing,
                                   .compressing = (uint64_t)compressing,
                                   .workers = workers};
}

/* Where it has gone to after some packs; it must not leave that any more. */
static int settles(double rate, double other, unsigned workers)
{
    int level = CS_LEVEL_DEFAULT;
    for (int i = 0; i < PACKS; i++) {
        struct cs_level_times times = pack(level, rate, other, workers);
        int next = cs_level_next(level, &times);
        assert_in_range(next, CS_LEVEL_LOWEST, CS_LEVEL_HIGHEST);
        assert_in_range(next, level - 1, level + 1);
        if (i > 2 * CS_LEVEL_HIGHEST)
            assert_int_equal(next, level);
        level = next;
    }
    return level;
}

static void test_slow_storage_raises_it(void **state)
{
    (void)state;
    assert_int_equal(settles(10, 1.3, 2), CS_LEVEL_HIGHEST);
    assert_int_equal(settles(30, 1.3, 4), CS_LEVEL_HIGHEST);
    /* a faster one as far as the processor can follow */
    assert_in_range(settles(400, 1.3, 4), CS_LEVEL_DEFAULT + 1, CS_LEVEL_HIGHEST - 1);
}

static void test_slow_processor_lowers_it(void **state)
{
    (void)state;
    assert_int_equal(settles(3000, 0.5, 2), CS_LEVEL_LOWEST);
    assert_in_range(settles(3000, 1.3, 2), CS_LEVEL_LOWEST, CS_LEVEL_DEFAULT - 1);
}

static void test_other_bottlenecks_leave_it(void **state)
{
    (void)state;
    assert_int_equal(settles(3000, 20, 2), CS_LEVEL_DEFAULT); /* reading, say */
}

static void test_between_the_bounds_nothing_changes(void **state)
{
    struct cs_level_times t = {.elapsed = 1000, .workers = 2, .compressing = 2000};
    (void)state;
    t.storing = 750;
    assert_int_equal(cs_level_next(5, &t), 6);
    t.storing = 749;
    assert_int_equal(cs_level_next(5, &t), 5);
    t.storing = 251;
    assert_int_equal(cs_level_next(5, &t), 5);
    t.storing = 250;
    assert_int_equal(cs_level_next(5, &t), 4);
    t.compressing = 999; /* half of what two workers have is 1000 */
    assert_int_equal(cs_level_next(5, &t), 5);
}

static void test_times_that_say_nothing(void **state)
{
    struct cs_level_times t = {.workers = 1};
    (void)state;
    assert_in_range(cs_level_next(CS_LEVEL_HIGHEST, &t), CS_LEVEL_LOWEST, CS_LEVEL_HIGHEST);
    t = (struct cs_level_times){.elapsed = UINT64_MAX, .storing = UINT64_MAX, .workers = 1};
    assert_int_equal(cs_level_next(CS_LEVEL_HIGHEST, &t), CS_LEVEL_HIGHEST);
    t = (struct cs_level_times){.elapsed = UINT64_MAX, .compressing = UINT64_MAX, .workers = 1};
    assert_int_equal(cs_level_next(CS_LEVEL_LOWEST, &t), CS_LEVEL_LOWEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_storage_raises_it),
        cmocka_unit_test(test_slow_processor_lowers_it),
        cmocka_unit_test(test_other_bottlenecks_leave_it),
        cmocka_unit_test(test_between_the_bounds_nothing_changes),
        cmocka_unit_test(test_times_that_say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
