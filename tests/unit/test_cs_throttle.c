/* SPDX-License-Identifier: BSD-2-Clause */
/* What a limit lets through, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "throttle.h"

#define SECOND UINT64_C(1000000000)
#define START  (1000 * SECOND)

/* Writes ${count} times ${bytes}, sleeping as it is told; returns when the last is through. */
static uint64_t write_all(struct cs_throttle *throttle, uint64_t now, unsigned count,
                          uint64_t bytes)
{
    for (unsigned i = 0; i < count; i++)
        now += cs_throttle_take(throttle, bytes, now);
    return now;
}

static void without_a_limit_nothing_waits(void **state)
{
    struct cs_throttle throttle = {0};

    (void)state;
    assert_int_equal(write_all(&throttle, START, 1000, UINT64_MAX), START);
}

static void the_rate_is_kept_over_time(void **state)
{
    static const uint64_t sizes[] = {1, 100, 1 << 20, 2 << 20, 50 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct cs_throttle throttle = {.rate = 1000 * sizes[i]};
        uint64_t end = write_all(&throttle, START, 101000, sizes[i]);

        /* A second's worth was saved up, and the last is through before it is paid for. */
        assert_in_range(end - START, 100 * SECOND - SECOND / 500, 100 * SECOND);
    }
}

static void one_large_write_is_paid_for_afterwards(void **state)
{
    struct cs_throttle throttle = {.rate = 1 << 20};

    (void)state;
    assert_int_equal(cs_throttle_take(&throttle, 64 << 20, START), 0);
    assert_int_equal(cs_throttle_take(&throttle, 1, START), 63 * SECOND);
    assert_int_equal(cs_throttle_take(&throttle, 1, START + 100 * SECOND), 0);
}

static void idle_time_saves_up_a_second_and_no_more(void **state)
{
    struct cs_throttle throttle = {.rate = 1000};

    (void)state;
    write_all(&throttle, START, 10, 1000);
    for (uint64_t now = START + 3600 * SECOND;; now += 3600 * SECOND) {
        assert_int_equal(cs_throttle_take(&throttle, 500, now), 0);
        assert_int_equal(cs_throttle_take(&throttle, 500, now), 0);
        assert_int_equal(cs_throttle_take(&throttle, 500, now), 0);
        assert_int_equal(cs_throttle_take(&throttle, 500, now), SECOND / 2);
        if (now > START + 10 * 3600 * SECOND)
            break;
    }
}

static void no_numbers_overflow(void **state)
{
    static const uint64_t rates[] = {
        1, 3, 1000, SECOND - 1, SECOND, SECOND + 1, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct cs_throttle throttle = {.rate = rates[i]};
        uint64_t waited = 0;

        for (unsigned k = 0; k < 100; k++) {
            uint64_t wait = cs_throttle_take(&throttle, UINT64_MAX, START);

            assert_true(wait >= waited); /* the debt only grows while the clock stands */
            waited = wait;
        }
        assert_true(waited > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_nothing_waits),
        cmocka_unit_test(the_rate_is_kept_over_time),
        cmocka_unit_test(one_large_write_is_paid_for_afterwards),
        cmocka_unit_test(idle_time_saves_up_a_second_and_no_more),
        cmocka_unit_test(no_numbers_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
