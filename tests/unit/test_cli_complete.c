/* SPDX-License-Identifier: BSD-2-Clause */
/* What completion makes of the tables: it knows every value and operand that they name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/complete.h"

/* Each alternative of ${values} is one that completion knows. */
static void check_values(const char *command, const char *option, const char *values, size_t len)
{
    const struct complete at = {.values = values, .values_len = len};
    const char *value = NULL;

    while ((value = complete_next(&at, value, &len)) != NULL) {
        if (complete_kind(option, value, len) == COMPLETE_UNKNOWN)
            fail_msg("%s: src/cli/complete.c does not know what %.*s is", command, (int)len, value);
    }
}

static void check_options(const char *command, const struct option_spec *specs)
{
    for (; specs && specs->name; specs++) {
        if (specs->value)
            check_values(command, specs->name, specs->value, strlen(specs->value));
    }
}

static void check_commands(const struct command *const *table)
{
    for (; *table; table++) {
        const struct command *command = *table;

        if (command->hidden)
            continue;
        check_options(command->name, command->specs);
        if (command->commands)
            check_commands(command->commands);
        for (size_t i = 0; !command->commands && command != &cmd_help && i < 3; i++) {
            size_t len = 0;
            const char *operand = complete_operand(command->usage, i, &len);

            assert_true(operand || i >= command->operands_max || command->operands_min <= i);
            if (operand)
                check_values(command->name, NULL, operand, len);
        }
    }
}

static void every_value_and_operand_is_known(void **state)
{
    (void)state;
    check_options("all commands", command_globals);
    check_commands(command_table);
}

static void operands_are_those_of_the_usage(void **state)
{
    static const struct {
        const char *usage;
        size_t n;
        const char *operand; /* NULL: none */
    } cases[] = {
        {"", 0, NULL},
        {"IMAGE...", 0, "IMAGE"},
        {"IMAGE...", 7, "IMAGE"},
        {"[ARCHIVE]", 0, "ARCHIVE"},
        {"[ARCHIVE]", 1, NULL},
        {"[ARCHIVE...]", 3, "ARCHIVE"},
        {"ARCHIVE IMAGE", 0, "ARCHIVE"},
        {"ARCHIVE IMAGE", 1, "IMAGE"},
        {"ARCHIVE IMAGE", 2, NULL},
        {"ARCHIVE --to PATH", 0, "ARCHIVE"},
        {"ARCHIVE --to PATH", 1, NULL},
        {"-- WORD...", 0, NULL},
        {"FILE|-", 0, "FILE|-"},
        {"A B...", 5, "B"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = 0;
        const char *operand = complete_operand(cases[i].usage, cases[i].n, &len);

        if (!cases[i].operand) {
            assert_null(operand);
            continue;
        }
        assert_non_null(operand);
        assert_int_equal(len, strlen(cases[i].operand));
        assert_memory_equal(operand, cases[i].operand, len);
    }
}

static void a_value_may_be_one_of_several(void **state)
{
    const struct complete at = {.values = "FILE|-|x] rest", .values_len = 8};
    const struct complete none = {0};
    size_t len = 0;
    const char *value = complete_next(&at, NULL, &len);

    (void)state;
    assert_int_equal(len, 4);
    assert_int_equal(complete_kind(NULL, value, len), COMPLETE_FILES);
    value = complete_next(&at, value, &len);
    assert_int_equal(len, 1);
    assert_int_equal(complete_kind(NULL, value, len), COMPLETE_WORD);
    value = complete_next(&at, value, &len);
    assert_int_equal(len, 1);
    assert_int_equal(value[0], 'x');
    assert_null(complete_next(&at, value, &len));
    assert_null(complete_next(&none, NULL, &len));
    assert_int_equal(complete_kind(NULL, "PLUM", 4), COMPLETE_UNKNOWN);
}

/* The words end with what is to be completed. */
static void a_place_is_found(void **state)
{
    static const struct {
        const char *words[6];
        const char *command; /* or NULL */
        const char *option;  /* whose value it is */
        const char *word;
        bool commands;
        bool options;
        bool value;
    } cases[] = {
        {{""}, NULL, NULL, "", true, false, false},
        {{"--js"}, NULL, NULL, "--js", false, true, false},
        {{"--repo", "x"}, NULL, "repo", "x", false, false, true},
        {{"-qr", "x"}, NULL, "repo", "x", false, false, true},
        {{"-rq", "x"}, NULL, NULL, "x", true, false, false},
        {{"key", "a"}, "key", NULL, "a", true, false, false},
        {{"key", "add", "--role=f"}, "add", "role", "f", false, false, true},
        {{"key", "add", "--role", "--"}, "add", "role", "--", false, false, true},
        {{"restore", "--to", "--to", "--to"}, "restore", NULL, "--to", false, true, false},
        {{"restore", "--force", ""}, "restore", NULL, "", false, false, true},
        {{"restore", "x", ""}, "restore", NULL, "", false, true, false},
        {{"restore", "x", "y"}, "restore", NULL, "y", false, false, false},
        {{"backup", "--", "-x"}, "backup", NULL, "-x", false, false, true},
        {{"backup", "-", "-", "x"}, "backup", NULL, "x", false, false, true},
        {{"help", "key", "x"}, "help", NULL, "x", true, false, false},
        {{"help", "key", "add", "x"}, "help", NULL, "x", false, false, false},
        {{"nonsense", "x"}, NULL, NULL, "x", false, false, false},
        {{"list", "--nonsense=x"}, "list", NULL, "--nonsense=x", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct complete at;
        size_t count = 0;

        while (count < 6 && cases[i].words[count])
            count++;
        complete_find(&at, cases[i].words, count);
        assert_string_equal(at.command ? at.command->name : "",
                            cases[i].command ? cases[i].command : "");
        assert_string_equal(at.option ? at.option : "", cases[i].option ? cases[i].option : "");
        assert_string_equal(at.word, cases[i].word);
        assert_int_equal(at.commands != NULL, cases[i].commands);
        assert_int_equal(at.options, cases[i].options);
        assert_int_equal(at.values != NULL, cases[i].value);
        assert_ptr_equal(at.word, cases[i].words[count - 1] + at.before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_and_operand_is_known),
        cmocka_unit_test(operands_are_those_of_the_usage),
        cmocka_unit_test(a_value_may_be_one_of_several),
        cmocka_unit_test(a_place_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
