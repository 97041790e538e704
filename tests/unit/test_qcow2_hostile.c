/* SPDX-License-Identifier: BSD-2-Clause */
/* Images that lie: one value of a good image is replaced, and one message with its place is
 * expected. Damaged header fields are in test_qcow2_header.c. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_fixture.h"

#define CLUSTER    ((size_t)4096)
#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

/* 4 MiB in clusters of 4 KiB, so two L2 tables: data at guest clusters 0 to 3, compressed at 4,
 * zero with a host cluster at 5, data at 600. */
static uint64_t l1, l2, l2_second, end;

static void make_image(void)
{
    size_t len;

    run("rm -f good.qcow2; qemu-img create -q -f qcow2 -o cluster_size=4k good.qcow2 4M");
    run("qemu-io -f qcow2 -c 'write -P 1 0 16k' -c 'write -c -P 2 16k 4k' -c 'write -P 3 20k 4k' "
        "-c 'write -z 20k 4k' -c 'write -P 4 2400k 4k' good.qcow2");
    free(slurp("good.qcow2", &len));
    end = len;
    l1 = peek64("good.qcow2", 40);
    l2 = peek64("good.qcow2", l1) & ~COPIED;
    l2_second = peek64("good.qcow2", l1 + 8) & ~COPIED;
}

/* Opens bad.qcow2 and reads all of it; the first failure is the result. */
static int read_bad(struct error *err)
{
    struct qcow2_entry *entries;
    struct qcow2_image *image;
    uint8_t *bytes;
    size_t size, n;
    int fd, ret;

    if ((ret = try_image(&image, "bad.qcow2", &fd, err)) < 0)
        return ret;
    size = qcow2_image_cluster_size(image);
    n = (qcow2_image_virtual_size(image) + size - 1) / size;
    entries = calloc(n, sizeof(*entries));
    bytes = malloc(n * size);
    if ((ret = qcow2_view_entries(qcow2_image_active(image), 0, n, entries, err)) == 0)
        ret = qcow2_image_read(image, 0, n, entries, bytes, err);
    close_image(image, fd);
    free(entries);
    free(bytes);
    return ret;
}

static void copy_good(void)
{
    run("cp good.qcow2 bad.qcow2");
}

/* Replaces the eight bytes at ${offset} by ${value}; what comes of it names ${at}. */
static void expect(uint64_t offset, uint64_t value, int code, const char *message, uint64_t at)
{
    struct error err = {0};
    char place[32];

    copy_good();
    poke64("bad.qcow2", offset, value);
    snprintf(place, sizeof(place), "%" PRIu64, at);
    if (read_bad(&err) != code ||
        (code < 0 && (!strstr(err.message, "bad.qcow2") || !strstr(err.message, message) ||
                      !strstr(err.message, place))))
        fail_msg("0x%" PRIx64 " at %" PRIu64 ": %d \"%s\", not %d \"%s\" with %s", value, offset,
                 err.code, err.message, code, message, place);
}

static void test_l1_entries(void **state)
{
    (void)state;
    expect(l1, l2 + 512, ERROR_CORRUPT, "not aligned", l2 + 512);
    expect(l1, COPIED | (l2 + 1024), ERROR_CORRUPT, "L1 entry 0", l1);
    expect(l1, UINT64_C(0x00fffffffffff000), ERROR_CORRUPT, "beyond the file", l1);
    expect(l1 + 8, end, ERROR_CORRUPT, "the L2 table at", end);
    expect(l1, COPIED, ERROR_CORRUPT, "only owner of host offset 0", l1);
    expect(l1 + 8, l2 | COPIED, ERROR_CORRUPT, "L1 entries 0 and 1 share one L2 table", l2);
    /* Reserved bits are no offset. */
    expect(l1, l2 | COPIED | 0x1ff | UINT64_C(0x7f) << 56, 0, "", 0);
}

static void test_data_entries(void **state)
{
    uint64_t data = peek64("good.qcow2", l2) & ~COPIED;

    (void)state;
    expect(l2 + 8, COPIED | (data + 512), ERROR_CORRUPT, "not aligned", l2 + 8);
    expect(l2 + 8, COPIED | end, ERROR_CORRUPT, "beyond the file", end);
    expect(l2 + 8, UINT64_C(0x00fffffffffff000), ERROR_CORRUPT, "beyond the file", l2 + 8);
    expect(l2 + 8, COPIED, ERROR_CORRUPT, "only owner of host offset 0", l2 + 8);
    expect(l2 + 8, COPIED | 1, ERROR_CORRUPT, "only owner of host offset 0", l2 + 8);
    expect(l2 + 8, COPIED | (end + CLUSTER) | 1, ERROR_CORRUPT, "beyond the file", end + CLUSTER);
    expect(l2 + 8, (data + 512) | 1, ERROR_CORRUPT, "not aligned", l2 + 8);
    expect(l2_second + 704, COPIED | end, ERROR_CORRUPT, "guest cluster 600", end);
    /* Reserved bits are no offset, and clusters that two entries name can be read. */
    expect(l2 + 8, COPIED | data | 0x1fe | UINT64_C(0x3f) << 56, 0, "", 0);
    expect(l2 + 8, 1, 0, "", 0);
    expect(l2 + 8, 0x1fe, 0, "", 0);
}

static void test_zero_clusters_in_version_2(void **state)
{
    struct error err;

    (void)state;
    run("rm -f bad.qcow2; qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=4k bad.qcow2 4M");
    run("qemu-io -f qcow2 -c 'write 0 4k' bad.qcow2");
    poke64("bad.qcow2", (peek64("bad.qcow2", peek64("bad.qcow2", 40)) & ~COPIED) + 16, 1);
    assert_int_equal(read_bad(&err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "version 2"));
    assert_non_null(strstr(err.message, "guest cluster 2"));
}

static void test_compressed_entries(void **state)
{
    uint64_t word = peek64("good.qcow2", l2 + 32);
    uint64_t host = word & ((UINT64_C(1) << 58) - 1);

    (void)state;
    assert_true(word & COMPRESSED);
    expect(l2 + 32, COMPRESSED | end, ERROR_CORRUPT, "beyond the file", end);
    expect(l2 + 32, COMPRESSED | ((UINT64_C(1) << 58) - 1), ERROR_CORRUPT, "beyond the file",
           l2 + 32);
    expect(l2 + 32, COMPRESSED | 100, ERROR_CORRUPT, "lies in the header", 100);
    expect(l2 + 32, COMPRESSED | (host + 3), ERROR_CORRUPT, "compressed, at host offset", host + 3);
    expect(l2 + 32, COMPRESSED | l2, ERROR_CORRUPT, "guest cluster 4", l2);
    /* The length is an upper bound, which may be far too high; bits of nothing are masked. */
    expect(l2 + 32, word | UINT64_C(3) << 58, 0, "", 0);
    expect(l2 + 32, word | COPIED, 0, "", 0);
}

/* One that says two sectors less than it has. */
static void test_a_stream_that_is_cut_by_its_length(void **state)
{
    uint8_t noise[CLUSTER];
    struct error err;
    uint64_t entry, word;

    (void)state;
    fill_random(noise, sizeof(noise), 1);
    memset(noise, 0, 1500);
    spill("noise", noise, sizeof(noise));
    run("rm -f bad.qcow2; qemu-img create -q -f qcow2 -o cluster_size=4k bad.qcow2 4M");
    run("qemu-io -f qcow2 -c 'write -c -s noise 8k 4k' bad.qcow2");
    entry = (peek64("bad.qcow2", peek64("bad.qcow2", 40)) & ~COPIED) + 16;
    word = peek64("bad.qcow2", entry);
    assert_true((word >> 58 & 15) > 2);
    poke64("bad.qcow2", entry, word - (UINT64_C(2) << 58));
    assert_int_equal(read_bad(&err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "guest cluster 2"));
}

static void test_files_cut_short(void **state)
{
    struct error err;
    size_t len;

    (void)state;
    for (uint64_t to = 0; to < end - CLUSTER; to += CLUSTER / 2) {
        copy_good();
        assert_int_equal(truncate("bad.qcow2", (off_t)to), 0);
        assert_true(read_bad(&err) < 0);
    }
    /* The second L2 table describes 512 clusters, and all of it is needed. */
    run("rm -f bad.qcow2; qemu-img create -q -f qcow2 -o cluster_size=4k,preallocation=metadata "
        "bad.qcow2 4M");
    l2_second = peek64("bad.qcow2", peek64("bad.qcow2", 40) + 8) & ~COPIED;
    assert_int_equal(truncate("bad.qcow2", (off_t)l2_second + CLUSTER - 1), 0);
    assert_int_equal(read_bad(&err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "L2 table"));

    /* Of a table that describes 3 clusters only, the rest may be missing. */
    run("rm -f bad.qcow2; qemu-img create -q -f qcow2 bad.qcow2 192k");
    free(slurp("bad.qcow2", &len));
    assert_int_equal(len % 65536, 8); /* the L1 table is the last */
    poke64("bad.qcow2", peek64("bad.qcow2", 40), 262144);
    poke64("bad.qcow2", 262144, 1);
    poke64("bad.qcow2", 262144 + 8, 1);
    assert_int_equal(truncate("bad.qcow2", 262144 + 23), 0);
    assert_int_equal(read_bad(&err), ERROR_CORRUPT);
    assert_int_equal(truncate("bad.qcow2", 262144 + 24), 0);
    assert_int_equal(read_bad(&err), 0);
}

/* Small files that claim much: refused, or done with at once. */
static void test_claims_of_size(void **state)
{
    struct qcow2_image *image;
    struct error err;
    int fd;

    (void)state;
    copy_good();
    poke32("bad.qcow2", 36, 4 << 20); /* an L1 of 32 MiB */
    assert_int_equal(read_bad(&err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "beyond the file"));

    /* It is there, as a hole: 2^31 clusters, none of them. */
    assert_int_equal(truncate("bad.qcow2", 40 << 20), 0);
    poke64("bad.qcow2", 40, 1 << 20);
    poke64("bad.qcow2", 24, UINT64_C(1) << 43);
    image = open_image("bad.qcow2", &fd);
    assert_int_equal(qcow2_view_clusters(qcow2_image_active(image)), UINT64_C(1) << 31);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 0), UINT64_C(1) << 31);
    close_image(image, fd);

    /* Each of its entries names the same table. */
    for (uint64_t i = 5; i < 100; i++)
        poke64("bad.qcow2", (1 << 20) + i * 8, 36 << 20);
    assert_int_equal(try_image(&image, "bad.qcow2", &fd, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "L1 entries 5 and 6 share one L2 table at 37748736"));
}

static void test_what_is_not_read(void **state)
{
    struct qcow2_open_options force = {.force_corrupt = true, .data_fd = -1};

    (void)state;
    copy_good();
    poke64("bad.qcow2", 72, QCOW2_INCOMPAT_CORRUPT);
    expect_open("bad.qcow2", NULL, ERROR_UNSUPPORTED, "marked corrupt");
    expect_open("bad.qcow2", &force, 0, "");
    poke64("bad.qcow2", 72, QCOW2_INCOMPAT_DATA_FILE);
    expect_open("bad.qcow2", &force, ERROR_UNSUPPORTED, "needs an external data file");
    poke64("bad.qcow2", 72, 64);
    expect_open("bad.qcow2", &force, ERROR_UNSUPPORTED, "unknown feature");
    copy_good();
    poke32("bad.qcow2", 32, 3);
    expect_open("bad.qcow2", NULL, ERROR_UNSUPPORTED, "encryption method 3");
    spill("bad.qcow2", "KDMV and so on", 14);
    expect_open("bad.qcow2", NULL, ERROR_UNSUPPORTED, "not a qcow2 file");
    spill("bad.qcow2", "", 0);
    expect_open("bad.qcow2", NULL, ERROR_UNSUPPORTED, "not a qcow2 file");
}

/* Bits that mean nothing to us, and nothing to the reading. */
static void test_what_is_read_anyway(void **state)
{
    struct error err;

    (void)state;
    copy_good();
    poke64("bad.qcow2", 80, UINT64_C(1) << 63 | 2);
    poke64("bad.qcow2", 88, UINT64_C(1) << 63 | 4);
    assert_int_equal(read_bad(&err), 0);
}

/* What is behind the magic has to be good, however little it is. */
static void test_garbage_behind_the_magic(void **state)
{
    uint8_t buf[8192] = {'Q', 'F', 'I', 0xfb};
    struct qcow2_image *image;
    struct error err;
    int fd;

    (void)state;
    for (size_t len = 4; len < sizeof(buf); len += len < 128 ? 1 : 500) {
        fill_random(buf + 4, len - 4, len);
        if (len & 1 && len > 24) { /* further into it */
            be32_put(buf + 4, 3);
            be32_put(buf + 20, 12);
        }
        spill("bad.qcow2", buf, len);
        assert_true(try_image(&image, "bad.qcow2", &fd, &err) < 0);
        assert_null(strstr(err.message, "not a qcow2 file"));
    }
}

static int enter(void **state)
{
    if (fixture_enter(state) < 0)
        return -1;
    make_image();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_l1_entries),
        cmocka_unit_test(test_data_entries),
        cmocka_unit_test(test_zero_clusters_in_version_2),
        cmocka_unit_test(test_compressed_entries),
        cmocka_unit_test(test_a_stream_that_is_cut_by_its_length),
        cmocka_unit_test(test_claims_of_size),
        cmocka_unit_test(test_files_cut_short),
        cmocka_unit_test(test_what_is_not_read),
        cmocka_unit_test(test_what_is_read_anyway),
        cmocka_unit_test(test_garbage_behind_the_magic),
    };

    return cmocka_run_group_tests(tests, enter, fixture_leave);
}
