/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes, durations, times and percentages, out and in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "cli/units.h"

static void sizes(void **state)
{
    char text[UNITS_TEXT];

    (void)state;
    assert_string_equal(units_size(0, text), "0 B");
    assert_string_equal(units_size(1023, text), "1023 B");
    assert_string_equal(units_size(1024, text), "1 KiB");
    assert_string_equal(units_size(1536, text), "1.5 KiB");
    assert_string_equal(units_size(65536, text), "64 KiB");
    assert_string_equal(units_size(327155712, text), "312 MiB");
    assert_string_equal(units_size(5583457484, text), "5.2 GiB");
    assert_string_equal(units_size((1 << 20) - 1, text), "1.0 MiB");
    assert_string_equal(units_size((uint64_t)1 << 40, text), "1 TiB");
    assert_string_equal(units_size(UINT64_MAX, text), "16 EiB");
}

static void durations(void **state)
{
    char text[UNITS_TEXT];

    (void)state;
    assert_string_equal(units_duration(0, text), "0.0 s");
    assert_string_equal(units_duration(4.12, text), "4.1 s");
    assert_string_equal(units_duration(59.97, text), "1 min 00 s");
    assert_string_equal(units_duration(192, text), "3 min 12 s");
    assert_string_equal(units_duration(3599.6, text), "1 h 00 min");
    assert_string_equal(units_duration(3720, text), "1 h 02 min");
    assert_string_equal(units_clock(42, text), "0:42");
    assert_string_equal(units_clock(3723, text), "1:02:03");
    assert_string_equal(units_clock(-1, text), "0:00");
}

static void times(void **state)
{
    char text[UNITS_TEXT];

    (void)state;
    assert_string_equal(units_utc_time(0, text), "1970-01-01T00:00:00Z");
    assert_string_equal(units_utc_time(1769900399, text), "2026-01-31T22:59:59Z");
    setenv("TZ", "XXX-1", 1);
    tzset();
    assert_string_equal(units_local_time(1769900399, text), "2026-01-31 23:59:59");
}

static void sizes_are_read(void **state)
{
    static const char *const bad[] = {"",
                                      "K",
                                      "1KB",
                                      "1 K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1X",
                                      "1.5G",
                                      "9999999999999999999999",
                                      "9007199254740992K"};
    int64_t bytes = -5;

    (void)state;
    assert_int_equal(units_parse_size("x", "0", &bytes, NULL), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(units_parse_size("x", "4096", &bytes, NULL), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(units_parse_size("x", "2K", &bytes, NULL), 0);
    assert_int_equal(bytes, 2048);
    assert_int_equal(units_parse_size("x", "3g", &bytes, NULL), 0);
    assert_int_equal(bytes, (int64_t)3 << 30);
    assert_int_equal(units_parse_size("x", "1T", &bytes, NULL), 0);
    assert_int_equal(bytes, (int64_t)1 << 40);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(units_parse_size("x", bad[i], &bytes, NULL), ERROR_USAGE);
}

static void percentages_are_read(void **state)
{
    static const char *const bad[] = {"",    "%",   "0",   "-1",   "101",
                                      "5%%", "nan", "inf", "0x10", "5 %"};
    double fraction = 0;

    (void)state;
    assert_int_equal(units_parse_percent("x", "100", &fraction, NULL), 0);
    assert_true(fraction == 1);
    assert_int_equal(units_parse_percent("x", "50%", &fraction, NULL), 0);
    assert_true(fraction == 0.5);
    assert_int_equal(units_parse_percent("x", "0.5", &fraction, NULL), 0);
    assert_true(fraction == 0.005);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(units_parse_percent("x", bad[i], &fraction, NULL), ERROR_USAGE);
}

static void rates_are_read(void **state)
{
    static const char *const bad[] = {
        "",       "0",    "M",      "-1M",    "1.5M", "50 MB/s", "50 MiB/min",         "5 0M",
        "50M/s ", "50Mi", "50iB/s", "50 X/s", "1e3",  "0x10",    "99999999999999999T", "50 /h",
    };
    uint64_t rate = 0;

    (void)state;
    assert_int_equal(units_parse_rate("x", "50 MiB/s", &rate, NULL), 0);
    assert_int_equal(rate, 50 << 20);
    assert_int_equal(units_parse_rate("x", "50M", &rate, NULL), 0);
    assert_int_equal(rate, 50 << 20);
    assert_int_equal(units_parse_rate("x", "50m/s", &rate, NULL), 0);
    assert_int_equal(rate, 50 << 20);
    assert_int_equal(units_parse_rate("x", "700", &rate, NULL), 0);
    assert_int_equal(rate, 700);
    assert_int_equal(units_parse_rate("x", "700/s", &rate, NULL), 0);
    assert_int_equal(rate, 700);
    assert_int_equal(units_parse_rate("x", "2 GiB", &rate, NULL), 0);
    assert_int_equal(rate, (uint64_t)2 << 30);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(units_parse_rate("x", bad[i], &rate, NULL), ERROR_USAGE);
}

static void times_are_read(void **state)
{
    static const char *const bad[] = {"",   "0s",  "5",     "5m",          "5 days", "-1s",
                                      "1w", "8 d", "169 h", "9999999999s", "1.5h",   "s"};
    unsigned seconds = 0;

    (void)state;
    assert_int_equal(units_parse_time("x", "90s", &seconds, NULL), 0);
    assert_int_equal(seconds, 90);
    assert_int_equal(units_parse_time("x", "10 min", &seconds, NULL), 0);
    assert_int_equal(seconds, 600);
    assert_int_equal(units_parse_time("x", "168h", &seconds, NULL), 0);
    assert_int_equal(seconds, 168 * 3600);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(units_parse_time("x", bad[i], &seconds, NULL), ERROR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(times),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(percentages_are_read),
        cmocka_unit_test(rates_are_read),
        cmocka_unit_test(times_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
