/* SPDX-License-Identifier: BSD-2-Clause */
/* Which archives rules keep: tables of dates that were worked out by hand, with a calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/policy.h"

enum { ARCHIVES = 16 };

struct row {
    const char *time;    /* UTC; the newest first */
    const char *reasons; /* with ", " between; "": forgotten */
};

static int64_t seconds_of(const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return (int64_t)timegm(&tm);
}

static void join(const struct engine_decision *d, char out[500])
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < d->reason_count; i++)
        at += (size_t)snprintf(out + at, 500 - at, "%s%s", i > 0 ? ", " : "", d->reasons[i]);
}

static void expect_at(const char *now, const struct engine_keep *keep, const struct row *rows,
                      char **tags)
{
    struct cs_archive archives[ARCHIVES] = {0};
    struct engine_decision decisions[ARCHIVES] = {0};
    struct error err = {0};
    size_t n = 0;
    for (; rows[n].time != NULL; n++) {
        archives[n].time = seconds_of(rows[n].time);
        if (tags != NULL && tags[n] != NULL) {
            archives[n].tags = &tags[n];
            archives[n].tag_count = 1;
        }
        decisions[n].archive = &archives[n];
    }
    assert_int_equal(policy_apply(keep, seconds_of(now), decisions, n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        char found[500];
        join(&decisions[i], found);
        assert_string_equal(found, rows[i].reasons);
        assert_int_equal(decisions[i].keep, rows[i].reasons[0] != 0);
        for (size_t k = 0; k < decisions[i].reason_count; k++)
            free(decisions[i].reasons[k]);
        free(decisions[i].reasons);
    }
}

static void expect(const struct engine_keep *keep, const struct row *rows, char **tags)
{
    expect_at("2030-01-01 00:00:00", keep, rows, tags);
}

static void test_last(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.last = 2},
           (const struct row[]){{"2026-11-22 10:00:00", "last"},
                                {"2026-11-22 09:00:00", "last"},
                                {"2026-11-22 08:00:00", ""},
                                {0}},
           NULL);
}

/* Hours and days without archives do not count; within one, the newest stays. */
static void test_hours_and_days(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.hourly = 3, .daily = 3},
           (const struct row[]){
               {"2026-11-22 10:30:00", "hourly 2026-11-22 10:00, daily 2026-11-22"},
               {"2026-11-22 10:00:00", ""},
               {"2026-11-22 09:59:59", "hourly 2026-11-22 09:00"},
               {"2026-11-22 00:00:00", "hourly 2026-11-22 00:00"},
               {"2026-11-21 23:59:59", "daily 2026-11-21"},
               {"2026-11-21 23:00:00", ""},
               {"2026-10-01 12:00:00", "daily 2026-10-01"},
               {"2026-09-30 12:00:00", ""},
               {0},
           },
           NULL);
}

/* 2026-12-31 is a Thursday: its week is the 53rd and ends on Sunday, 2027-01-03. 2025-12-29 is a
 * Monday, the first day of the first week of 2026. */
static void test_weeks_of_the_turn_of_the_year(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.weekly = 5},
           (const struct row[]){
               {"2027-01-04 00:00:00", "weekly 2027-W01"}, /* Monday */
               {"2027-01-03 23:59:59", "weekly 2026-W53"}, /* Sunday */
               {"2026-12-31 12:00:00", ""},
               {"2026-12-28 00:00:00", ""},                /* Monday */
               {"2026-12-27 23:00:00", "weekly 2026-W52"}, /* Sunday */
               {"2025-12-31 10:00:00", "weekly 2026-W01"},
               {"2025-12-29 00:00:00", ""},
               {"2025-12-28 23:59:59", "weekly 2025-W52"}, /* Sunday */
               {"2025-12-21 23:59:59", ""},
               {0},
           },
           NULL);
}

static void test_months_and_years(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.monthly = 3, .yearly = 2},
           (const struct row[]){
               {"2026-03-01 00:00:00", "monthly 2026-03, yearly 2026"},
               {"2026-02-28 23:59:59", "monthly 2026-02"},
               {"2026-02-01 00:00:00", ""},
               {"2026-01-01 00:00:00", "monthly 2026-01"},
               {"2025-12-31 23:59:59", "yearly 2025"},
               {"2024-02-29 12:00:00", ""},
               {0},
           },
           NULL);
}

/* 2024-02-29 is there, 2023-02-29 is not: a year and a day before 2024-03-01. */
static void test_within(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.within = {.days = 1}},
           (const struct row[]){
               {"2024-03-01 12:00:00", "within 1d"},
               {"2024-02-29 12:00:00", "within 1d"},
               {"2024-02-29 11:59:59", ""},
               {0},
           },
           NULL);
    expect(&(struct engine_keep){.within = {.years = 1, .hours = 12}},
           (const struct row[]){
               {"2024-03-01 12:00:00", "within 1y 12h"},
               {"2023-03-01 00:00:00", "within 1y 12h"},
               {"2023-02-28 23:59:59", ""},
               {0},
           },
           NULL);
    expect(&(struct engine_keep){.within = {.months = 2}},
           (const struct row[]){
               {"2026-01-31 00:00:00", "within 2m"},
               {"2025-12-01 00:00:00", "within 2m"}, /* from 2025-11-31, which is 2025-12-01 */
               {"2025-11-30 23:59:59", ""},
               {0},
           },
           NULL);
}

/* One archive of a clock that was years ahead must not end those of good ones; nor must a clock
 * that is years behind now. */
static void test_within_and_wrong_clocks(void **state)
{
    const struct row rows[] = {
        {"2099-01-01 00:00:00", "within 2d"},
        {"2026-11-22 10:00:00", "within 2d"},
        {"2026-11-20 10:00:00", "within 2d"},
        {"2026-11-20 09:59:59", ""},
        {0},
    };
    const struct row all[] = {
        {"2026-11-22 10:00:00", "within 2d"}, {"2020-11-22 10:00:00", "within 2d"}, {0}};
    const struct engine_keep keep = {.within = {.days = 2}};
    (void)state;
    expect_at("2026-11-22 10:00:00", &keep, rows, NULL);
    expect_at("2027-01-01 00:00:00", &keep, rows, NULL);
    expect_at("1970-01-01 00:00:00", &keep, all, NULL);
}

static void test_tags(void **state)
{
    static char release[] = "release", nightly[] = "nightly";
    static char *tags[] = {NULL, release, nightly, release};
    static const char *const kept[] = {"release", "golden"};
    (void)state;
    expect(&(struct engine_keep){.last = 1, .tags = kept, .tag_count = 2},
           (const struct row[]){
               {"2026-11-22 10:00:00", "last"},
               {"2026-11-21 10:00:00", "tag release"},
               {"2026-11-20 10:00:00", ""},
               {"2026-11-19 10:00:00", "tag release"},
               {0},
           },
           tags);
}

/* Before 1970, and at the same second. */
static void test_odd_times(void **state)
{
    (void)state;
    expect(&(struct engine_keep){.daily = 2},
           (const struct row[]){
               {"1970-01-01 00:00:00", "daily 1970-01-01"},
               {"1970-01-01 00:00:00", ""},
               {"1969-12-31 23:59:59", "daily 1969-12-31"},
               {0},
           },
           NULL);
}

static void test_spans(void **state)
{
    struct engine_span s;
    (void)state;
    assert_int_equal(engine_parse_span("1y6m2w3d4h", &s, NULL), 0);
    assert_int_equal(s.years, 1);
    assert_int_equal(s.months, 6);
    assert_int_equal(s.days, 17);
    assert_int_equal(s.hours, 4);
    static const char *const bad[] = {
        "", "1", "d", "1x", "1d ", "-1", "0d", "1000000d", "99999999999999999999d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(engine_parse_span(bad[i], &s, NULL), ERROR_USAGE);
    assert_false(policy_is_set(&(struct engine_keep){0}));
    assert_true(policy_is_set(&(struct engine_keep){.within = {.hours = 1}}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_hours_and_days),
        cmocka_unit_test(test_weeks_of_the_turn_of_the_year),
        cmocka_unit_test(test_months_and_years),
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_within_and_wrong_clocks),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_odd_times),
        cmocka_unit_test(test_spans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
