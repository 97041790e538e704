/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a file, a command or the environment becomes the secret, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/secret_read.h"

static char file[] = "/tmp/byre-test-cli-secret-XXXXXX";

static void write_file(const void *data, size_t len)
{
    FILE *stream = fopen(file, "w");

    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, len, stream), len);
    assert_int_equal(fclose(stream), 0);
}

static void assert_secret(const struct secret *secret, const char *expected)
{
    assert_int_equal(secret->kind, CS_SLOT_PASSPHRASE);
    assert_int_equal(secret->len, strlen(expected));
    assert_memory_equal(secret->data, expected, secret->len);
}

static void the_first_line_counts(void **state)
{
    static const struct {
        const char *text;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"word", "word"},
        {"word\n", "word"},
        {"word\r\n", "word"},
        {"word\n\n", "word"},
        {"a\nb\n", "a"},
        {"word\r", "word\r"},
        {"w\r\r\n", "w\r"},
        {" a b \n", " a b "},
        {"", NULL},
        {"\n", NULL},
        {"\r\n", NULL},
        {"\nword\n", NULL},
        {"w\xc3\xb6rd\n", "w\xc3\xb6rd"},
    };
    struct secret secret;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&secret, 0, sizeof(secret));
        write_file(cases[i].text, strlen(cases[i].text));
        if (cases[i].expected) {
            assert_int_equal(secret_read_file(&secret, file, NULL), 0);
            assert_secret(&secret, cases[i].expected);
        } else {
            assert_int_equal(secret_read_file(&secret, file, NULL), ERROR_USAGE);
        }
    }
}

static void the_other_lines_are_wiped(void **state)
{
    struct secret secret = {.kind = CS_SLOT_PASSPHRASE, .len = 12};

    (void)state;
    memcpy(secret.data, "first\nsecond", 12);
    assert_int_equal(secret_read_first_line(&secret, "test", NULL), 0);
    assert_secret(&secret, "first");
    for (size_t i = 5; i < sizeof(secret.data); i++)
        assert_int_equal(secret.data[i], 0);
}

static void long_lines_are_refused(void **state)
{
    static char text[CS_KEY_FILE_MAX + 2];
    struct secret secret = {0};

    (void)state;
    memset(text, 'x', sizeof(text));
    write_file(text, CS_KEY_FILE_MAX);
    assert_int_equal(secret_read_file(&secret, file, NULL), 0);
    assert_int_equal(secret.len, CS_KEY_FILE_MAX);
    write_file(text, CS_KEY_FILE_MAX + 1);
    assert_int_equal(secret_read_file(&secret, file, NULL), ERROR_USAGE);
}

static void key_files_are_read_whole(void **state)
{
    static uint8_t bytes[CS_KEY_FILE_MAX + 1];
    struct secret secret = {0};

    (void)state;
    memset(bytes, '\n', sizeof(bytes));
    write_file(bytes, CS_KEY_FILE_MIN);
    assert_int_equal(secret_read_key_file(&secret, file, NULL), 0);
    assert_int_equal(secret.kind, CS_SLOT_KEY_FILE);
    assert_int_equal(secret.len, CS_KEY_FILE_MIN);
    write_file(bytes, CS_KEY_FILE_MAX);
    assert_int_equal(secret_read_key_file(&secret, file, NULL), 0);
    assert_int_equal(secret.len, CS_KEY_FILE_MAX);
    write_file(bytes, CS_KEY_FILE_MIN - 1);
    assert_int_equal(secret_read_key_file(&secret, file, NULL), ERROR_USAGE);
    write_file(bytes, CS_KEY_FILE_MAX + 1);
    assert_int_equal(secret_read_key_file(&secret, file, NULL), ERROR_USAGE);
}

static void a_missing_file_is_not_found(void **state)
{
    struct secret secret = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(secret_read_file(&secret, "/nonexistent/file", &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/file"));
}

static void commands_print_the_secret(void **state)
{
    struct secret secret = {0};

    (void)state;
    assert_int_equal(secret_read_command(&secret, "printf 'one\\ntwo\\n'", NULL), 0);
    assert_secret(&secret, "one");
    /* More output than a pipe takes must not make the command fail. */
    assert_int_equal(
        secret_read_command(&secret, "echo one; head -c 1000000 /dev/zero || exit 1", NULL), 0);
    assert_secret(&secret, "one");
    assert_int_equal(secret_read_command(&secret, "echo one; exit 3", NULL), ERROR_IO);
    assert_int_equal(secret_read_command(&secret, "echo one; kill -9 $$", NULL), ERROR_IO);
    assert_int_equal(secret_read_command(&secret, "true", NULL), ERROR_USAGE);
}

static void the_order_of_the_ways(void **state)
{
    struct global_options options = {0};
    struct secret secret = {0};

    (void)state;
    write_file("from file\n", 10);
    setenv("BYRE_PASSWORD", "from variable", 1);
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), 0);
    assert_secret(&secret, "from variable");
    assert_null(getenv("BYRE_PASSWORD"));

    setenv("BYRE_PASSWORD", "from variable", 1);
    setenv("BYRE_PASSWORD_COMMAND", "echo from command variable", 1);
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), 0);
    assert_secret(&secret, "from command variable");

    setenv("BYRE_PASSWORD_FILE", file, 1);
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), 0);
    assert_secret(&secret, "from file");

    setenv("BYRE_KEY_FILE", "/nonexistent/key", 1);
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), ERROR_NOT_FOUND);

    options.password_command = "echo from command option";
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), 0);
    assert_secret(&secret, "from command option");

    options.password_file = file;
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), 0);
    assert_secret(&secret, "from file");

    options.key_file = "/nonexistent/key";
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), ERROR_NOT_FOUND);
    unsetenv("BYRE_KEY_FILE");
    unsetenv("BYRE_PASSWORD_FILE");
    unsetenv("BYRE_PASSWORD_COMMAND");
}

static void the_other_repository_has_variables_of_its_own(void **state)
{
    struct secret secret = {0};

    (void)state;
    setenv("BYRE_PASSWORD", "mine", 1);
    setenv("BYRE_FROM_PASSWORD", "theirs", 1);
    assert_int_equal(secret_for_other(&secret, "r", NULL), 0);
    assert_secret(&secret, "theirs");
    assert_string_equal(getenv("BYRE_PASSWORD"), "mine");
    unsetenv("BYRE_PASSWORD");
}

static void an_empty_variable_is_refused(void **state)
{
    struct global_options options = {0};
    struct secret secret = {0};

    (void)state;
    setenv("BYRE_PASSWORD", "", 1);
    assert_int_equal(secret_for_repository(&secret, &options, "r", false, NULL), ERROR_USAGE);
    unsetenv("BYRE_PASSWORD");
}

static int make_file(void **state)
{
    static const char *const variables[] = {"BYRE_PASSWORD", "BYRE_PASSWORD_FILE",
                                            "BYRE_PASSWORD_COMMAND", "BYRE_KEY_FILE"};
    int fd = mkstemp(file);

    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_counts),
        cmocka_unit_test(the_other_lines_are_wiped),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(key_files_are_read_whole),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(commands_print_the_secret),
        cmocka_unit_test(the_order_of_the_ways),
        cmocka_unit_test(the_other_repository_has_variables_of_its_own),
        cmocka_unit_test(an_empty_variable_is_refused),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
