/* SPDX-License-Identifier: BSD-2-Clause */
/* A line of progress fits its terminal, whatever that is; and what it promises is sober. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/progress_format.h"
#include "cli/progress_rate.h"
#include "cli/text.h"

static const uint64_t MIB = 1 << 20;

static struct progress_state example(void)
{
    return (struct progress_state){
        .what = "/vm/disk.qcow2",
        .done = 512 * MIB,
        .total = 2048 * MIB,
        .rate = 128.0 * (double)MIB,
        .left = 12,
    };
}

static void a_whole_line(void **state)
{
    struct progress_state p = example();
    char line[256];

    (void)state;
    progress_format(line, sizeof line, 100, false, &p);
    assert_string_equal(line, " 25% [#######---------------------]  512 MiB of 2 GiB  128 MiB/s  "
                              "ETA 0:12  disk.qcow2");
    p.counts_fresh = true;
    p.fresh = 31 * MIB;
    p.number = 2;
    p.count = 5;
    progress_format(line, sizeof line, 96, false, &p);
    assert_string_equal(line,
                        " 25% [#####-----------------]  512 MiB of 2 GiB  128 MiB/s  31 MiB new  "
                        "ETA 0:12  2/5 disk.qcow2");
    progress_describe(line, sizeof line, &p);
    assert_string_equal(line,
                        "25%, 512 MiB of 2 GiB, 128 MiB/s, 31 MiB new, 0:12 left, 2/5 disk.qcow2");
}

static void one_file_has_no_number(void **state)
{
    struct progress_state p = example();
    char line[256];

    (void)state;
    p.number = 1;
    p.count = 1;
    progress_format(line, sizeof line, 100, false, &p);
    assert_non_null(strstr(line, "  disk.qcow2"));
}

static void the_least_important_goes_first(void **state)
{
    static const char *const parts[] = {" of ", "[", " new", "MiB/s", "2/5 ", "ETA"};
    struct progress_state p = example();
    size_t gone = 0;
    char line[256];

    (void)state;
    p.counts_fresh = true;
    p.fresh = 31 * MIB;
    p.number = 2;
    p.count = 5;
    for (size_t columns = 130; columns > 3; columns--) {
        progress_format(line, sizeof line, columns, false, &p);
        while (gone < 6 && !strstr(line, parts[gone]))
            gone++;
        for (size_t i = gone; i < 6; i++)
            assert_non_null(strstr(line, parts[i]));
    }
    assert_int_equal(gone, 6);
    assert_string_equal(line, " 25%");
}

static void a_long_name_leaves_room_for_others(void **state)
{
    struct progress_state p = example();
    char line[512];

    (void)state;
    p.what = "a-very-long-name-that-some-tool-has-made-up-for-a-disk-image-of-a-machine.qcow2";
    progress_format(line, sizeof line, 79, false, &p);
    assert_string_equal(line, " 25% [##------]  512 MiB of 2 GiB  128 MiB/s  ETA 0:12  "
                              "a-very-long-name-tha...");
    progress_format(line, sizeof line, 40, false, &p);
    assert_string_equal(line, " 25%  ETA 0:12  a-very-long-name-that...");
}

static void nothing_is_known_at_first(void **state)
{
    struct progress_state p = {.rate = -1, .left = -1};
    char line[256];

    (void)state;
    progress_format(line, sizeof line, 60, false, &p);
    assert_non_null(strstr(line, "  0% ["));
    assert_non_null(strstr(line, "ETA -:--"));
    assert_non_null(strstr(line, "  - B/s"));
}

static void nothing_is_all_done_before_its_end(void **state)
{
    struct progress_state p = example();
    char line[256];

    (void)state;
    p.done = 3 * p.total;
    progress_format(line, sizeof line, 80, false, &p);
    assert_non_null(strstr(line, " 99% [####"));
    assert_null(strchr(line, '-'));
}

static void it_fits_every_width(void **state)
{
    static const char *const names[] = {
        "a-file-with-a-long-name.qcow2",
        "\xe7\xa3\x81\xe7\x9b\xa4\xe3\x81\xae\xe5\x86\x99\xe3\x81\x97.qcow2", /* wide */
        "e\xcc\x81\xcc\x82 combined, \xff and no UTF-8.qcow2",
        "",
    };
    struct progress_state p = example();
    char line[512];

    (void)state;
    p.counts_fresh = true;
    p.fresh = 1000 * MIB + 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        p.what = names[i];
        for (size_t columns = 0; columns < 200; columns++) {
            progress_format(line, sizeof line, columns, false, &p);
            assert_true(text_columns(line) <= (columns > 4 ? columns : 4));
            assert_true(columns < 4 || strncmp(line, " 25%", 4) == 0);
        }
    }
}

static void the_name_cannot_steer_the_terminal(void **state)
{
    struct progress_state p = example();
    char line[512];

    (void)state;
    p.what = "x\033]0;title\a";
    progress_format(line, sizeof line, 150, false, &p);
    assert_null(strchr(line, '\033'));
    assert_null(strchr(line, '\a'));
    progress_describe(line, sizeof line, &p);
    assert_null(strchr(line, '\033'));
    p.what = "x";
    progress_format(line, sizeof line, 150, true, &p);
    assert_non_null(strstr(line, "\033[32m"));
}

/* ---- rates ---- */

static void too_early_is_not_told(void **state)
{
    struct progress_rate rate = {0};

    (void)state;
    assert_true(progress_rate_now(&rate, 10, 0) < 0);
    progress_rate_add(&rate, 10, 0);
    assert_true(progress_rate_now(&rate, 11.9, 500 * MIB) < 0);
    assert_true(progress_rate_now(&rate, 12, 200 * MIB) == (double)(100 * MIB));
}

/* A gigabyte passed over at once, then ten a second. */
static void what_was_long_ago_does_not_count(void **state)
{
    struct progress_rate rate = {0};
    uint64_t done = 1024 * MIB;

    (void)state;
    progress_rate_add(&rate, 0, 0);
    for (unsigned i = 0; i < 200; i++, done += MIB)
        progress_rate_add(&rate, 0.1 + i / 10.0, done);
    assert_true(progress_rate_now(&rate, 20.1, done) < 10.5 * (double)MIB);
    assert_true(progress_rate_now(&rate, 20.1, done) > 9.5 * (double)MIB);
}

static void going_back_begins_anew(void **state)
{
    struct progress_rate rate = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        progress_rate_add(&rate, i, 100 * i * MIB);
    progress_rate_add(&rate, 20, 0);
    assert_true(progress_rate_now(&rate, 21, MIB) < 0);
    assert_true(progress_rate_now(&rate, 24, 4 * MIB) == (double)MIB);
}

static void time_left_is_sober(void **state)
{
    (void)state;
    assert_true(progress_rate_left(10, 100) == 10);
    assert_true(progress_rate_left(10, 0) == 0);
    assert_true(progress_rate_left(0, 100) < 0);
    assert_true(progress_rate_left(-1, 100) < 0);
    assert_true(progress_rate_left(1, UINT64_MAX) < 0); /* more than a life */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_line),
        cmocka_unit_test(one_file_has_no_number),
        cmocka_unit_test(the_least_important_goes_first),
        cmocka_unit_test(a_long_name_leaves_room_for_others),
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(nothing_is_all_done_before_its_end),
        cmocka_unit_test(it_fits_every_width),
        cmocka_unit_test(the_name_cannot_steer_the_terminal),
        cmocka_unit_test(too_early_is_not_told),
        cmocka_unit_test(what_was_long_ago_does_not_count),
        cmocka_unit_test(going_back_begins_anew),
        cmocka_unit_test(time_left_is_sober),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
