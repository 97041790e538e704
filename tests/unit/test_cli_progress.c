/* SPDX-License-Identifier: BSD-2-Clause */
/* A line of progress fits its terminal, whatever that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/progress.h"
#include "cli/text.h"

static const uint64_t MIB = 1 << 20;

static void a_whole_line(void **state)
{
    char line[256];

    (void)state;
    progress_format(line, sizeof(line), 100, false, "/vm/disk.qcow2", 512 * MIB, 2048 * MIB, 4);
    assert_string_equal(line, " 25% [#######---------------------]  512 MiB of 2 GiB  128 MiB/s  "
                              "ETA 0:12  disk.qcow2");
}

static void nothing_is_known_at_first(void **state)
{
    char line[256];

    (void)state;
    progress_format(line, sizeof(line), 60, false, NULL, 0, 0, 0);
    assert_non_null(strstr(line, "  0% ["));
    assert_non_null(strstr(line, "ETA -:--"));
}

static void more_than_all_is_all(void **state)
{
    char line[256];

    (void)state;
    progress_format(line, sizeof(line), 80, false, NULL, 3 * MIB, 2 * MIB, 1);
    assert_non_null(strstr(line, "100% [####"));
    assert_null(strchr(line, '-'));
}

static void it_fits_every_width(void **state)
{
    char line[512];

    (void)state;
    for (size_t columns = 0; columns < 200; columns++) {
        progress_format(line, sizeof(line), columns, false, "a-file-with-a-long-name.qcow2",
                        1000 * MIB, 3000 * MIB, 100);
        assert_true(text_columns(line) <= (columns > 4 ? columns : 4));
        assert_true(columns < 4 || strncmp(line, " 33%", 4) == 0);
    }
}

static void the_name_cannot_steer_the_terminal(void **state)
{
    char line[512];

    (void)state;
    progress_format(line, sizeof(line), 150, false, "x\033]0;title\a", MIB, MIB, 1);
    assert_null(strchr(line, '\033'));
    assert_null(strchr(line, '\a'));
    progress_format(line, sizeof(line), 150, true, "x", MIB, MIB, 1);
    assert_non_null(strstr(line, "\033[32m"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_line),
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(more_than_all_is_all),
        cmocka_unit_test(it_fits_every_width),
        cmocka_unit_test(the_name_cannot_steer_the_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
