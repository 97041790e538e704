/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of metrics files. What is in them, the scenario of jobs reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/job_metrics.h"

static void expect(const char *pattern, const char *path)
{
    char *got = job_metrics_path(pattern, "web");

    assert_string_equal(got, path);
    free(got);
}

static void the_job_stands_in_the_name(void **state)
{
    (void)state;
    expect("/m/byre.prom", "/m/byre.prom");
    expect("/m/byre-%j.prom", "/m/byre-web.prom");
    expect("/%j/%j", "/web/web");
    expect("/100%%j", "/100%j");
    expect("/%%%j%%", "/%web%");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_job_stands_in_the_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
