/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writer, held against QEMU: images that qemu-img and qemu-io made are read
 * by our reader, written in both layouts, checked and compared by qemu-img.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_content.h"

/* No error and no leak, and the same bytes. */
static void check_copy(const char *source, const char *copy)
{
    run("qemu-img check -q -f qcow2 %s", copy);
    run("qemu-img compare -s -f qcow2 -F qcow2 %s %s", source, copy);
}

static void check_same_map(const char *source, const char *copy)
{
    run("qemu-img map -f qcow2 --output=json %s >map1 &&"
        "qemu-img map -f qcow2 --output=json %s >map2 && diff map1 map2",
        source, copy);
}

/*
 * An image of ${clusters} clusters and a half, written in an order that leaves nothing in
 * guest order on the host, of all classes that its version knows.
 */
static void make_image(const char *name, const char *options, size_t cluster, unsigned clusters)
{
    unsigned half = clusters / 2, quarter = clusters / 4;
    bool v3 = strstr(options, "compat=0.10") == NULL;

#define AT(n) ((size_t)(n)*cluster)
    run("rm -f %s; qemu-img create -q -f qcow2 -o cluster_size=%zu,%s %s %zu", name, cluster,
        options, name, AT(clusters) + cluster / 2);
    /* Compressed: a text-like pattern, in streams of some length. */
    run("yes 'a cow, a shed, and %s' | head -c %zu >text", name, AT(6));
    for (unsigned i = 0; i < 3; i++)
        run("qemu-io -f qcow2 -c 'write -q -c -s text %zu %zu' %s", AT(half + 2 * i), AT(2), name);
    run("qemu-io -f qcow2 -c 'write -q -P 0x11 %zu %zu' -c 'write -q -P 0x22 0 %zu' "
        "-c 'write -q -P 0x33 %zu %zu' %s",
        AT(clusters), cluster / 2, AT(3), AT(quarter), AT(4), name);
    run("qemu-io -f qcow2 -c 'write -q -c -P 0x44 %zu %zu' "
        "-c 'write -q -P 0x55 %zu %zu' -c 'discard -q %zu %zu' %s",
        AT(quarter + 6), AT(1), AT(half + 8), AT(3), AT(1), AT(1), name);
    if (v3) /* zero-alloc, then zero */
        run("qemu-io -f qcow2 -c 'write -q -z %zu %zu' -c 'write -q -z %zu %zu' %s", AT(half + 9),
            AT(1), AT(quarter + 8), AT(2), name);
#undef AT
}

static const struct {
    size_t cluster;
    unsigned clusters; /* more than an L2 table's, where that is not too much */
} sizes[] = {{512, 700}, {4096, 1200}, {65536, 60}, {2 << 20, 60}};

static const char *const kinds[] = {"compat=0.10", "compat=1.1", "compat=1.1,compression_type=zstd",
                                    "compat=1.1,lazy_refcounts=on"};

static void physical_keeps_places_and_bytes(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
            struct qcow2_writer_report report;
            struct content a, b;

            make_image("a", kinds[k], sizes[s].cluster, sizes[s].clusters);
            a = content_read("a");
            report = content_write(&a, "b", PHYSICAL, 64);
            check_copy("a", "b");
            check_same_map("a", "b");
            assert_int_equal(report.streams_moved, 0);
            assert_int_equal(report.streams_plain, 0);
            b = content_read("b");
            assert_memory_equal(a.entries, b.entries, a.n * sizeof(*a.entries));
            content_clear(&b);
            content_clear(&a);
        }
}

static void compact_keeps_classes_and_bytes(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
            struct content a, b;

            make_image("a", kinds[k], sizes[s].cluster, sizes[s].clusters);
            a = content_read("a");
            content_write(&a, "b", COMPACT, 64);
            check_copy("a", "b");
            b = content_read("b");
            for (uint64_t i = 0; i < a.n; i++)
                assert_int_equal(a.entries[i].class, b.entries[i].class);
            content_clear(&b);
            content_clear(&a);
        }
}

/* convert packs streams tightly, several at once: each must find its old place to the byte. */
static void a_converted_image_keeps_every_stream(void **state)
{
    static const char *const types[] = {"zlib", "zstd"};

    (void)state;
    run("cat $(command -v qemu-img) $(command -v qemu-io) | head -c 6M >raw");
    for (size_t i = 0; i < 2; i++)
        for (size_t cluster = 4096; cluster <= 1 << 20; cluster *= 16) {
            struct qcow2_writer_report report;
            struct content a, b;

            run("qemu-img convert -c -W -f raw -O qcow2 -o cluster_size=%zu,compression_type=%s "
                "raw a",
                cluster, types[i]);
            a = content_read("a");
            report = content_write(&a, "b", PHYSICAL, 64);
            assert_int_equal(report.streams_moved, 0);
            assert_int_equal(report.streams_plain, 0);
            check_copy("a", "b");
            b = content_read("b");
            assert_memory_equal(a.entries, b.entries, a.n * sizeof(*a.entries));
            content_clear(&b);
            content_clear(&a);
        }
}

static void regions_of_any_size_give_the_same_file(void **state)
{
    static const size_t steps[] = {1, 7, 64, 1000};
    struct content a;

    (void)state;
    make_image("a", "compat=1.1", 512, 700);
    a = content_read("a");
    for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
        content_write(&a, "b", (enum layout)layout, 100000);
        for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
            content_write(&a, "c", (enum layout)layout, steps[i]);
            run("cmp b c");
        }
    }
    content_clear(&a);
}

static void all_refcount_widths(void **state)
{
    char options[64];

    (void)state;
    for (unsigned bits = 1; bits <= 64; bits *= 2) {
        struct content a;

        snprintf(options, sizeof(options), "refcount_bits=%u", bits);
        for (size_t cluster = 512; cluster <= 65536; cluster *= 128) {
            make_image("a", options, cluster, 700);
            a = content_read("a");
            assert_int_equal(1 << a.header.refcount_order, bits);
            content_write(&a, "b", PHYSICAL, 64);
            check_copy("a", "b");
            check_same_map("a", "b");
            content_write(&a, "b", COMPACT, 64);
            check_copy("a", "b");
            content_clear(&a);
        }
    }
}

/* As if our encoder did worse than the one that made the image. */
static void streams_that_grew_go_behind_the_end(void **state)
{
    char options[64];

    (void)state;
    for (unsigned bits = 1; bits <= 16; bits *= 2) {
        struct qcow2_writer_report report;
        struct content a, b;
        uint64_t streams = 0, end = 0;

        snprintf(options, sizeof(options), "refcount_bits=%u", bits);
        make_image("a", options, 4096, 1200);
        a = content_read("a");
        for (uint64_t i = 0; i < a.n; i++) {
            if (a.entries[i].host >= end)
                end = a.entries[i].host + a.cluster_size;
            if (a.entries[i].class != QCOW2_COMPRESSED)
                continue;
            a.entries[i].length--;
            streams++;
        }
        report = content_write(&a, "b", PHYSICAL, 64);
        assert_int_equal(report.streams_moved, streams);
        check_copy("a", "b");
        b = content_read("b");
        for (uint64_t i = 0; i < a.n; i++) {
            assert_int_equal(a.entries[i].class, b.entries[i].class);
            if (a.entries[i].class == QCOW2_COMPRESSED)
                assert_true(b.entries[i].host >= end);
            else
                assert_int_equal(a.entries[i].host, b.entries[i].host);
        }
        content_clear(&b);
        content_clear(&a);
    }
}

/* Many small streams in one host cluster, as many as its refcount can count. */
static void packed_streams_respect_the_refcount_width(void **state)
{
    struct content a, b;
    struct qcow2_header header;

    (void)state;
    run("rm -f a r; truncate -s 4M r &&"
        "for i in $(seq 0 63); do yes $i | dd of=r bs=1 seek=$((i*65536)) "
        "count=4 conv=notrunc status=none; done;"
        "qemu-img convert -c -f raw -O qcow2 r a");
    a = content_read("a");
    header = a.header;
    for (uint32_t order = 0; order <= 6; order++) {
        unsigned most = order < 5 ? (1U << (1 << order)) - 1 : 64;

        a.header.refcount_order = order;
        for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
            content_write(&a, "b", (enum layout)layout, 64);
            check_copy("a", "b");
            b = content_read("b");
            for (uint64_t i = 0; i < b.n; i++) {
                unsigned in_cluster = 0;

                for (uint64_t j = 0; j < b.n; j++)
                    if (b.entries[j].class == QCOW2_COMPRESSED &&
                        b.entries[j].host >> 16 == b.entries[i].host >> 16)
                        in_cluster++;
                assert_true(in_cluster <= most);
            }
            content_clear(&b);
        }
    }
    a.header = header;
    content_clear(&a);
}

static void a_stream_that_does_not_shrink_becomes_data(void **state)
{
    (void)state;
    for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
        struct qcow2_writer_report report;
        struct content a, b;

        make_image("a", "compat=1.1", 4096, 1200);
        a = content_read("a");
        for (uint64_t i = 0; i < a.n; i++)
            if (a.entries[i].class == QCOW2_COMPRESSED) {
                fill_random(a.data + i * a.cluster_size, a.cluster_size, (uint32_t)i);
                break;
            }
        report = content_write(&a, "b", (enum layout)layout, 64);
        assert_int_equal(report.streams_plain, 1);
        assert_int_equal(report.streams_moved, 0);
        run("qemu-img check -q b");
        b = content_read("b");
        assert_memory_equal(a.data, b.data, a.n * a.cluster_size);
        content_clear(&b);
        content_clear(&a);
    }
}

/* A device is not empty, cannot be extended, and nothing on it may look like an image too early. */
static void on_a_device_zeros_are_written(void **state)
{
    (void)state;
    for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
        struct content a;
        struct qcow2_target target;
        struct qcow2_writer *w = NULL;
        struct error err = {0};
        uint8_t magic[4];

        make_image("a", "compat=1.1", 4096, 1200);
        run("qemu-io -c 'write -q -P 0 3M 64k' a");
        a = content_read("a");
        run("qemu-img create -q -f qcow2 b 1M;"
            "head -c 8M /dev/zero | tr '\\0' '\\252' >>b");
        target.fd = open("b", O_RDWR | O_CLOEXEC);
        target.name = "device";
        target.is_device = 1;
        assert_true(target.fd >= 0);
        assert_ok(qcow2_writer_begin_compact(&w, &target, &a.header, &err));
        assert_int_equal(pread(target.fd, magic, 4, 0), 4);
        assert_memory_equal(magic, "\0\0\0", 4);
        qcow2_writer_free(w);

        content_write_to(&a, target, (enum layout)layout, 64);
        check_copy("a", "b");
        content_clear(&a);
    }
}

static void a_device_too_small_is_refused(void **state)
{
    struct content a;
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    make_image("a", "compat=1.1", 4096, 1200);
    a = content_read("a");
    target.is_device = 1;
    assert_int_equal(ftruncate(target.fd, 64 << 10), 0);
    assert_ok(qcow2_writer_begin_physical(&w, &target, &a.header, a.header_cluster, NULL, &err));
    assert_ok(qcow2_writer_reserve(w, 0, 0, a.entries, a.n, &err));
    assert_refused(qcow2_writer_place(w, &err), ERROR_NO_SPACE, "only 65536");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&a);
}

static void overlay_and_header_survive(void **state)
{
    struct content a, b;

    (void)state;
    run("rm -f a base; qemu-img create -q -f qcow2 base 4M;"
        "qemu-io -c 'write -q -P 7 0 1M' base;"
        "qemu-img create -q -f qcow2 -b base -F qcow2 a;"
        "qemu-io -c 'write -q -P 8 64k 128k' -c 'write -q -z 256k 64k' a");
    a = content_read("a");
    for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
        content_write(&a, "b", (enum layout)layout, 64);
        check_copy("a", "b");
        b = content_read("b");
        assert_string_equal(b.header.backing_file, "base");
        assert_string_equal(b.header.backing_format, "qcow2");
        if (layout == PHYSICAL)
            assert_int_equal(b.header.nb_extensions, a.header.nb_extensions);
        content_clear(&b);
    }
    content_clear(&a);
}

/* What was true of the source's refcounts and of foreign data is not said of the copy's. */
static void only_true_features_are_written(void **state)
{
    struct content a, b;

    (void)state;
    make_image("a", "compat=1.1,lazy_refcounts=on", 4096, 1200);
    poke64("a", 72, QCOW2_INCOMPAT_DIRTY);
    poke64("a", 80, QCOW2_COMPAT_LAZY_REFCOUNTS | 1 << 9);
    poke64("a", 88, 1 << 7);
    a = content_read("a");
    content_write(&a, "b", PHYSICAL, 64);
    b = content_read("b");
    assert_int_equal(b.header.incompatible, 0);
    assert_int_equal(b.header.compatible, QCOW2_COMPAT_LAZY_REFCOUNTS | 1 << 9);
    assert_int_equal(b.header.autoclear, 0);
    content_clear(&b);
    content_clear(&a);
    check_copy("a", "b");
}

static void an_empty_disk_and_a_wide_l1(void **state)
{
    static const char *const sizes_of[] = {"0", "512", "1T"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        run("rm -f a; qemu-img create -q -f qcow2 -o cluster_size=4096 a %s", sizes_of[i]);
        for (int layout = PHYSICAL; layout <= COMPACT; layout++) {
            struct qcow2_target target = create_target("b");
            struct qcow2_writer *w = NULL;
            struct error err = {0};
            struct content a = {0};

            a.fd = open("a", O_RDONLY | O_CLOEXEC);
            assert_ok(qcow2_image_open(&a.image, a.fd, "a", (uint64_t)lseek(a.fd, 0, SEEK_END),
                                       NULL, &err));
            if (layout == COMPACT) {
                assert_ok(
                    qcow2_writer_begin_compact(&w, &target, qcow2_image_header(a.image), &err));
            } else {
                assert_ok(qcow2_writer_begin_physical(&w, &target, qcow2_image_header(a.image),
                                                      qcow2_image_header_cluster(a.image), NULL,
                                                      &err));
                assert_ok(qcow2_writer_place(w, &err));
            }
            assert_ok(qcow2_writer_finish(w, NULL, &err));
            qcow2_writer_free(w);
            close(target.fd);
            check_copy("a", "b");
            content_clear(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(physical_keeps_places_and_bytes),
        cmocka_unit_test(compact_keeps_classes_and_bytes),
        cmocka_unit_test(a_converted_image_keeps_every_stream),
        cmocka_unit_test(regions_of_any_size_give_the_same_file),
        cmocka_unit_test(all_refcount_widths),
        cmocka_unit_test(streams_that_grew_go_behind_the_end),
        cmocka_unit_test(packed_streams_respect_the_refcount_width),
        cmocka_unit_test(a_stream_that_does_not_shrink_becomes_data),
        cmocka_unit_test(on_a_device_zeros_are_written),
        cmocka_unit_test(a_device_too_small_is_refused),
        cmocka_unit_test(overlay_and_header_survive),
        cmocka_unit_test(only_true_features_are_written),
        cmocka_unit_test(an_empty_disk_and_a_wide_l1),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
