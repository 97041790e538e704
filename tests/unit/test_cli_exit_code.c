/* SPDX-License-Identifier: BSD-2-Clause */
/* Each error leads to the exit code that the manual promises. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/exit_code.h"

static int of_error(int code, int sys, bool reads_sources, int signal_number)
{
    struct error err = {.code = code, .sys = sys};

    return exit_code_of_error(&err, reads_sources, signal_number);
}

static int of_store(int code, int signal_number)
{
    struct cs_error err = {.code = code};

    return exit_code_of_store(&err, signal_number);
}

static void engine_errors(void **state)
{
    (void)state;
    assert_int_equal(of_error(0, 0, false, 0), 0);
    assert_int_equal(of_error(ERROR_USAGE, 0, false, 0), 2);
    assert_int_equal(of_error(ERROR_IN_USE, 0, true, 0), 11);
    assert_int_equal(of_error(ERROR_AUTH, 0, false, 0), 12);
    assert_int_equal(of_error(ERROR_NOT_FOUND, ENOENT, false, 0), 1);
    assert_int_equal(of_error(ERROR_UNSUPPORTED, 0, true, 0), 1);
    assert_int_equal(of_error(ERROR_NO_SPACE, ENOSPC, false, 0), 1);
    assert_int_equal(of_error(ERROR_EXISTS, 0, false, 0), 1);
    assert_int_equal(of_error(ERROR_CHANGED, 0, true, 0), 1);
    assert_int_equal(of_error(ERROR_NO_MEMORY, 0, false, 0), 1);
}

static void a_corrupt_source_is_no_damage_of_the_repository(void **state)
{
    (void)state;
    assert_int_equal(of_error(ERROR_CORRUPT, 0, true, 0), 1);
    assert_int_equal(of_error(ERROR_CORRUPT, EUCLEAN, true, 0), 4);
    assert_int_equal(of_error(ERROR_CORRUPT, 0, false, 0), 4);
}

static void interruption_names_the_signal(void **state)
{
    (void)state;
    assert_int_equal(of_error(ERROR_INTERRUPTED, 0, true, SIGINT), 130);
    assert_int_equal(of_error(ERROR_INTERRUPTED, 0, false, SIGTERM), 143);
    assert_int_equal(of_store(CS_CANCELLED, SIGINT), 130);
    assert_int_equal(of_store(CS_CANCELLED, SIGTERM), 143);
    /* A failure of another kind stays one, even when a signal came as well. */
    assert_int_equal(of_error(ERROR_IO, EIO, false, SIGINT), 1);
}

static void store_errors(void **state)
{
    (void)state;
    assert_int_equal(of_store(0, 0), 0);
    assert_int_equal(of_store(CS_USAGE, 0), 2);
    assert_int_equal(of_store(CS_CORRUPT, 0), 4);
    assert_int_equal(of_store(CS_NO_REPOSITORY, 0), 10);
    assert_int_equal(of_store(CS_AUTH, 0), 12);
    assert_int_equal(of_store(CS_EXISTS, 0), 1);
    assert_int_equal(of_store(CS_UNSUPPORTED, 0), 1);
    assert_int_equal(of_store(CS_IO, 0), 1);
}

static void of_several_jobs_the_worst_counts(void **state)
{
    static const int ascending[] = {0, 3, 11, 2, 12, 10, 1, 4, 143};
    const size_t count = sizeof ascending / sizeof ascending[0];

    (void)state;
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++)
            assert_int_equal(exit_code_worse(ascending[a], ascending[b]), ascending[a > b ? a : b]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_errors),
        cmocka_unit_test(a_corrupt_source_is_no_damage_of_the_repository),
        cmocka_unit_test(interruption_names_the_signal),
        cmocka_unit_test(store_errors),
        cmocka_unit_test(of_several_jobs_the_worst_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
