/* SPDX-License-Identifier: BSD-2-Clause */
/* Drawing packs is even and as much as was asked for, and damage is found as often as is said. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sample.h"

enum { PACKS = 200, RUNS = 20000 };

/* splitmix64 */
static uint64_t next(void *arg)
{
    uint64_t *state = arg;
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t draw(bool *chosen, const uint64_t *sizes, size_t n, double share, uint64_t *state)
{
    struct cs_error err;
    size_t k = 0;
    assert_int_equal(cs_sample_draw(chosen, sizes, n, share, next, state, &err), 0);
    for (size_t i = 0; i < n; i++)
        k += chosen[i];
    return k;
}

/* Mostly of one size, some much smaller, as in a repository with small increments. */
static void some_sizes(uint64_t sizes[PACKS])
{
    uint64_t state = 7;
    for (size_t i = 0; i < PACKS; i++)
        sizes[i] = i % 4 == 0 ? 1000 + next(&state) % 60000000 : 64 << 20;
}

static void test_as_much_as_was_asked_for(void **unused)
{
    static const double shares[] = {0.0001, 0.01, 0.1, 0.5, 0.99, 1};
    bool chosen[PACKS];
    uint64_t sizes[PACKS], state = 1, total = 0;
    (void)unused;
    some_sizes(sizes);
    for (size_t i = 0; i < PACKS; i++)
        total += sizes[i];
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++)
        for (unsigned run = 0; run < 200; run++) {
            double bytes = 0;
            size_t k = draw(chosen, sizes, PACKS, shares[s], &state);
            for (size_t i = 0; i < PACKS; i++)
                bytes += chosen[i] ? (double)sizes[i] : 0;
            assert_true(k >= 1);
            assert_true(bytes >= shares[s] * (double)total);
            assert_true(bytes < shares[s] * (double)total + (64 << 20)); /* and no pack too many */
            assert_true(shares[s] < 1 || k == PACKS);
        }
    assert_int_equal(draw(chosen, sizes, 0, 0.5, &state), 0);
    assert_int_equal(draw(chosen, (uint64_t[]){0, 0, 0}, 3, 0.5, &state), 1);
    assert_int_equal(draw(chosen, sizes, 1, 0.01, &state), 1);
}

static void test_every_pack_has_its_turn(void **unused)
{
    bool chosen[PACKS];
    uint64_t sizes[PACKS], state = 2;
    unsigned times[PACKS] = {0};
    (void)unused;
    for (size_t i = 0; i < PACKS; i++)
        sizes[i] = 64 << 20;
    for (unsigned run = 0; run < RUNS; run++) {
        assert_int_equal(draw(chosen, sizes, PACKS, 0.1, &state), PACKS / 10);
        for (size_t i = 0; i < PACKS; i++)
            times[i] += chosen[i];
    }
    for (size_t i = 0; i < PACKS; i++) /* 2000 are expected; the deviation is 42 */
        if (times[i] < 2000 - 6 * 42 || times[i] > 2000 + 6 * 42)
            fail_msg("pack %zu was drawn %u times in %d", i, times[i], RUNS);
}

/* Damage is laid anew each time, and drawn for; what is found as often as it is said. */
static void test_damage_is_found_as_often_as_is_said(void **unused)
{
    static const struct {
        double share;
        size_t damaged;
    } cases[] = {{0.02, 1}, {0.02, 20}, {0.1, 2}, {0.1, 10}, {0.1, 28}, {0.5, 1}, {0.5, 4}, {1, 1}};
    bool chosen[PACKS], bad[PACKS];
    uint64_t sizes[PACKS], state = 3;
    (void)unused;
    some_sizes(sizes);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double said = 0, found = 0;
        for (unsigned run = 0; run < RUNS; run++) {
            size_t k = draw(chosen, sizes, PACKS, cases[c].share, &state);
            for (size_t i = 0; i < PACKS; i++)
                bad[i] = false;
            for (size_t i = 0; i < cases[c].damaged;) {
                size_t at = next(&state) % PACKS;
                i += !bad[at];
                bad[at] = true;
            }
            bool hit = false;
            for (size_t i = 0; i < PACKS; i++)
                hit |= chosen[i] && bad[i];
            found += hit;
            said += cs_sample_finds(PACKS, k, cases[c].damaged);
        }
        /* the deviation is at most 0.0036 */
        if (fabs(found - said) > 0.018 * RUNS)
            fail_msg("%zu damaged, %.0f %% read: found %.0f times in %d, %.1f were said",
                     cases[c].damaged, 100 * cases[c].share, found, RUNS, said);
    }
}

static void test_the_bound_is_the_least(void **unused)
{
    static const uint64_t sizes[] = {1, 2, 3, 10, 59, 305, 1000, 20000};
    (void)unused;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint64_t n = sizes[s], k = 1; k <= n; k += 1 + n / 50) {
            uint64_t bound = cs_sample_bound(n, k, 0.95);
            assert_true(bound >= 1 && bound <= n - k + 1);
            assert_true(cs_sample_finds(n, k, bound) >= 0.95 - 1e-12);
            assert_true(cs_sample_finds(n, k, bound - 1) < 0.95 + 1e-12);
        }
    /* by hand: 1 - 5/10 * 4/9 * 3/8 * 2/7 = 1 - 1/42 = 0.976; 1 - 1/12 = 0.917 with one less */
    assert_int_equal(cs_sample_bound(10, 5, 0.95), 4);
    assert_int_equal(cs_sample_bound(10, 10, 0.95), 1);
    assert_true(fabs(cs_sample_finds(10, 5, 4) - 41.0 / 42) < 1e-12);
    assert_true(fabs(cs_sample_finds(100, 30, 1) - 0.3) < 1e-12);
    assert_true(cs_sample_finds(10, 7, 4) == 1.0 && cs_sample_finds(10, 7, 0) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_much_as_was_asked_for),
        cmocka_unit_test(test_every_pack_has_its_turn),
        cmocka_unit_test(test_damage_is_found_as_often_as_is_said),
        cmocka_unit_test(test_the_bound_is_the_least),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
