/* SPDX-License-Identifier: BSD-2-Clause */
/* Persistent bitmaps: the bits that QEMU left, and directories that lie, which never keep the disk
 * from being read. */
#include "qcow2/bitmap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "base/io.h"
#include "qcow2_fixture.h"

enum { ENTRY = 24 }; /* the fixed part of a directory entry, and the size of the extension */

/* The bitmaps of ${name}, which must open; the problem is "" for none. */
struct bitmaps {
    struct qcow2_image *image;
    int fd;
    struct qcow2_bitmap *array;
    uint32_t count;
    char *problem;
};

static struct bitmaps load(const char *name)
{
    struct bitmaps b;
    struct error err;

    b.image = open_image(name, &b.fd);
    if (qcow2_image_bitmaps(b.image, &b.array, &b.count, &b.problem, &err) < 0)
        fail_msg("%s", err.message);
    if (!b.problem)
        b.problem = strdup("");
    return b;
}

static void clear(struct bitmaps *b)
{
    qcow2_bitmaps_free(b->array, b->count);
    free(b->problem);
    close_image(b->image, b->fd);
}

/* All bytes of a bitmap; given to the caller. */
static uint8_t *bits_of(struct qcow2_image *image, const struct qcow2_bitmap *b)
{
    size_t size = qcow2_image_cluster_size(image);
    uint8_t *bits = calloc(b->table_size, size);
    enum qcow2_bitmap_class class;
    struct error err;

    for (uint32_t i = 0; i < b->table_size; i++) {
        if (qcow2_bitmap_read(image, b, i, &class, bits + i * size, &err) < 0)
            fail_msg("%s", err.message);
        if (class != QCOW2_BITMAP_DATA)
            memset(bits + i * size, class == QCOW2_BITMAP_ONES ? 0xff : 0, size);
    }
    assert_int_equal(qcow2_bitmap_read(image, b, b->table_size, &class, bits, &err), ERROR_USAGE);
    return bits;
}

/* Where the bitmaps extension of ${name} is in its header. */
static uint64_t find_extension(const char *name)
{
    struct qcow2_header h;
    struct error err;
    uint8_t *cluster;
    uint64_t at = 0, bytes_read = 0;
    size_t len;
    int fd;

    free(slurp(name, &len));
    fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_int_equal(qcow2_header_read(&h, &cluster, fd, name, len, &bytes_read, &err), 0);
    close(fd);
    for (uint32_t i = 0; i < h.nb_extensions; i++)
        if (h.extensions[i].type == QCOW2_EXT_BITMAPS)
            at = h.extensions[i].offset;
    assert_int_not_equal(at, 0);
    qcow2_header_clear(&h);
    free(cluster);
    return at;
}

static bool bit(const uint8_t *bits, size_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

static void test_bits_are_those_of_the_writes(void **state)
{
    struct bitmaps b;
    uint8_t *bits;

    (void)state;
    run("rm -f b.qcow2; qemu-img create -q -f qcow2 -o cluster_size=4k b.qcow2 64M");
    run("qemu-img bitmap --add -g 64k b.qcow2 all; qemu-img bitmap --add -g 1M b.qcow2 "
        "'c\303\266arse'; "
        "qemu-img bitmap --add -g 512 b.qcow2 fine; qemu-img bitmap --disable b.qcow2 fine; "
        "qemu-img bitmap --add --disable b.qcow2 off");
    run("qemu-io -f qcow2 -c 'write 64k 128k' -c 'write 40M 3M' -c 'write 65535k 1k' b.qcow2");
    b = load("b.qcow2");
    assert_string_equal(b.problem, "");
    assert_int_equal(b.count, 4);
    assert_string_equal(b.array[0].name, "all");
    assert_string_equal(b.array[1].name, "c\303\266arse");
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(b.array[i].type, 1);
        assert_int_equal(b.array[i].extra_len, 0);
        assert_int_equal(b.array[i].flags, i < 2 ? QCOW2_BITMAP_AUTO : 0);
    }
    assert_int_equal(b.array[0].granularity_bits, 16);
    assert_int_equal(b.array[1].granularity_bits, 20);
    assert_int_equal(b.array[2].granularity_bits, 9);
    assert_int_equal(b.array[2].table_size, (64 << 20) / 512 / 8 / 4096);
    bits = bits_of(b.image, &b.array[0]);
    for (size_t i = 0; i < 1024; i++)
        assert_int_equal(bit(bits, i), i == 1 || i == 2 || (i >= 640 && i < 688) || i == 1023);
    free(bits);
    bits = bits_of(b.image, &b.array[1]);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(bit(bits, i), i == 0 || (i >= 40 && i < 43) || i == 63);
    free(bits);
    bits = bits_of(b.image, &b.array[2]);
    assert_true(io_is_zero(bits, (size_t)b.array[2].table_size * 4096));
    free(bits);
    clear(&b);
}

/* A table entry can say "all set" without a cluster, although QEMU does not write that. */
static void test_clusters_of_ones(void **state)
{
    struct qcow2_bitmap *one;
    uint64_t directory;
    struct bitmaps b;
    uint8_t *bits;

    (void)state;
    run("rm -f o.qcow2; qemu-img create -q -f qcow2 -o cluster_size=512 o.qcow2 64M; "
        "qemu-img bitmap --add -g 512 o.qcow2 ones; qemu-io -f qcow2 -c 'write 0 1M' o.qcow2");
    directory = peek64("o.qcow2", find_extension("o.qcow2") + 16);
    for (uint64_t i = 1; i < 16; i++)
        poke64("o.qcow2", peek64("o.qcow2", directory) + i * 8, 1);
    b = load("o.qcow2");
    assert_string_equal(b.problem, "");
    assert_int_equal(b.count, 1);
    one = &b.array[0];
    assert_int_equal(one->table_size, 32);
    assert_int_equal(one->table[15], 1);
    assert_int_equal(one->table[31], 0);
    bits = bits_of(b.image, one);
    for (size_t i = 0; i < 131072; i++)
        assert_int_equal(bit(bits, i), i < 2048 || (i >= 4096 && i < 65536));
    free(bits);
    clear(&b);
}

static void test_a_crashed_writer(void **state)
{
    struct bitmaps b;

    (void)state;
    run("rm -f c.qcow2; qemu-img create -q -f qcow2 c.qcow2 1M; qemu-img bitmap --add c.qcow2 a");
    run("ulimit -c 0; qemu-io -f qcow2 -c 'write 0 64k' -c abort c.qcow2 || true");
    b = load("c.qcow2");
    assert_int_equal(b.count, 1);
    assert_int_equal(b.array[0].flags, QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO);
    clear(&b);
}

static void test_images_without_bitmaps(void **state)
{
    struct bitmaps b;

    (void)state;
    run("rm -f n.qcow2; qemu-img create -q -f qcow2 n.qcow2 1M");
    b = load("n.qcow2");
    assert_int_equal(b.count, 0);
    assert_null(b.array);
    assert_string_equal(b.problem, "");
    clear(&b);
}

/* Where things are in good.qcow2, which has the bitmaps "first" and "second", of one table entry
 * with a cluster each. */
static uint64_t extension, dir, dir_size, second, table, table_second, end;

static void make_good(void)
{
    size_t len;

    run("rm -f good.qcow2; qemu-img create -q -f qcow2 good.qcow2 1M; "
        "qemu-img bitmap --add good.qcow2 first; qemu-img bitmap --add good.qcow2 second; "
        "qemu-io -f qcow2 -c 'write 64k 64k' good.qcow2");
    free(slurp("good.qcow2", &len));
    extension = find_extension("good.qcow2");
    dir = peek64("good.qcow2", extension + 16);
    dir_size = peek64("good.qcow2", extension + 8);
    second = dir + ENTRY + 8; /* "first", padded */
    table = peek64("good.qcow2", dir);
    table_second = peek64("good.qcow2", second);
    end = (len + 65535) / 65536 * 65536;
    assert_int_equal(truncate("good.qcow2", (off_t)end), 0);
    assert_int_equal(dir_size, 2 * (ENTRY + 8));
}

/* With the ${size} bytes ${value} at ${offset}, the disk can be read, there are ${count} bitmaps
 * left, and the problem has ${text} in it. */
static void expect(uint64_t offset, uint64_t value, size_t size, uint32_t count, const char *text)
{
    struct qcow2_entry *entries;
    struct bitmaps b;
    uint8_t *bytes, buf[8];

    run("cp good.qcow2 bad.qcow2");
    be64_put(buf, value);
    poke("bad.qcow2", offset, buf + 8 - size, size);
    b = load("bad.qcow2");
    if (b.count != count || !strstr(b.problem, text) || (*text == '\0' && *b.problem != '\0'))
        fail_msg("0x%" PRIx64 " at %" PRIu64 ": %" PRIu32 " bitmaps, \"%s\", not %" PRIu32
                 ", \"%s\"",
                 value, offset, b.count, b.problem, count, text);
    if (qcow2_image_virtual_size(b.image) == 1 << 20) {
        read_everything(b.image, &entries, &bytes);
        free(entries);
        free(bytes);
    }
    clear(&b);
}

static void test_extensions_that_lie(void **state)
{
    (void)state;
    expect(extension, 2, 4, 2, "");
    expect(88, 0, 8, 0, "the bitmaps are not valid");
    expect(extension - 4, 20, 4, 0, "is malformed");
    expect(extension + 4, 1, 4, 0, "is malformed");
    expect(extension, 0, 4, 0, "names 0 bitmaps");
    expect(extension, 65536, 4, 0, "names 65536 bitmaps");
    expect(extension, 3, 4, 0, "cannot have 3 entries");
    expect(extension, 1, 4, 0, "of which 32 are entries");
    expect(extension + 8, 48, 8, 0, "ends within entry 1 at 32");
    expect(extension + 8, dir_size + 8, 8, 0, "of which 64 are entries");
    expect(extension + 8, UINT64_MAX, 8, 0, "cannot have 2 entries");
    expect(extension + 8, 1024 * 65535 + 1, 8, 0, "cannot have 2 entries");
    expect(extension + 16, 0, 8, 0, "the bitmap directory at 0");
    expect(extension + 16, dir + 512, 8, 0, "not aligned to a cluster");
    expect(extension + 16, end, 8, 0, "not inside the file");
    expect(extension + 16, UINT64_MAX & ~UINT64_C(65535), 8, 0, "not inside the file");
}

static void test_directory_entries_that_lie(void **state)
{
    (void)state;
    expect(dir, 0, 8, 1, "bitmap \"first\": its table is not aligned to a cluster, or not inside");
    expect(dir, table + 512, 8, 1, "its table is not aligned");
    expect(dir, end, 8, 1, "or not inside the file");
    expect(dir + 8, 0, 4, 1, "the size of its table is impossible (0)");
    expect(dir + 8, 8193, 4, 1, "the size of its table is impossible (8193)");
    expect(dir + 8, UINT32_MAX, 4, 1, "the size of its table is impossible");
    expect(dir + 12, 8, 4, 1, "it has flags that are not known (8)");
    expect(dir + 12, 1, 4, 2, "");
    expect(second + 16, 2, 1, 1, "bitmap \"second\": its type is not known (2)");
    expect(dir + 17, 8, 1, 1, "its granularity is impossible (8)");
    expect(dir + 17, 32, 1, 1, "its granularity is impossible (32)");
    expect(dir + 17, 31, 1, 2, "");
    expect(dir + 18, 0, 2, 0, "its name is empty"); /* what follows is not where it was */
    expect(dir + 18, 40, 2, 0, "bitmap");           /* swallows the second */
    expect(dir + 18, UINT16_MAX, 2, 0, "the bitmap directory ends within entry 0 at 0");
    expect(dir + 20, UINT32_MAX, 4, 0, "the bitmap directory ends within entry 0 at 0");
    expect(dir + ENTRY, 0, 1, 1, "has a NUL in it");
    expect(dir + ENTRY, 0x1b, 1, 2, "");
    expect(second, table, 8, 0, "two clusters of bitmaps share host offset");
}

static void test_tables_that_lie(void **state)
{
    uint64_t word = peek64("good.qcow2", table);

    (void)state;
    expect(table, word | 1, 8, 1, "bitmap \"first\": a table entry is malformed");
    expect(table, word | 2, 8, 1, "a table entry is malformed");
    expect(table, word | UINT64_C(1) << 63, 8, 1, "a table entry is malformed");
    expect(table, word + 512, 8, 1, "a table entry is malformed");
    expect(table, end, 8, 1, "points out of the file");
    expect(table, peek64("good.qcow2", table_second), 8, 0, "share host offset");
    expect(table, 1, 8, 2, "");
    expect(table, 0, 8, 2, "");
    /* A disk that grew behind the bitmap's back: unless it is of no use anyway. */
    run("cp good.qcow2 keep.qcow2");
    poke64("good.qcow2", 24, UINT64_C(1) << 36);
    poke32("good.qcow2", 36, 128);
    expect(dir + 12, 2, 4, 0, "it does not cover the disk");
    expect(dir + 12, 1, 4, 1, "bitmap \"second\": it does not cover the disk");
    run("mv keep.qcow2 good.qcow2");
}

/* Puts a directory of ${n} entries, as ${dir_bytes} has them, behind the end of bad.qcow2. */
static void put_directory(const uint8_t *bytes, size_t len, uint32_t n)
{
    poke("bad.qcow2", end, bytes, len);
    poke32("bad.qcow2", extension, n);
    poke64("bad.qcow2", extension + 8, len);
    poke64("bad.qcow2", extension + 16, end);
}

static void put_entry(uint8_t *p, uint64_t table_offset, uint32_t table_size, uint32_t flags,
                      uint16_t name_len, uint32_t extra_len)
{
    be64_put(p, table_offset);
    be32_put(p + 8, table_size);
    be32_put(p + 12, flags);
    p[16] = 1;
    p[17] = 16;
    be16_put(p + 18, name_len);
    be32_put(p + 20, extra_len);
}

static void test_extra_data_and_equal_names(void **state)
{
    uint8_t bytes[256] = {0};
    struct bitmaps b;

    (void)state;
    run("cp good.qcow2 bad.qcow2");
    put_entry(bytes, table, 1, QCOW2_BITMAP_EXTRA_COMPATIBLE, 1, 5);
    memcpy(bytes + ENTRY, "extraN", 6);
    put_directory(bytes, ENTRY + 8, 1);
    b = load("bad.qcow2");
    assert_string_equal(b.problem, "");
    assert_int_equal(b.count, 1);
    assert_string_equal(b.array[0].name, "N");
    assert_int_equal(b.array[0].extra_len, 5);
    assert_memory_equal(b.array[0].extra, "extra", 5);
    clear(&b);
    put_entry(bytes + ENTRY + 8, table_second, 1, 0, 1, 0);
    memcpy(bytes + 2 * ENTRY + 8, "N", 1);
    put_directory(bytes, 2 * ENTRY + 16, 2);
    b = load("bad.qcow2");
    assert_string_equal(b.problem, "two bitmaps have the same name");
    assert_int_equal(b.count, 0);
    clear(&b);
}

/* Small files that claim much: many bitmaps of one large table that is a hole. */
static void test_claims_of_size(void **state)
{
    uint32_t n = 65535;
    uint8_t *bytes = calloc(n, ENTRY + 8);
    struct bitmaps b;

    (void)state;
    run("cp good.qcow2 bad.qcow2");
    for (uint32_t i = 0; i < n; i++) {
        put_entry(bytes + (size_t)i * (ENTRY + 8), 16 << 20, 8192, 0, 5, 0);
        snprintf((char *)bytes + (size_t)i * (ENTRY + 8) + ENTRY, 6, "%05u", i);
    }
    put_directory(bytes, (size_t)n * (ENTRY + 8), n);
    assert_int_equal(truncate("bad.qcow2", 64 << 20), 0);
    b = load("bad.qcow2");
    assert_int_equal(b.count, 1024); /* 64 MiB of tables */
    assert_non_null(strstr(b.problem, "bitmap \"01024\": the tables of all bitmaps are too large"));
    assert_non_null(strstr(b.problem, "and 64510 more"));
    clear(&b);
    free(bytes);
}

static int enter(void **state)
{
    if (fixture_enter(state) < 0)
        return -1;
    make_good();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_are_those_of_the_writes),
        cmocka_unit_test(test_clusters_of_ones),
        cmocka_unit_test(test_a_crashed_writer),
        cmocka_unit_test(test_images_without_bitmaps),
        cmocka_unit_test(test_extensions_that_lie),
        cmocka_unit_test(test_directory_entries_that_lie),
        cmocka_unit_test(test_tables_that_lie),
        cmocka_unit_test(test_extra_data_and_equal_names),
        cmocka_unit_test(test_claims_of_size),
    };

    return cmocka_run_group_tests(tests, enter, fixture_leave);
}
