/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors and whole reads and writes. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/be.h"
#include "base/error.h"
#include "base/io.h"
#include "qcow2_fixture.h"

static void test_errors_carry_code_and_text(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_set(&err, ERROR_CORRUPT, "%s at %d", "table", 7), ERROR_CORRUPT);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.message, "table at 7");
    assert_int_equal(error_wrap(&err, "image %s", "a"), ERROR_CORRUPT);
    assert_string_equal(err.message, "image a: table at 7");
    assert_int_equal(error_sys(&err, ENOENT, "x"), ERROR_NOT_FOUND);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.message, "x: No such file or directory");
    assert_int_equal(error_sys(&err, ENOSPC, "x"), ERROR_NO_SPACE);
    assert_int_equal(error_sys(&err, EDQUOT, "x"), ERROR_NO_SPACE);
    assert_int_equal(error_sys(&err, ENOMEM, "x"), ERROR_NO_MEMORY);
    assert_int_equal(error_sys(&err, EEXIST, "x"), ERROR_EXISTS);
    assert_int_equal(error_sys(&err, EACCES, "x"), ERROR_IO);
    assert_int_equal(error_no_memory(&err), ERROR_NO_MEMORY);
    /* Nobody has to listen. */
    assert_int_equal(error_set(NULL, ERROR_USAGE, "x"), ERROR_USAGE);
    assert_int_equal(error_sys(NULL, EIO, "x"), ERROR_IO);
    assert_int_equal(error_no_memory(NULL), ERROR_NO_MEMORY);
}

static void test_long_messages_are_cut(void **state)
{
    struct error err;
    char text[3000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    error_sys(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    error_wrap(&err, "%s", text);
    error_wrap(&err, "first");
    assert_int_equal(strncmp(err.message, "first: xxx", 10), 0);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void test_reads_and_writes(void **state)
{
    uint8_t buf[16], back[16] = {0};
    struct error err;
    size_t got;
    int fd = open("io", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    fill_random(buf, sizeof(buf), 1);
    assert_int_equal(io_write(fd, "io", 100, buf, sizeof(buf), &err), 0);
    assert_int_equal(io_read(fd, "io", 100, back, sizeof(back), &err), 0);
    assert_memory_equal(buf, back, sizeof(buf));
    assert_int_equal(io_read_some(fd, "io", 110, back, sizeof(back), &got, &err), 0);
    assert_int_equal(got, 6);
    assert_int_equal(io_read_some(fd, "io", 5000, back, sizeof(back), &got, &err), 0);
    assert_int_equal(got, 0);
    assert_int_equal(io_read(fd, "io", 110, back, sizeof(back), &err), ERROR_CORRUPT);
    assert_string_equal(err.message, "io: ends at 116, within the 16 bytes at 110");
    assert_int_equal(io_read(fd, "io", UINT64_MAX - 3, back, sizeof(back), &err), ERROR_CORRUPT);
    assert_int_equal(io_write(fd, "io", INT64_MAX, buf, sizeof(buf), &err), ERROR_CORRUPT);
    close(fd);
    assert_int_equal(io_read(fd, "io", 0, back, sizeof(back), &err), ERROR_IO);
    assert_int_equal(err.sys, EBADF);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(io_write(fd, "full", 0, buf, sizeof(buf), &err), ERROR_NO_SPACE);
    close(fd);
}

static void test_many_buffers(void **state)
{
    enum { COUNT = 3000 }; /* more than one call takes */
    uint8_t *bytes = malloc(COUNT * 7);
    struct iovec *iov = calloc(COUNT, sizeof *iov);
    struct error err;
    size_t len;
    int fd = open("vector", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_non_null(bytes);
    assert_non_null(iov);
    assert_true(fd >= 0);
    for (size_t i = 0; i < COUNT * 7; i++)
        bytes[i] = (uint8_t)(i * i >> 5);
    for (size_t i = 0; i < COUNT; i++) /* some are empty */
        iov[i] = (struct iovec){bytes + i / 2 * 14, i % 2 == 0 ? 14 : 0};
    assert_int_equal(io_writev(fd, "vector", 5, iov, COUNT, &err), 0);
    uint8_t *found = slurp("vector", &len);
    assert_int_equal(len, 5 + COUNT * 7);
    assert_memory_equal(found + 5, bytes, COUNT * 7);
    free(found);
    iov[0] = (struct iovec){bytes, 7};
    assert_int_equal(io_writev(fd, "vector", INT64_MAX, iov, 1, &err), ERROR_CORRUPT);
    assert_int_equal(io_writev(fd, "vector", 0, iov, 0, &err), 0);
    close(fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(io_writev(fd, "full", 0, iov, 1, &err), ERROR_NO_SPACE);
    close(fd);
    free(iov);
    free(bytes);
}

static void test_zeros(void **state)
{
    uint8_t buf[200] = {0};

    (void)state;
    for (size_t len = 0; len <= 100; len++) {
        for (size_t from = 0; from < 20; from++) {
            memset(buf, 0xff, sizeof(buf));
            memset(buf + from, 0, len);
            assert_true(io_is_zero(buf + from, len));
            for (size_t i = 0; i < len; i++) {
                buf[from + i] = 1;
                assert_false(io_is_zero(buf + from, len));
                buf[from + i] = 0;
            }
        }
    }
}

static void test_big_endian(void **state)
{
    const uint8_t p[9] = {0, 0x81, 2, 3, 4, 5, 6, 7, 0x88};
    uint8_t q[9] = {0};

    (void)state;
    assert_int_equal(be16_get(p + 1), 0x8102);
    assert_int_equal(be32_get(p + 1), 0x81020304);
    assert_int_equal(be64_get(p + 1), 0x8102030405060788);
    be64_put(q + 1, 0x8102030405060788);
    assert_memory_equal(p, q, sizeof(p));
    be32_put(q, 0x81020304);
    assert_memory_equal(p + 1, q, 4);
    be16_put(q, 0x0304);
    assert_memory_equal(p + 3, q, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_carry_code_and_text),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_many_buffers),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_big_endian),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
