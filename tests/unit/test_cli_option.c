/* SPDX-License-Identifier: BSD-2-Clause */
/* The option parser, on a table that has every kind of option. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/option.h"

struct values {
    bool json;
    int verbose;
    const char *repo;
    const char *read_data;
    struct option_list tags;
};

static const struct option_spec specs[] = {
    {"json", 'j', OPTION_FLAG, offsetof(struct values, json), NULL, "", NULL},
    {"verbose", 'v', OPTION_COUNT, offsetof(struct values, verbose), NULL, "", NULL},
    {"repo", 'r', OPTION_VALUE, offsetof(struct values, repo), "REPO", "", NULL},
    {"read-data", 0, OPTION_OPTIONAL, offsetof(struct values, read_data), "PERCENT", "", NULL},
    {"tag", 't', OPTION_LIST, offsetof(struct values, tags), "TAG", "", NULL},
    {0},
};

struct parsed {
    struct values values;
    struct option_list operands;
    struct error err;
    int used;
    int ret;
};

/* Parses the words of ${argv}, which ends with NULL. */
static struct parsed *parse(bool stop, const char *const *argv)
{
    static struct parsed parsed;
    struct option_set set = {specs, &parsed.values};
    int argc = 0;

    while (argv[argc])
        argc++;
    option_set_clear(&set);
    option_list_clear(&parsed.operands);
    memset(&parsed, 0, sizeof(parsed));
    parsed.ret =
        option_parse(&set, 1, argc, argv, stop, &parsed.operands, &parsed.used, &parsed.err);
    return &parsed;
}

#define PARSE(...) parse(false, (const char *const[]){__VA_ARGS__, NULL})

static void values_in_every_form(void **state)
{
    (void)state;
    assert_string_equal(PARSE("--repo", "a")->values.repo, "a");
    assert_string_equal(PARSE("--repo=a")->values.repo, "a");
    assert_string_equal(PARSE("--repo=")->values.repo, "");
    assert_string_equal(PARSE("--repo=a=b")->values.repo, "a=b");
    assert_string_equal(PARSE("-r", "a")->values.repo, "a");
    assert_string_equal(PARSE("-ra")->values.repo, "a");
    assert_string_equal(PARSE("-ra", "--repo", "b")->values.repo, "b");
    assert_string_equal(PARSE("--repo", "--json")->values.repo, "--json");
    assert_string_equal(PARSE("--repo", "-")->values.repo, "-");
}

static void clusters_of_letters(void **state)
{
    struct parsed *parsed = PARSE("-vjvrx", "op");

    (void)state;
    assert_int_equal(parsed->ret, 0);
    assert_int_equal(parsed->values.verbose, 2);
    assert_true(parsed->values.json);
    assert_string_equal(parsed->values.repo, "x");
    assert_int_equal(parsed->operands.count, 1);
    parsed = PARSE("-vr", "y", "-v");
    assert_string_equal(parsed->values.repo, "y");
    assert_int_equal(parsed->values.verbose, 2);
}

static void an_optional_value_comes_only_with_an_equals_sign(void **state)
{
    struct parsed *parsed = PARSE("--read-data", "5");

    (void)state;
    assert_string_equal(parsed->values.read_data, "");
    assert_string_equal(parsed->operands.items[0], "5");
    assert_string_equal(PARSE("--read-data=5")->values.read_data, "5");
    assert_null(PARSE("x")->values.read_data);
}

static void lists_keep_their_order(void **state)
{
    struct parsed *parsed = PARSE("--tag", "a", "x", "-tb", "--tag=c");

    (void)state;
    assert_int_equal(parsed->values.tags.count, 3);
    assert_string_equal(parsed->values.tags.items[0], "a");
    assert_string_equal(parsed->values.tags.items[1], "b");
    assert_string_equal(parsed->values.tags.items[2], "c");
    assert_string_equal(parsed->operands.items[0], "x");
}

static void two_dashes_end_options(void **state)
{
    struct parsed *parsed = PARSE("--json", "--", "--repo", "-v", "--");

    (void)state;
    assert_int_equal(parsed->ret, 0);
    assert_true(parsed->values.json);
    assert_null(parsed->values.repo);
    assert_int_equal(parsed->operands.count, 3);
    assert_string_equal(parsed->operands.items[2], "--");
}

static void stopping_leaves_the_first_operand(void **state)
{
    static const char *const argv[] = {"-v", "--repo", "a", "list", "--json", NULL};
    struct parsed *parsed = parse(true, argv);

    (void)state;
    assert_int_equal(parsed->ret, 0);
    assert_int_equal(parsed->used, 3);
    assert_int_equal(parsed->operands.count, 0);
    assert_false(parsed->values.json);
}

/* That ${parsed} failed as wrong usage with ${message}. */
static void assert_refused(const struct parsed *parsed, const char *message)
{
    assert_int_equal(parsed->ret, ERROR_USAGE);
    assert_string_equal(parsed->err.message, message);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_refused(PARSE("--repp=x"), "unknown option --repp (did you mean --repo?)");
    assert_refused(PARSE("--rep", "x"), "unknown option --rep (did you mean --repo?)");
    assert_refused(PARSE("--quux"), "unknown option --quux");
    assert_refused(PARSE("-vx"), "unknown option -x");
    assert_refused(PARSE("--json=yes"), "option --json takes no value");
    assert_refused(PARSE("--repo"), "option --repo needs a value: REPO");
    assert_refused(PARSE("-vr"), "option -r needs a value: REPO");
    assert_int_equal(PARSE("--=x")->ret, ERROR_USAGE);
    assert_int_equal(PARSE("--an-option-with-a-name-that-is-very-much-longer-than-any-has-"
                           "a-right-to-be")
                         ->ret,
                     ERROR_USAGE);
}

static void numbers_are_checked(void **state)
{
    long number = 0;

    (void)state;
    assert_int_equal(option_number("--last", "10", 1, 20, &number, NULL), 0);
    assert_int_equal(number, 10);
    assert_int_equal(option_number("--last", "0", 1, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", "21", 1, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", "", 0, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", "5x", 0, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", " 5", 0, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", "+5", 0, 20, &number, NULL), ERROR_USAGE);
    assert_int_equal(option_number("--last", "99999999999999999999", 0, LONG_MAX, &number, NULL),
                     ERROR_USAGE);
    assert_int_equal(number, 10);
}

static int forget_last(void **state)
{
    (void)state;
    parse(false, (const char *const[]){NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_form),
        cmocka_unit_test(clusters_of_letters),
        cmocka_unit_test(an_optional_value_comes_only_with_an_equals_sign),
        cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(two_dashes_end_options),
        cmocka_unit_test(stopping_leaves_the_first_operand),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(numbers_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, forget_last);
}
