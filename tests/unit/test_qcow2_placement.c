/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writer, where QEMU makes no examples: clusters with two owners, streams that
 * collide, far and impossible places, headers that cannot be, calls in a wrong order.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_content.h"

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void a_cluster_of_two_owners_is_counted_twice(void **state)
{
    struct content c = content_new("cluster_size=4096", "1M", 8), b;
    uint8_t word[8];

    (void)state;
    c.entries[1] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 9 << 12};
    c.entries[5] = c.entries[1];
    c.entries[6] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 10 << 12};
    memset(c.data, 0, c.n * c.cluster_size);
    memset(c.data + 1 * 4096, 1, 4096);
    memset(c.data + 5 * 4096, 1, 4096);
    memset(c.data + 6 * 4096, 6, 4096);
    content_write(&c, "b", PHYSICAL, 8);
    content_check(&c, "b");
    b = content_read("b");
    assert_int_equal(
        pread(b.fd, word, 8,
              (off_t)(qcow2_view_l1(qcow2_image_active(b.image))[0] & 0xfffffffffffe00) + 8),
        8);
    assert_int_equal(be64_get(word), 9 << 12); /* not COPIED */
    assert_int_equal(
        pread(b.fd, word, 8,
              (off_t)(qcow2_view_l1(qcow2_image_active(b.image))[0] & 0xfffffffffffe00) + 48),
        8);
    assert_true(be64_get(word) == (UINT64_C(1) << 63 | 10 << 12));
    content_clear(&b);
    content_clear(&c);
}

static void two_owners_need_two_bits(void **state)
{
    struct content c = content_new("cluster_size=4096,refcount_bits=1", "1M", 2);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    c.entries[0] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 9 << 12};
    c.entries[1] = c.entries[0];
    assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, NULL, &err));
    assert_refused(qcow2_writer_reserve(w, 0, 0, c.entries, 2, &err), ERROR_UNSUPPORTED,
                   "guest cluster 1 at host offset 36864");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

/* Streams over each other (who comes first stays), over data, over a zero cluster's place and over
 * the header. */
static void colliding_streams_move_and_keep_their_bytes(void **state)
{
    struct content c = content_new("cluster_size=4096", "1M", 8);
    struct qcow2_writer_report report;

    (void)state;
    for (int i = 0; i < 7; i++)
        c.entries[i] = (struct qcow2_entry){.class = QCOW2_COMPRESSED, .length = 200};
    c.entries[0].host = 5 << 12;       /* stays */
    c.entries[1].host = (5 << 12) + 5; /* cuts into the one before */
    c.entries[2].host = (8 << 12) - 3; /* ends in the data */
    c.entries[3].host = 100;           /* the header */
    c.entries[4].host = (7 << 12) + 9; /* alone, but not behind the end of the source */
    c.entries[5] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 8 << 12};
    c.entries[6].host = 5 << 12 | 500; /* beside the first two */
    c.entries[7] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 20 << 12};
    report = content_write(&c, "b", PHYSICAL, 8);
    assert_int_equal(report.streams_moved, 3);
    content_check(&c, "b");
    content_clear(&c);
}

static void metadata_takes_the_gaps(void **state)
{
    struct content c = content_new("cluster_size=4096", "1M", 8);
    struct qcow2_writer_report report;

    (void)state;
    /* Free are 1, 3, 4 and 6: L1, L2, refcount table and one block. */
    c.entries[0] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 2 << 12};
    c.entries[1] = (struct qcow2_entry){.class = QCOW2_ZERO_ALLOC, .host = 5 << 12};
    c.entries[2] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 7 << 12};
    memset(c.data + 4096, 0, 4096);
    memset(c.data + 3 * 4096, 0, 5 * 4096);
    report = content_write(&c, "b", PHYSICAL, 8);
    assert_int_equal(report.file_size, 8 << 12);
    content_check(&c, "b");
    content_clear(&c);
}

static void a_sparse_host_file_costs_little(void **state)
{
    struct content c = content_new("cluster_size=65536,refcount_bits=64", "1M", 2);
    struct qcow2_writer_report report;
    struct stat st;

    (void)state;
    c.entries[0] = (struct qcow2_entry){.class = QCOW2_DATA, .host = UINT64_C(1) << 40};
    c.entries[1] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 3 << 16};
    report = content_write(&c, "b", PHYSICAL, 2);
    assert_int_equal(report.file_size, (UINT64_C(1) << 40) + 65536);
    assert_int_equal(stat("b", &st), 0);
    assert_true(st.st_blocks < 8 * 128 * 2);
    content_check(&c, "b");
    content_clear(&c);
}

static void zeros_stay_holes(void **state)
{
    struct content c = content_new("cluster_size=65536", "16M", 200);
    struct qcow2_writer_report report;
    struct stat st;

    (void)state;
    for (uint64_t i = 0; i < c.n; i++)
        c.entries[i] = (struct qcow2_entry){.class = QCOW2_DATA, .host = (i + 8) << 16};
    memset(c.data, 0, c.n * c.cluster_size);
    memset(c.data + 100 * 65536 + 5000, 1, 100);
    report = content_write(&c, "b", PHYSICAL, 64);
    assert_int_equal(report.bytes_written, 4096 + 5 * 65536);
    assert_int_equal(stat("b", &st), 0);
    assert_true(st.st_blocks <= 8 + 5 * 128);
    content_check(&c, "b");
    content_clear(&c);
}

/* With clusters of 2 MiB a descriptor has 49 bits of offset. QEMU is not asked: it would want a
 * gigabyte for the refcounts. */
static void a_stream_too_far_for_its_descriptor_becomes_data(void **state)
{
    struct content c = content_new("cluster_size=2M", "8M", 2);
    struct qcow2_target target = {.fd = memfd_create("target", MFD_CLOEXEC), .name = "target"};
    struct qcow2_writer_report report;
    struct qcow2_image *image = NULL;
    struct qcow2_entry entries[2];
    uint8_t *data = malloc(4 << 20);
    struct error err = {0};
    int fd = dup(target.fd);

    (void)state;
    c.entries[0] =
        (struct qcow2_entry){.class = QCOW2_COMPRESSED, .host = (3 << 21) + 77, .length = 5};
    c.entries[1] = (struct qcow2_entry){.class = QCOW2_ZERO_ALLOC, .host = UINT64_C(1) << 49};
    memset(c.data + (2 << 20), 0, 2 << 20);
    report = content_write_to(&c, target, PHYSICAL, 2);
    assert_int_equal(report.streams_plain, 1);
    assert_int_equal(report.streams_moved, 0);
    assert_ok(qcow2_image_open(&image, fd, "target", report.file_size, NULL, &err));
    assert_ok(qcow2_view_entries(qcow2_image_active(image), 0, 2, entries, &err));
    assert_int_equal(entries[0].class, QCOW2_DATA);
    assert_int_equal(entries[0].host, (UINT64_C(1) << 49) + (2 << 20));
    assert_ok(qcow2_image_read(image, 0, 2, entries, data, &err));
    assert_memory_equal(data, c.data, 4 << 20);
    close_image(image, fd);
    content_clear(&c);
    free(data);
}

static void impossible_entries_are_refused(void **state)
{
    static const struct {
        struct qcow2_entry entry;
        uint64_t at;
        int error;
        const char *text;
    } cases[] = {
        {{.class = QCOW2_DATA, .host = 0}, 0, ERROR_CORRUPT, "host offset 0"},
        {{.class = QCOW2_DATA, .host = 65536 + 512}, 3, ERROR_CORRUPT, "host offset 66048"},
        {{.class = QCOW2_ZERO_ALLOC, .host = 1}, 0, ERROR_CORRUPT, "host offset 1 "},
        {{.class = QCOW2_DATA, .host = UINT64_C(1) << 56}, 0, ERROR_CORRUPT, "impossible"},
        {{.class = QCOW2_DATA, .host = -(UINT64_C(1) << 16)}, 0, ERROR_CORRUPT, "impossible"},
        {{.class = QCOW2_DATA, .host = UINT64_C(1) << 55}, 0, ERROR_UNSUPPORTED, "addressed"},
        {{.class = QCOW2_COMPRESSED, .host = 65536}, 0, ERROR_CORRUPT, "length 0"},
        {{.class = QCOW2_COMPRESSED, .host = 65536, .length = 1 << 20},
         0,
         ERROR_CORRUPT,
         "1048576"},
        {{.class = QCOW2_COMPRESSED, .host = UINT64_MAX, .length = 9},
         0,
         ERROR_CORRUPT,
         "length 9"},
        {{.class = QCOW2_COMPRESSED, .host = UINT64_C(1) << 53, .length = 9},
         0,
         ERROR_UNSUPPORTED,
         "addressed"},
        {{.class = QCOW2_DATA, .host = 65536}, 8192, ERROR_CORRUPT, "beyond the L1"},
        {{.class = QCOW2_DATA, .host = 65536}, UINT64_MAX - 1, ERROR_CORRUPT, "beyond the L1"},
        {{.class = (enum qcow2_class)5, .host = 65536}, 0, ERROR_CORRUPT, "unknown class 5"},
    };
    struct content c = content_new("cluster_size=65536", "1M", 1);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct qcow2_target target = create_target("b");
        struct qcow2_writer *w = NULL;
        struct error err = {0};

        assert_ok(
            qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, NULL, &err));
        assert_refused(qcow2_writer_reserve(w, 0, cases[i].at, &cases[i].entry, 1, &err),
                       cases[i].error, cases[i].text);
        qcow2_writer_free(w);
        close(target.fd);
    }
    content_clear(&c);
}

static void version_2_has_no_zero_clusters(void **state)
{
    struct content c = content_new("compat=0.10", "1M", 1);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    c.entries[0].class = QCOW2_ZERO;
    assert_ok(qcow2_writer_begin_compact(&w, &target, &c.header, &err));
    assert_refused(qcow2_writer_region(w, 0, 0, c.entries, 1, c.data, &err), ERROR_CORRUPT,
                   "version 2");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

static void calls_out_of_order_are_refused(void **state)
{
    struct content c = content_new("cluster_size=65536", "1M", 2);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    c.entries[0] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 5 << 16};
    c.entries[1] = (struct qcow2_entry){.class = QCOW2_DATA, .host = 6 << 16};
    assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, NULL, &err));
    assert_refused(qcow2_writer_region(w, 0, 0, c.entries, 2, c.data, &err), ERROR_USAGE,
                   "reserved");
    assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "");
    assert_ok(qcow2_writer_reserve(w, 0, 0, c.entries, 2, &err));
    assert_refused(qcow2_writer_reserve(w, 0, 1, c.entries, 1, &err), ERROR_USAGE, "behind");
    assert_ok(qcow2_writer_place(w, &err));
    assert_refused(qcow2_writer_place(w, &err), ERROR_USAGE, "order");
    assert_ok(qcow2_writer_region(w, 0, 0, c.entries, 1, c.data, &err));
    assert_refused(qcow2_writer_region(w, 0, 0, c.entries, 1, c.data, &err), ERROR_USAGE, "behind");
    assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "not every");
    c.entries[1].host = 7 << 16;
    assert_refused(qcow2_writer_region(w, 0, 1, c.entries + 1, 1, c.data, &err), ERROR_USAGE,
                   "not reserved");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

static void a_header_that_does_not_fit_is_refused_before_writing(void **state)
{
    struct content c = content_new("cluster_size=512", "1M", 1);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    memset(c.header.backing_file, 'x', 500);
    assert_refused(
        qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, NULL, &err),
        ERROR_NO_SPACE, "target");
    assert_null(w);
    assert_int_equal(lseek(target.fd, 0, SEEK_END), 0);
    close(target.fd);
    content_clear(&c);
}

static void impossible_headers_are_refused(void **state)
{
    struct content c = content_new("cluster_size=65536", "1G", 1);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};
    struct qcow2_header h;

#define refused(field, value, code)                                                                \
    h = c.header;                                                                                  \
    h.field = (value);                                                                             \
    assert_refused(qcow2_writer_begin_compact(&w, &target, &h, &err), (code), "target");           \
    assert_null(w)

    (void)state;
    refused(cluster_bits, 8, ERROR_CORRUPT);
    refused(cluster_bits, 4000000000, ERROR_CORRUPT);
    refused(refcount_order, 7, ERROR_CORRUPT);
    refused(l1_size, 1, ERROR_CORRUPT);
    refused(l1_size, UINT32_MAX, ERROR_CORRUPT);
    refused(size, UINT64_MAX, ERROR_CORRUPT);
    refused(crypt_method, 2, ERROR_UNSUPPORTED);
    refused(incompatible, QCOW2_INCOMPAT_DATA_FILE, ERROR_UNSUPPORTED);
#undef refused
    close(target.fd);
    content_clear(&c);
}

/* Anything anywhere: what QEMU makes of it must be what was meant. */
static void random_placements_are_sound(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        static const char *const kinds[] = {"compat=1.1", "compression_type=zstd"};
        uint32_t random = seed * 7919, bits = 9 + seed % 4, spread = 4U << seed % 9;
        unsigned width = 1U << next_random(&random) % 7;
        struct qcow2_writer_report report;
        struct content c;
        char options[128];

        snprintf(options, sizeof(options), "cluster_size=%u,refcount_bits=%u,%s", 1U << bits, width,
                 kinds[next_random(&random) % 2]);
        c = content_new(options, "512k", (512 << 10) >> bits);
        for (uint64_t i = 0; i < c.n; i++) {
            struct qcow2_entry *e = &c.entries[i];
            uint8_t *data = c.data + i * c.cluster_size;

            e->class = (enum qcow2_class)(next_random(&random) % 5);
            e->host = (1 + i * 3 + next_random(&random) % 3) << bits; /* of one owner */
            if (e->class == QCOW2_COMPRESSED) {
                e->host = c.cluster_size + next_random(&random) % (spread << bits);
                e->length = 1 + next_random(&random) % (2 * c.cluster_size);
                fill_random(data, next_random(&random) % (c.cluster_size + 1), seed + i);
            }
            if (e->class == QCOW2_UNALLOCATED || e->class == QCOW2_ZERO)
                e->host = 0;
            if (e->class != QCOW2_DATA && e->class != QCOW2_COMPRESSED)
                memset(data, 0, c.cluster_size);
        }
        report = content_write(&c, "b", PHYSICAL, 1 + next_random(&random) % 100);
        assert_true(report.file_size % c.cluster_size == 0);
        content_check(&c, "b");
        content_write(&c, "b", COMPACT, 1 + next_random(&random) % 100);
        content_check(&c, "b");
        content_clear(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_of_two_owners_is_counted_twice),
        cmocka_unit_test(two_owners_need_two_bits),
        cmocka_unit_test(colliding_streams_move_and_keep_their_bytes),
        cmocka_unit_test(metadata_takes_the_gaps),
        cmocka_unit_test(a_sparse_host_file_costs_little),
        cmocka_unit_test(zeros_stay_holes),
        cmocka_unit_test(a_stream_too_far_for_its_descriptor_becomes_data),
        cmocka_unit_test(impossible_entries_are_refused),
        cmocka_unit_test(version_2_has_no_zero_clusters),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(a_header_that_does_not_fit_is_refused_before_writing),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(random_placements_are_sound),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
