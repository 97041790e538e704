/* SPDX-License-Identifier: BSD-2-Clause */
/* Words as a shell has them: /bin/sh itself takes apart what was quoted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/words.h"

static void a_shell_reads_the_same_words(void **state)
{
    static const char *const cases[] = {
        "plain",    "",
        " ",        "two words",
        "it's",     "''",
        "\"",       "$HOME",
        "`id`",     "a\nb",
        "a\\b\\",   "*?[x]",
        "~",        "#no",
        "-n",       "!",
        "a;b|c&",   "<>()",
        "{a,b}",    "\xff\xfe",
        "\xc3\xa4", "=",
        "a=b",      "%s%n",
        "\t",       "\033[2J%\\it's\177!",
    };
    struct words words = {0};
    char *line;
    char *command = NULL;
    FILE *shell;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(words_add(&words, NULL, "%s", cases[i]), 0);
    assert_null(words.items[words.count]);
    line = words_quoted(&words);
    assert_non_null(line);
    assert_true(asprintf(&command, "printf '%%s\\0' %s", line) > 0);
    shell = popen(command, "r");
    assert_non_null(shell);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *word = NULL;
        size_t size = 0;

        assert_true(getdelim(&word, &size, '\0', shell) >= 0);
        assert_string_equal(word, cases[i]);
        free(word);
    }
    assert_int_equal(fgetc(shell), EOF);
    assert_int_equal(pclose(shell), 0);
    free(command);
    free(line);
    words_clear(&words);
}

static void plain_words_stay_plain(void **state)
{
    struct words words = {0};
    char *line;

    (void)state;
    words_add(&words, NULL, "byre");
    words_add(&words, NULL, "--name=%s", "web");
    words_add(&words, NULL, "/vm/a.qcow2");
    line = words_quoted(&words);
    assert_string_equal(line, "byre --name=web /vm/a.qcow2");
    free(line);
    words_clear(&words);
}

static void variables_are_left_out_by_name(void **state)
{
    static char a[] = "A=1", ab[] = "AB=2", b[] = "B=3=4", c[] = "C", bare[] = "A";
    static char *const environment[] = {a, ab, b, c, bare, NULL};
    static const char *const but[] = {"A", "C"};
    struct words words = {0};

    (void)state;
    assert_int_equal(words_add_environment(&words, environment, but, 2, NULL), 0);
    assert_int_equal(words.count, 4);
    assert_string_equal(words.items[0], "AB=2");
    assert_string_equal(words.items[1], "B=3=4");
    words_clear(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shell_reads_the_same_words),
        cmocka_unit_test(plain_words_stay_plain),
        cmocka_unit_test(variables_are_left_out_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
