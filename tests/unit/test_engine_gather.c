/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of a buffer that go to a file in any order: the file that plain single writes make, past
 * the page cache or through it. */
#include "engine/gather.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "qcow2_fixture.h"

enum { MIB = 1 << 20, SIZE = 8 * MIB, BUFFER = 2 * MIB, BLOCK = 4096 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* A buffer with a zero block now and then, aligned as those of the store are. */
static uint8_t *new_buffer(uint32_t seed)
{
    uint8_t *buf = aligned_alloc(BLOCK, BUFFER);
    assert_non_null(buf);
    for (size_t at = 0; at < BUFFER; at += BLOCK) {
        uint8_t byte = next_random(&seed) % 5 == 0 ? 0 : (uint8_t)next_random(&seed);
        memset(buf + at, byte, BLOCK);
    }
    return buf;
}

static int open_file(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    return fd;
}

/* Cuts the buffer into parts of up to ${most} units of ${unit} bytes, and adds them in an order of
 * their own, each for a place in the file that no other has. ${expected} is what single writes
 * make. */
static void put_parts(struct gather *gather, const uint8_t *buf, uint8_t *expected, size_t unit,
                      size_t most, uint32_t seed)
{
    static const uint64_t bases[] = {5 * MIB, MIB, 3 * MIB}; /* of thirds, not in order */
    struct error err;
    size_t at = 0;
    for (size_t third = 0; third < 3; third++) {
        uint64_t offset = bases[third] / unit * unit;
        size_t end = BUFFER / 3 / unit * unit * (third + 1);
        while (at < end) {
            size_t len = unit * (1 + next_random(&seed) % most);
            if (len > end - at)
                len = end - at;
            /* two neighbours change places */
            size_t second = len <= (end - at) / 2 && next_random(&seed) % 2 == 0 ? len : 0;
            memcpy(expected + offset + second, buf + at, len);
            assert_int_equal(gather_add(gather, offset + second, buf + at, len, &err), 0);
            if (second > 0) {
                memcpy(expected + offset, buf + at + len, second);
                assert_int_equal(gather_add(gather, offset, buf + at + len, second, &err), 0);
            }
            at += len + second;
            offset += len + second;
        }
    }
    assert_int_equal(gather_flush(gather, &err), 0);
}

static void check_file(const char *name, bool direct, bool holes, size_t unit, size_t most,
                       uint32_t seed)
{
    int fd = open_file(name);
    struct gather_file file = {.fd = fd, .direct_fd = -1, .name = name, .holes = holes};
    struct gather gather = {.file = &file};
    uint8_t *buf = new_buffer(seed), *expected = calloc(1, SIZE);
    size_t len = 0, zeros = 0;
    assert_non_null(expected);
    if (direct)
        file.direct_fd = io_open_direct(fd);
    put_parts(&gather, buf, expected, unit, most, seed);
    uint8_t *found = slurp(name, &len);
    assert_int_equal(len, SIZE);
    assert_memory_equal(found, expected, SIZE);
    for (size_t at = 0; at < BUFFER / 3 / unit * unit * 3; at += BLOCK)
        zeros += io_is_zero(buf + at, BLOCK) ? BLOCK : 0;
    if (unit % BLOCK == 0)
        assert_int_equal(gather.written, BUFFER / 3 / unit * unit * 3 - (holes ? zeros : 0));
    if (file.direct_fd >= 0)
        close(file.direct_fd);
    close(fd);
    free(found);
    free(expected);
    free(buf);
}

static void test_parts_in_any_order(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 2; seed++)
        for (int way = 0; way < 4; way++) {
            check_file("blocks", way & 1, way & 2, BLOCK, 20, seed);
            check_file("large", way & 1, way & 2, 16 * BLOCK, 4, seed);
            check_file("unaligned", way & 1, way & 2, 1536, 9, seed);
            check_file("many", way & 1, way & 2, 512, 2, seed);
        }
}

/* Nothing that is written is added to the page cache, as fincore has it. */
static void test_large_parts_pass_by_the_cache(void **state)
{
    (void)state;
    int fd = open_file("direct");
    int direct = io_open_direct(fd);
    char *type = output_of("stat -f -c %%T .");
    if (direct < 0 || strstr(type, "tmpfs") != NULL) {
        print_message("no direct I/O here (%s)\n", type);
        skip();
    }
    free(type);
    struct gather_file file = {.fd = fd, .direct_fd = direct, .name = "direct"};
    struct gather gather = {.file = &file};
    struct error err;
    uint8_t *buf = new_buffer(9);
    assert_int_equal(gather_add(&gather, MIB, buf, BUFFER, &err), 0);
    assert_int_equal(gather_flush(&gather, &err), 0);
    char *cached = output_of("fincore -b -n -o PAGES direct");
    assert_int_equal(strtol(cached, NULL, 10), 0);
    free(cached);
    free(buf);
    close(direct);
    close(fd);
}

/* What a write past the cache is refused for with EINVAL, goes through it; other errors are told.
 */
static void test_refused_direct_writes(void **state)
{
    (void)state;
    int fd = open_file("refusing");
    struct gather_file file = {.fd = fd, .name = "refusing"};
    struct gather gather = {.file = &file};
    struct error err = {0};
    size_t len = 0;
    uint8_t *buf = new_buffer(11);
    memset(buf, 'x', BLOCK);
    file.direct_fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); /* wants a number */
    assert_true(file.direct_fd >= 0);
    assert_int_equal(gather_add(&gather, MIB, buf, BUFFER, &err), 0);
    assert_int_equal(gather_flush(&gather, &err), 0);
    close(file.direct_fd);
    uint8_t *found = slurp("refusing", &len);
    assert_memory_equal(found + MIB, buf, BUFFER);
    free(found);
    file.direct_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(gather_add(&gather, MIB, buf, BUFFER, &err), 0);
    assert_int_equal(gather_flush(&gather, &err), ERROR_NO_SPACE);
    assert_int_equal(gather_add(&gather, MIB, buf, BUFFER, NULL), 0);
    assert_int_equal(gather_flush(&gather, NULL), ERROR_NO_SPACE);
    close(file.direct_fd);
    close(fd);
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_in_any_order),
        cmocka_unit_test(test_large_parts_pass_by_the_cache),
        cmocka_unit_test(test_refused_direct_writes),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
