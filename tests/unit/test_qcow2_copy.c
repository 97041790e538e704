/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole images with bitmaps, data files, subclusters and unknown header bytes,
 * copied and held against the original by QEMU.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_copy.h"

static void bitmaps_come_back(void **state)
{
    (void)state;
    for (size_t cluster = 512; cluster <= 65536; cluster *= 128) {
        run("set -e; rm -f a; qemu-img create -q -f qcow2 -o cluster_size=%zu a 64M;"
            "qemu-img bitmap --add a one; qemu-img bitmap --add -g 512 a two;"
            "qemu-img bitmap --add -g 2M --disable a 'drei ä';"
            "qemu-io -c 'write -q -P 1 0 3M' -c 'write -q -P 2 33M 64k' -c 'write -q 50M 7k' a;"
            "qemu-img bitmap --add a empty",
            cluster);
        copy_image("a", NULL, "b", NULL, 64);
        assert_same_views("a", NULL, "b", NULL);
        run("set -e; qemu-img check -q b; qemu-img compare -q -s a b");
        same_description("a", "b");
        for (int i = 0; i < 4; i++) {
            static const char *const names[] = {"one", "two", "drei ä", "empty"};
            uint8_t *x, *y;
            size_t n, m;

            /* What QEMU makes of them: the bits that it merges into a bitmap of another image. */
            for (int f = 0; f < 2; f++)
                run("set -e; rm -f m%d; qemu-img create -q -f qcow2 -o cluster_size=4096 m%d 64M;"
                    "qemu-img bitmap --add -g 512 m%d x;"
                    "qemu-img bitmap --merge '%s' -F qcow2 -b %s m%d x",
                    f, f, f, names[i], f ? "b" : "a", f);
            x = slurp("m0", &n);
            y = slurp("m1", &m);
            assert_int_equal(n, m);
            assert_memory_equal(x, y, n);
            free(x);
            free(y);
        }
        run("set -e; qemu-img bitmap --remove b two; qemu-io -c 'write -q -P 3 20M 1M' b;"
            "qemu-img check -q b");
    }
}

/* Restored as they were, and not in the header where there are none. */
static void bitmaps_that_were_dropped_leave_nothing(void **state)
{
    struct content b;

    (void)state;
    run("set -e; rm -f a; qemu-img create -q -f qcow2 a 4M; qemu-img bitmap --add a one;"
        "qemu-io -c 'write -q -P 1 0 1M' a");
    poke64("a", 88, 1 << 5); /* the bitmaps are not valid, and something unknown is */
    copy_image("a", NULL, "b", NULL, 64);
    b = content_read("b");
    assert_int_equal(b.header.autoclear, 0);
    for (uint32_t i = 0; i < b.header.nb_extensions; i++)
        assert_int_not_equal(b.header.extensions[i].type, QCOW2_EXT_BITMAPS);
    content_clear(&b);
    run("set -e; qemu-img check -q b; qemu-img compare -q -s a b");
}

static void bitmaps_out_of_order_are_refused(void **state)
{
    struct content c = content_new("compat=1.1", "1M", 1), old;
    char long_name[1025];
    struct qcow2_bitmap bitmap = {
        .name = (char[]){"x"}, .granularity_bits = 16, .type = 1, .table_size = 2};
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, NULL, &err));
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_USAGE, "order");
    assert_ok(qcow2_writer_place(w, &err));
    assert_refused(qcow2_writer_bitmap_cluster(w, QCOW2_BITMAP_ONES, NULL, &err), ERROR_USAGE,
                   "order");
    bitmap.table_size = 0;
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_CORRUPT, "size");
    bitmap.table_size = (512 << 20) / 65536 + 1;
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_CORRUPT, "size");
    bitmap.table_size = 2;
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    bitmap.name = long_name;
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_CORRUPT, "name");
    bitmap.name = (char[]){"x"};
    assert_ok(qcow2_writer_bitmap_begin(w, &bitmap, &err));
    assert_ok(qcow2_writer_bitmap_cluster(w, QCOW2_BITMAP_ONES, NULL, &err));
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_USAGE, "order");
    assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "not complete");
    qcow2_writer_free(w);
    close(target.fd);

    old = content_new("compat=0.10", "1M", 1);
    target = create_target("b");
    assert_ok(qcow2_writer_begin_physical(&w, &target, &old.header, NULL, NULL, &err));
    assert_ok(qcow2_writer_place(w, &err));
    assert_refused(qcow2_writer_bitmap_begin(w, &bitmap, &err), ERROR_CORRUPT, "version 2");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&old);
    content_clear(&c);
}

/* As allocated, and without storing zeros. */
static void preallocation_comes_back(void **state)
{
    static const char *const kinds[] = {"metadata", "falloc", "full"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct stat st;

        run("set -e; rm -f a; qemu-img create -q -f qcow2 -o preallocation=%s a 16M;"
            "qemu-io -c 'write -q -P 1 1M 64k' a",
            kinds[i]);
        copy_image("a", NULL, "b", NULL, 16);
        assert_same_views("a", NULL, "b", NULL);
        assert_int_equal(stat("b", &st), 0);
        assert_true(st.st_blocks <= 8 * 128);
        /* By the blocks of the whole file QEMU guesses whether holes are worth a look. */
        if (i > 0)
            run("fallocate -l $(stat -c %%s b) b");
        run("set -e; qemu-img check -q b; qemu-img compare -q -s a b");
    }
}

static void data_files_come_back(void **state)
{
    static const char *const kinds[] = {"data_file_raw=off", "data_file_raw=on",
                                        "data_file_raw=off,extended_l2=on",
                                        "data_file_raw=off,preallocation=metadata"};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        bool raw = strstr(kinds[i], "raw=on") != NULL;

        run("set -e; rm -f a a.raw b b.raw; qemu-img create -q -f qcow2 -o data_file=a.raw,%s a "
            "10000k;"
            "qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 5M 100k' -c 'write -q -z 512k 64k' "
            "-c 'write -q -P 3 9936k 64k' a; qemu-img bitmap --add a m",
            kinds[i]);
        copy_image("a", "a.raw", "b", "b.raw", 16);
        assert_same_views("a", "a.raw", "b", "b.raw");
        /* Not strictly: how much of the small qcow2 file is holes, decides what QEMU tells of those
         * in raw data. */
        run("set -e; qemu-img check -q b; qemu-img compare -q a b;"
            "qemu-img info b | grep -q 'data file: b.raw';"
            "qemu-img info b | grep -q 'data file raw: %s'",
            raw ? "true" : "false");
        /* Where it is the disk, it is the same; else what lies below zero clusters is nobody's. */
        if (raw)
            run("cmp a.raw b.raw");
        same_description("a", "b");
        run("set -e; qemu-io -c 'write -q -P 9 2M 1M' -c 'read -q -P 1 0 512k' b; qemu-img check "
            "-q b");
    }
}

static void impossible_data_files_are_refused(void **state)
{
    static const struct {
        struct qcow2_entry entry;
        uint64_t at;
    } cases[] = {
        {{.class = QCOW2_DATA, .host = 2 << 16}, 1},
        {{.class = QCOW2_ZERO_ALLOC, .host = 0}, 1},
        {{.class = QCOW2_COMPRESSED, .host = 65536, .length = 9}, 1},
        {{.class = QCOW2_DATA, .host = 9 << 16}, 9},
    };
    struct qcow2_writer_options options = {.views = 1, .data_size = 9 << 16};
    struct qcow2_writer *w = NULL;
    struct qcow2_target target;
    struct error err = {0};
    struct image_file a;

    (void)state;
    run("set -e; rm -f a a.raw; qemu-img create -q -f qcow2 -o data_file=a.raw a 1M");
    a = image_file_open("a", "a.raw");
    target = create_target("b");
    target.data_fd = -1;
    assert_refused(qcow2_writer_begin_physical(&w, &target, qcow2_image_header(a.image),
                                               qcow2_image_header_cluster(a.image), &options, &err),
                   ERROR_USAGE, "data file is missing");
    target.data_fd = target.fd;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_ok(qcow2_writer_begin_physical(&w, &target, qcow2_image_header(a.image),
                                              qcow2_image_header_cluster(a.image), &options, &err));
        assert_refused(qcow2_writer_reserve(w, 0, cases[i].at, &cases[i].entry, 1, &err),
                       ERROR_CORRUPT, "impossible");
        qcow2_writer_free(w);
    }
    close(target.fd);
    image_file_close(&a);
}

/* Every mix of allocated, zero and untouched subclusters, over a backing file that shows. */
static void subclusters_come_back(void **state)
{
    static const size_t clusters[] = {16384, 65536, 2 << 20};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t sub = clusters[i] / 32;
        struct content a;

        run("set -e; rm -f a base; qemu-img create -q -f qcow2 base 24M; qemu-io -c 'write -q -P 9 "
            "0 24M' "
            "base;"
            "qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=%zu -b base -F qcow2 a",
            clusters[i]);
        run("set -e; qemu-io -c 'write -q -P 1 0 %zu' -c 'write -q -P 2 %zu %zu' -c 'write -q -z "
            "%zu %zu' "
            "-c 'write -q -P 3 %zu %zu' -c 'write -q -z %zu %zu' -c 'discard -q %zu %zu' "
            "-c 'write -q -c -P 4 %zu %zu' a",
            sub, 5 * sub, 3 * sub, 7 * sub, 2 * sub, 64 * sub, 40 * sub, 96 * sub, 33 * sub,
            130 * sub, 2 * sub, 192 * sub, 32 * sub);
        copy_image("a", NULL, "b", NULL, 16);
        assert_same_views("a", NULL, "b", NULL);
        run("set -e; qemu-img check -q b; qemu-img compare -q -s a b;"
            "qemu-img map --output=json a >x; qemu-img map --output=json b >y; "
            "sed -i 's/\"[ab]\"/image/' x y; diff x y");
        a = content_read("a");
        content_write(&a, "c", COMPACT, 16);
        content_clear(&a);
        run("set -e; qemu-img check -q c; qemu-img compare -q -s a c");
    }
}

static void impossible_subclusters_are_refused(void **state)
{
    static const struct qcow2_entry cases[] = {
        {.class = QCOW2_DATA, .host = 9 << 16, .sub_alloc = 3, .sub_zero = 6},
        {.class = QCOW2_DATA, .host = 9 << 16, .sub_zero = UINT32_MAX},
        {.class = QCOW2_ZERO_ALLOC, .host = 9 << 16, .sub_zero = 1},
        {.class = QCOW2_ZERO, .sub_alloc = 1, .sub_zero = 2},
        {.class = QCOW2_ZERO},
        {.class = QCOW2_COMPRESSED, .host = 9 << 16, .length = 10, .sub_alloc = 1},
    };
    struct content c = content_new("extended_l2=on", "1M", 1);
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct qcow2_target target = create_target("b");
        struct qcow2_writer *w = NULL;

        assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, NULL, &err));
        assert_refused(qcow2_writer_reserve(w, 0, 0, &cases[i], 1, &err), ERROR_CORRUPT,
                       "subclusters");
        qcow2_writer_free(w);
        close(target.fd);
    }
    content_clear(&c);
}

/* Bytes of the header that nobody knows, an extension that nobody knows, and the corrupt bit. */
static void what_is_unknown_is_kept(void **state)
{
    struct image_file b;
    uint8_t *file;

    (void)state;
    run("set -e; rm -f a; qemu-img create -q -f qcow2 a 1M; qemu-io -c 'write -q -P 1 0 64k' a");
    file = slurp("a", NULL);
    assert_int_equal(be32_get(file + 100), 112);
    /* The feature names go; in their place 16 bytes of a longer header, and an extension. */
    memset(file + 112, 0, 1024);
    be32_put(file + 100, 128);
    memcpy(file + 116, "unknown", 7);
    be32_put(file + 128, 0x11223344);
    be32_put(file + 132, 5);
    memcpy(file + 136, "hello", 5);
    poke("a", 0, file, 1024 + 112);
    free(file);
    poke64("a", 72, QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY);
    poke64("a", 80, 1 << 20);
    poke64("a", 88, 1 << 20);
    copy_image("a", NULL, "b", NULL, 16);
    file = slurp("b", NULL);
    assert_int_equal(be64_get(file + 72), QCOW2_INCOMPAT_CORRUPT);
    assert_int_equal(be64_get(file + 80), 1 << 20);
    assert_int_equal(be64_get(file + 88), 0);
    assert_int_equal(be32_get(file + 100), 128);
    assert_memory_equal(file + 116, "unknown", 7);
    assert_memory_equal(file + 136, "hello", 5);
    free(file);
    b = image_file_open("b", NULL);
    assert_int_equal(qcow2_image_header(b.image)->nb_extensions, 1);
    image_file_close(&b);
    run("set -e; qemu-img info b | grep -q 'corrupt: true'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitmaps_come_back),
        cmocka_unit_test(bitmaps_that_were_dropped_leave_nothing),
        cmocka_unit_test(bitmaps_out_of_order_are_refused),
        cmocka_unit_test(preallocation_comes_back),
        cmocka_unit_test(data_files_come_back),
        cmocka_unit_test(impossible_data_files_are_refused),
        cmocka_unit_test(subclusters_come_back),
        cmocka_unit_test(impossible_subclusters_are_refused),
        cmocka_unit_test(what_is_unknown_is_kept),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
