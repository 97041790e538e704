/* SPDX-License-Identifier: BSD-2-Clause */
/* Text from elsewhere is made harmless, and valid UTF-8 where JSON needs it. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"

static void control_characters_are_replaced(void **state)
{
    char text[] = "a\033[31m\n\tb\x7f\xc2\x9b"
                  "c";

    (void)state;
    assert_string_equal(text_clean(text), "a?[31m??b???c");
}

static void other_characters_stay(void **state)
{
    char text[] = "gr\xc3\xb6\xc3\x9f\x65 \xe2\x82\xac \xff";

    (void)state;
    assert_string_equal(text_clean(text), "gr\xc3\xb6\xc3\x9f\x65 \xe2\x82\xac \xff");
}

static void columns_are_those_of_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(text_columns(""), 0);
    assert_int_equal(text_columns("gr\xc3\xb6\xc3\x9f\x65"), 5);
    assert_int_equal(text_columns("\xf0\x9f\x90\x84!"), 3);        /* a cow is wide */
    assert_int_equal(text_columns("\xe7\xa3\x81\xe7\x9b\xa4"), 4); /* and so are these */
    assert_int_equal(text_columns("e\xcc\x81"), 1);                /* an accent takes none */
    assert_int_equal(text_columns("\xff\xe7\xa3"), 3);
}

static void assert_cut(const char *in, size_t columns, const char *expected)
{
    char text[64];

    strcpy(text, in);
    assert_int_equal(text_cut(text, columns), text_columns(expected));
    assert_string_equal(text, expected);
}

static void what_is_cut_ends_with_dots(void **state)
{
    (void)state;
    assert_cut("disk.qcow2", 10, "disk.qcow2");
    assert_cut("disk.qcow2", 9, "disk.q...");
    assert_cut("disk.qcow2", 4, "d...");
    assert_cut("disk.qcow2", 3, "");
    assert_cut("\xe7\xa3\x81\xe7\x9b\xa4\xe3\x81\xae", 5, "\xe7\xa3\x81...");
    assert_cut("\xe7\xa3\x81\xe7\x9b\xa4\xe3\x81\xae", 4, "...");
}

static void assert_utf8(const char *in, const char *expected)
{
    char *out = text_utf8(in);

    assert_non_null(out);
    assert_string_equal(out, expected);
    free(out);
}

#define FFFD "\xef\xbf\xbd"

static void what_is_not_utf8_is_replaced(void **state)
{
    (void)state;
    assert_utf8("", "");
    assert_utf8("plain \xc3\xb6 \xe2\x82\xac \xf0\x9f\x90\x84",
                "plain \xc3\xb6 \xe2\x82\xac \xf0\x9f\x90\x84");
    assert_utf8("\xff", FFFD);
    assert_utf8("a\xc3", "a" FFFD);                                      /* cut short */
    assert_utf8("\xc0\xaf", FFFD FFFD);                                  /* overlong slash */
    assert_utf8("\xe0\x80\xaf", FFFD FFFD FFFD);                         /* overlong slash */
    assert_utf8("\xed\xa0\x80", FFFD FFFD FFFD);                         /* a surrogate */
    assert_utf8("\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD);                /* past U+10FFFF */
    assert_utf8("\xf0\x80\x80\x80", FFFD FFFD FFFD FFFD);                /* overlong */
    assert_utf8("\xe2\x82z\xf5", FFFD FFFD "z" FFFD);                    /* broken off */
    assert_utf8("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");                 /* U+10FFFF */
    assert_utf8("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"); /* around surrogates */
}

static void assert_abridged(const char *text, size_t columns, bool utf8, const char *expected)
{
    char *abridged = text_abridge(text, columns, utf8);

    assert_string_equal(abridged, expected);
    free(abridged);
}

static void the_middle_is_cut(void **state)
{
    (void)state;
    assert_abridged("abcdef", 6, false, "abcdef");
    assert_abridged("abcdefghij", 9, false, "abc...hij");
    assert_abridged("abcdefghij", 8, false, "ab...hij");
    assert_abridged("abcdefghij", 8, true, "abc\xe2\x80\xa6ghij");
    assert_abridged("abcdef", 3, false, "abc");
    assert_abridged("abcdef", 1, true, "a");
    assert_abridged("abcdef", 0, true, "");
    assert_abridged("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 4, false,
                    "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f");
    assert_abridged("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 3, true, "\xc3\xa4\xe2\x80\xa6\xc3\x9f");
    assert_abridged("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 5, true,
                    "\xe6\x97\xa5\xe2\x80\xa6\xe8\xaa\x9e");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_replaced),
        cmocka_unit_test(other_characters_stay),
        cmocka_unit_test(columns_are_those_of_a_terminal),
        cmocka_unit_test(what_is_cut_ends_with_dots),
        cmocka_unit_test(what_is_not_utf8_is_replaced),
        cmocka_unit_test(the_middle_is_cut),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
