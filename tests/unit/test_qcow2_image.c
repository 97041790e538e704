/* SPDX-License-Identifier: BSD-2-Clause */
/* The reader against QEMU: the same bytes as qemu-img convert, the same classes and host offsets
 * as qemu-img map. */
#include "qcow2/image.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "qcow2_fixture.h"

enum { FIXED_CLUSTERS = 40 };

struct variant {
    const char *options;
    size_t cluster_size;
    bool zeros; /* has zero clusters (version 3) */
};

static const struct variant variants[] = {
    {"compat=1.1,cluster_size=512", 512, true},
    {"compat=0.10,cluster_size=512", 512, false},
    {"compat=1.1,cluster_size=1024,compression_type=zstd", 1024, true},
    {"compat=1.1,cluster_size=4096,refcount_bits=64", 4096, true},
    {"compat=0.10,cluster_size=4096", 4096, false},
    {"compat=1.1,cluster_size=64k", 65536, true},
    {"compat=0.10,cluster_size=64k", 65536, false},
    {"compat=1.1,cluster_size=64k,compression_type=zstd,lazy_refcounts=on", 65536, true},
    {"compat=1.1,cluster_size=256k,refcount_bits=8", 262144, true},
    {"compat=1.1,cluster_size=2M", 2 << 20, true},
    {"compat=1.1,cluster_size=2M,compression_type=zstd", 2 << 20, true},
};

/* One image with every kind of cluster; its disk ends within a cluster. */
static void make_image(const struct variant *v, const char *name)
{
    size_t cs = v->cluster_size, size = FIXED_CLUSTERS * cs - (cs > 512 ? 512 : 0);
    uint8_t *noise = malloc(3 * cs);

    fill_random(noise, 3 * cs, cs);
    spill("noise", noise, 3 * cs);
    for (size_t i = 0; i < 3 * cs; i++)
        noise[i] &= 0x11; /* compresses, and streams do not end at a sector */
    spill("text", noise, 3 * cs);
    free(noise);
    run("rm -f %s; qemu-img create -q -f qcow2 -o %s %s %zu", name, v->options, name, size);
    run("qemu-io -f qcow2 -c 'write -s noise 0 %zu' -c 'write -P 0x11 %zu %zu' "
        "-c 'write -c -P 0x22 %zu %zu' -c 'write -c -s text %zu %zu' -c 'write -c -s text %zu %zu' "
        "-c 'write -c -s noise %zu %zu' -c 'write -z %zu %zu' -c 'write -P 0x55 %zu %zu' "
        "-c 'write -z %zu %zu' -c 'discard %zu %zu' -c 'write -P 0x33 %zu 512' "
        "-c 'write -P 0x44 %zu 512' %s",
        3 * cs, 5 * cs, 2 * cs, 8 * cs, cs, 9 * cs, cs, 10 * cs, cs, 11 * cs, cs, 13 * cs, 2 * cs,
        16 * cs, 2 * cs, 16 * cs, cs, 5 * cs, cs, 20 * cs + cs / 2, size - 512, name);
}

/* The bytes that ${name} and what is below it read as. */
static void compare_bytes(const char *name, struct qcow2_image *image, const uint8_t *bytes)
{
    size_t len;
    uint8_t *raw;

    run("qemu-img convert -f qcow2 -O raw %s oracle.raw", name);
    raw = slurp("oracle.raw", &len);
    assert_int_equal(len, qcow2_image_virtual_size(image));
    assert_memory_equal(raw, bytes, len);
    free(raw);
}

static uint64_t number_after(const char *line, const char *key)
{
    const char *p = strstr(line, key);

    assert_non_null(p);
    return strtoull(p + strlen(key), NULL, 10);
}

/* Each cluster is what the extents of qemu-img map have; it does not say which zeros own a host
 * cluster. */
static void compare_map(const char *name, const struct qcow2_entry *entries, size_t n,
                        size_t cluster_size)
{
    char *map = output_of("qemu-img map -f qcow2 --output=json %s", name);
    char *save, *line = strtok_r(map, "\n", &save);
    size_t i = 0;

    for (; line; line = strtok_r(NULL, "\n", &save)) {
        uint64_t start, length, host = 0;
        bool zero = strstr(line, "\"zero\": true") != NULL;
        bool data = strstr(line, "\"data\": true") != NULL;
        bool offset = strstr(line, "\"offset\": ") != NULL;

        start = number_after(line, "\"start\": ");
        length = number_after(line, "\"length\": ");
        if (offset)
            host = number_after(line, "\"offset\": ");
        /* extents end where the host file has holes, too */
        assert_true(start <= i * cluster_size);
        for (; i < n && i * cluster_size < start + length; i++) {
            const struct qcow2_entry *e = &entries[i];

            if (data && offset) {
                assert_int_equal(e->class, QCOW2_DATA);
                assert_int_equal(e->host, host + (i * cluster_size - start));
            } else if (data) {
                assert_int_equal(e->class, QCOW2_COMPRESSED);
            } else {
                assert_true(zero);
                assert_true(e->class == QCOW2_UNALLOCATED || e->class == QCOW2_ZERO ||
                            e->class == QCOW2_ZERO_ALLOC);
            }
        }
    }
    assert_int_equal(i, n);
    free(map);
}

static void check_classes(const struct variant *v, const struct qcow2_entry *e)
{
    assert_int_equal(e[0].class, QCOW2_DATA);
    assert_int_equal(e[4].class, QCOW2_UNALLOCATED);
    assert_int_equal(e[6].class, QCOW2_DATA);
    assert_int_equal(e[8].class, QCOW2_COMPRESSED);
    assert_int_equal(e[9].class, QCOW2_COMPRESSED);
    assert_int_equal(e[11].class, QCOW2_DATA);
    assert_int_equal(e[FIXED_CLUSTERS - 1].class, QCOW2_DATA);
    if (!v->zeros)
        return;
    assert_int_equal(e[5].class, QCOW2_ZERO);
    assert_int_equal(e[13].class, QCOW2_ZERO);
    assert_int_equal(e[13].host, 0);
    assert_int_equal(e[16].class, QCOW2_ZERO_ALLOC);
    assert_int_not_equal(e[16].host, 0);
}

static void test_every_class_and_cluster_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        struct qcow2_entry *entries;
        struct qcow2_image *image;
        uint8_t *bytes;
        size_t n;
        int fd;

        make_image(&variants[i], "v.qcow2");
        image = open_image("v.qcow2", &fd);
        n = read_everything(image, &entries, &bytes);
        assert_int_equal(n, FIXED_CLUSTERS);
        check_classes(&variants[i], entries);
        compare_bytes("v.qcow2", image, bytes);
        compare_map("v.qcow2", entries, n, variants[i].cluster_size);
        assert_true(qcow2_image_metadata_read(image) >= 2 * variants[i].cluster_size);
        assert_true(qcow2_image_data_read(image) >= 8 * variants[i].cluster_size);
        free(entries);
        free(bytes);
        close_image(image, fd);
    }
}

/* After a read the length of a compressed entry is true: it is enough, and less is not. */
static void test_length_of_a_stream(void **state)
{
    uint8_t bytes[65536], again[65536];
    struct qcow2_entry entry, bound;
    struct qcow2_image *image;
    struct error err;
    int fd;

    (void)state;
    make_image(&variants[5], "l.qcow2");
    image = open_image("l.qcow2", &fd);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 9, 1, &entry, &err), 0);
    bound = entry;
    assert_int_equal(qcow2_image_read(image, 9, 1, &entry, bytes, &err), 0);
    assert_true(entry.length < bound.length && entry.length + 512 > bound.length);
    assert_int_equal(qcow2_image_read(image, 9, 1, &entry, again, &err), 0);
    assert_memory_equal(bytes, again, sizeof(bytes));
    entry.length -= 4; /* of the last, the output needs only some bits */
    assert_int_equal(qcow2_image_read(image, 9, 1, &entry, again, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "l.qcow2: guest cluster 9: compressed, at host offset"));
    close_image(image, fd);
}

/* Entries of any range are those of the whole, over table borders and past the end of the L1. */
static void test_ranges_over_many_tables(void **state)
{
    struct qcow2_entry *all, *part;
    struct qcow2_image *image;
    uint8_t *bytes, *more;
    struct error err;
    size_t n;
    int fd;

    (void)state;
    run("rm -f m.qcow2; qemu-img create -q -f qcow2 -o cluster_size=512 m.qcow2 4M");
    run("qemu-io -f qcow2 -c 'write -P 1 0 1M' -c 'write -P 2 1234k 333k' -c 'write -z 2M 5k' "
        "-c 'write -P 3 3M 512' -c 'write -P 4 4095k 1k' m.qcow2");
    image = open_image("m.qcow2", &fd);
    n = read_everything(image, &all, &bytes);
    assert_int_equal(n, 8192);
    compare_bytes("m.qcow2", image, bytes);
    compare_map("m.qcow2", all, n, 512);
    part = calloc(n + 1000, sizeof(*part));
    more = malloc((n + 1000) * 512);
    for (size_t first = 0; first < n; first += 997) {
        size_t len = first * 7 % 3000 + 1;

        memset(part, 0xff, (n + 1000) * sizeof(*part));
        if (len > n - first + 1000)
            len = n - first + 1000;
        assert_int_equal(qcow2_view_entries(qcow2_image_active(image), first, len, part, &err), 0);
        assert_int_equal(qcow2_image_read(image, first, len, part, more, &err), 0);
        for (size_t i = 0; i < len; i++)
            if (first + i < n)
                assert_memory_equal(&part[i], &all[first + i], sizeof(*part));
            else
                assert_int_equal(part[i].class, QCOW2_UNALLOCATED);
        if (len > n - first)
            len = n - first;
        assert_memory_equal(more, bytes + first * 512, len * 512);
    }
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), UINT64_MAX - 2, 2, part, &err),
                     0);
    assert_int_equal(part[1].class, QCOW2_UNALLOCATED);
    free(part);
    free(more);
    free(all);
    free(bytes);
    close_image(image, fd);
}

static void test_absent_tables_are_stepped_over(void **state)
{
    const uint64_t per_table = 8192; /* 64 KiB clusters */
    struct qcow2_image *image;
    int fd;

    (void)state;
    run("rm -f s.qcow2; qemu-img create -q -f qcow2 s.qcow2 1T");
    run("qemu-io -f qcow2 -c 'write 1G 64k' -c 'write 700G 64k' s.qcow2");
    image = open_image("s.qcow2", &fd);
    assert_int_equal(qcow2_view_clusters(qcow2_image_active(image)), (UINT64_C(1) << 40) / 65536);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 0), 2 * per_table);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 2 * per_table + 5),
                     2 * per_table + 5);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 3 * per_table),
                     1400 * per_table);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 1401 * per_table),
                     qcow2_view_clusters(qcow2_image_active(image)));
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), UINT64_MAX),
                     qcow2_view_clusters(qcow2_image_active(image)));
    close_image(image, fd);
}

static void test_an_empty_disk(void **state)
{
    struct qcow2_image *image;
    struct qcow2_entry entry;
    struct error err;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 e.qcow2 0");
    /* Other writers store no L1 at all. */
    poke32("e.qcow2", 36, 0);
    poke64("e.qcow2", 40, 0);
    image = open_image("e.qcow2", &fd);
    assert_int_equal(qcow2_image_virtual_size(image), 0);
    assert_int_equal(qcow2_view_clusters(qcow2_image_active(image)), 0);
    assert_int_equal(qcow2_view_next_table(qcow2_image_active(image), 0), 0);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 0, 1, &entry, &err), 0);
    assert_int_equal(entry.class, QCOW2_UNALLOCATED);
    close_image(image, fd);
}

/* A size that is no multiple of a sector is rounded down, as QEMU does it. */
static void test_odd_sizes(void **state)
{
    struct qcow2_image *image;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 o.qcow2 1M");
    poke64("o.qcow2", 24, 1048476);
    image = open_image("o.qcow2", &fd);
    assert_int_equal(qcow2_image_virtual_size(image), 1048064);
    close_image(image, fd);
}

/* QEMU pads nothing: the last cluster and the last stream may end with the file. */
static void test_a_file_that_ends_within_its_last_cluster(void **state)
{
    struct qcow2_entry *entries;
    struct qcow2_image *image;
    uint8_t *bytes;
    size_t len, n;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 p.qcow2 1M && qemu-io -f qcow2 -c 'write -P 7 0 192k' "
        "p.qcow2");
    free(slurp("p.qcow2", &len));
    assert_int_equal(truncate("p.qcow2", (off_t)len - 65536 + 1000), 0);
    image = open_image("p.qcow2", &fd);
    n = read_everything(image, &entries, &bytes);
    assert_int_equal(n, 16);
    assert_int_equal(bytes[131072 + 999], 7);
    assert_int_equal(bytes[131072 + 1000], 0);
    compare_bytes("p.qcow2", image, bytes);
    free(entries);
    free(bytes);
    close_image(image, fd);

    run("rm -f p.qcow2; qemu-img create -q -f qcow2 p.qcow2 1M && "
        "qemu-io -f qcow2 -c 'write -c -P 7 0 64k' p.qcow2");
    image = open_image("p.qcow2", &fd);
    read_everything(image, &entries, &bytes);
    assert_int_equal(truncate("p.qcow2", (off_t)(entries[0].host + entries[0].length)), 0);
    free(entries);
    free(bytes);
    close_image(image, fd);
    image = open_image("p.qcow2", &fd);
    read_everything(image, &entries, &bytes);
    compare_bytes("p.qcow2", image, bytes);
    free(entries);
    free(bytes);
    close_image(image, fd);
}

/* A writer that crashed: the dirty bit says that refcounts are old, not that the tables are. */
static void test_a_dirty_image(void **state)
{
    struct qcow2_image *image;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 -o lazy_refcounts=on d.qcow2 1M");
    poke64("d.qcow2", 72, QCOW2_INCOMPAT_DIRTY);
    image = open_image("d.qcow2", &fd);
    assert_int_equal(qcow2_image_header(image)->incompatible, QCOW2_INCOMPAT_DIRTY);
    close_image(image, fd);
}

static void test_what_is_lent_by_the_image(void **state)
{
    struct qcow2_image *image;
    size_t len;
    uint8_t *file;
    int fd;

    (void)state;
    run("rm -f h.qcow2; qemu-img create -q -f qcow2 h.qcow2 4M && "
        "qemu-io -f qcow2 -c 'write 0 64k' h.qcow2");
    image = open_image("h.qcow2", &fd);
    file = slurp("h.qcow2", &len);
    assert_memory_equal(qcow2_image_header_cluster(image), file, 65536);
    assert_int_equal(qcow2_view_l1(qcow2_image_active(image))[0],
                     peek64("h.qcow2", qcow2_image_header(image)->l1_offset));
    free(file);
    close_image(image, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_class_and_cluster_size),
        cmocka_unit_test(test_length_of_a_stream),
        cmocka_unit_test(test_ranges_over_many_tables),
        cmocka_unit_test(test_absent_tables_are_stepped_over),
        cmocka_unit_test(test_an_empty_disk),
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_a_file_that_ends_within_its_last_cluster),
        cmocka_unit_test(test_a_dirty_image),
        cmocka_unit_test(test_what_is_lent_by_the_image),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
