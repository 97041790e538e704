/* SPDX-License-Identifier: BSD-2-Clause */
/* Typing errors lead to the word that was meant, and nonsense to none. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/suggest.h"

static void distances(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("list", "list"), 0);
    assert_int_equal(suggest_distance("", "list"), 4);
    assert_int_equal(suggest_distance("lst", "list"), 1);
    assert_int_equal(suggest_distance("lits", "list"), 1);
    assert_int_equal(suggest_distance("lsit", "list"), 1);
    assert_int_equal(suggest_distance("lost", "list"), 1);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    assert_int_equal(suggest_distance("restore", "backup"), suggest_distance("backup", "restore"));
}

static void long_words_are_only_held_for_equality(void **state)
{
    char a[101];
    char b[101];

    (void)state;
    for (int i = 0; i < 100; i++)
        a[i] = b[i] = 'x';
    a[100] = b[100] = '\0';
    assert_int_equal(suggest_distance(a, b), 0);
    b[50] = 'y';
    assert_true(suggest_distance(a, b) == UINT_MAX);
}

static const char *nearest(const char *word)
{
    static const char *const words[] = {"init", "backup", "list", "password-file", "key"};
    struct suggest suggest;

    suggest_begin(&suggest, word);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        suggest_offer(&suggest, words[i]);
    return suggest_nearest(&suggest);
}

static void nearest_words(void **state)
{
    (void)state;
    assert_string_equal(nearest("bakcup"), "backup");
    assert_string_equal(nearest("lst"), "list");
    assert_string_equal(nearest("pass"), "password-file");
    assert_string_equal(nearest("kye"), "key");
    assert_string_equal(nearest("passs"), "password-file");
    assert_string_equal(nearest("file"), "password-file");
    assert_null(nearest("fil"));
    assert_null(nearest("frobnicate"));
    assert_null(nearest("x"));
    assert_null(nearest(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(long_words_are_only_held_for_equality),
        cmocka_unit_test(nearest_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
