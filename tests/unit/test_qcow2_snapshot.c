/* SPDX-License-Identifier: BSD-2-Clause */
/* Internal snapshots: the table, and each as a view of its own. The oracle is what qemu-img makes
 * of a copy after "snapshot -a". */
#include "qcow2/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_fixture.h"

#define COPIED (UINT64_C(1) << 63)

enum { FIXED = 40 };

/* Three snapshots, two of one name, before and after a resize (which version 2 does not have); then
 * the disk goes on. Returns the size of the disk in the first. */
static uint64_t make_image(const char *options)
{
    bool resized = !strstr(options, "0.10");

    run("rm -f s.qcow2; qemu-img create -q -f qcow2 -o %s s.qcow2 %s", options,
        resized ? "2M" : "5M");
    run("qemu-io -f qcow2 -c 'write -P 1 0 512k' -c 'write -c -P 2 512k 64k' s.qcow2");
    run("qemu-img snapshot -c twin s.qcow2");
    run("qemu-io -f qcow2 -c 'write -P 3 64k 128k' -c 'discard 0 64k' s.qcow2");
    run("qemu-img snapshot -c twin s.qcow2");
    run("qemu-img snapshot -c 'n\303\244me / with more' s.qcow2");
    run("qemu-img snapshot -d 'n\303\244me / with more' s.qcow2");
    if (resized)
        run("qemu-img resize -q s.qcow2 5M");
    run("qemu-io -f qcow2 -c 'write -P 4 4M 1M' -c 'write -P 5 512k 64k' s.qcow2");
    run("qemu-img snapshot -c 'n\303\244me / with more' s.qcow2");
    run("qemu-io -f qcow2 -c 'write -P 6 4M 64k' -c 'write %s 128k 64k' s.qcow2",
        resized ? "-z" : "-P 0");
    return (resized ? 2 : 5) << 20;
}

/* The bytes of ${view} are those of the disk after snapshot ${id} ("": none) was applied. */
static void compare_view(struct qcow2_image *image, struct qcow2_view *view, const char *id)
{
    struct qcow2_entry *entries;
    uint8_t *bytes, *raw;
    size_t len;

    run("cp s.qcow2 applied.qcow2");
    if (*id)
        run("qemu-img snapshot -a %s applied.qcow2", id);
    run("qemu-img convert -f qcow2 -O raw applied.qcow2 oracle.raw");
    raw = slurp("oracle.raw", &len);
    assert_int_equal(len, qcow2_view_disk_size(view));
    read_view(image, view, &entries, &bytes);
    assert_memory_equal(raw, bytes, len);
    free(raw);
    free(entries);
    free(bytes);
}

static void test_views_are_what_was_saved(void **state)
{
    static const char *const options[] = {
        "compat=1.1,cluster_size=64k",     "compat=1.1,cluster_size=4k,compression_type=zstd",
        "compat=0.10,cluster_size=64k",    "compat=1.1,cluster_size=512",
        "extended_l2=on,cluster_size=16k",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct qcow2_snapshot *s;
        struct qcow2_image *image;
        struct qcow2_view *view;
        struct error err;
        uint64_t first_size;
        uint32_t n;
        int fd;

        first_size = make_image(options[i]);
        image = open_image("s.qcow2", &fd);
        qcow2_image_snapshots(image, &s, &n);
        assert_int_equal(n, 3);
        assert_string_equal(s[0].id, "1");
        assert_string_equal(s[1].id, "2");
        assert_string_equal(s[0].name, "twin");
        assert_string_equal(s[1].name, "twin");
        assert_string_equal(s[2].name, "n\303\244me / with more");
        assert_int_equal(s[0].disk_size, first_size);
        assert_int_equal(s[2].disk_size, 5 << 20);
        assert_int_equal(s[0].vm_state_size, 0);
        assert_true(s[0].has_icount); /* qemu-img says 0, not "none" */
        assert_int_equal(s[0].icount, 0);
        assert_true(s[0].date_sec > 1700000000);
        compare_view(image, qcow2_image_active(image), "");
        for (uint32_t v = 0; v <= n; v++) {
            assert_int_equal(qcow2_view_open(&view, image, v, &err), 0);
            compare_view(image, view, v ? s[v - 1].id : "");
            if (v > 0)
                assert_int_equal(qcow2_view_l1_size(view), s[v - 1].l1_size);
            qcow2_view_close(view);
        }
        assert_int_equal(qcow2_view_open(&view, image, n + 1, &err), ERROR_USAGE);
        assert_null(view);
        close_image(image, fd);
    }
}

/* What views share has the same place in all of them. */
static void test_shared_clusters(void **state)
{
    struct qcow2_entry a, b;
    struct qcow2_image *image;
    struct qcow2_view *view;
    struct error err;
    int fd;

    (void)state;
    make_image("cluster_size=64k");
    image = open_image("s.qcow2", &fd);
    assert_int_equal(qcow2_view_open(&view, image, 1, &err), 0);
    assert_int_equal(qcow2_view_entries(view, 4, 1, &a, &err), 0);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 4, 1, &b, &err), 0);
    assert_int_equal(a.class, QCOW2_DATA);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(qcow2_view_entries(view, 8, 1, &a, &err), 0);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 8, 1, &b, &err), 0);
    assert_int_equal(a.class, QCOW2_COMPRESSED);
    assert_int_equal(b.class, QCOW2_DATA);
    qcow2_view_close(view);
    close_image(image, fd);
}

/* As savevm leaves it: behind the end of the disk, from the next L1 entry on. */
static void test_vm_state(void **state)
{
    const struct qcow2_snapshot *s;
    struct qcow2_entry entries[2];
    struct qcow2_image *image;
    struct qcow2_view *view;
    uint8_t bytes[2 * 4096];
    struct error err;
    uint64_t table;
    uint32_t n;
    int fd;

    (void)state;
    run("rm -f v.qcow2; qemu-img create -q -f qcow2 -o cluster_size=4k v.qcow2 6M");
    run("qemu-io -f qcow2 -c 'write -P 1 0 64k' -c 'write -P 9 4M 8k' v.qcow2");
    poke64("v.qcow2", 24, (3 << 20) + 512);
    run("qemu-img snapshot -c vm v.qcow2");
    table = peek64("v.qcow2", 64);
    poke64("v.qcow2", table + 24, 123456789); /* vm clock */
    poke32("v.qcow2", table + 32, 77);        /* which the larger field overrides */
    poke64("v.qcow2", table + FIXED, (UINT64_C(1) << 32) + 5000);
    poke64("v.qcow2", table + FIXED + 16, 4711);
    image = open_image("v.qcow2", &fd);
    qcow2_image_snapshots(image, &s, &n);
    assert_int_equal(n, 1);
    assert_int_equal(s->vm_state_size, (UINT64_C(1) << 32) + 5000);
    assert_int_equal(s->vm_clock, 123456789);
    assert_true(s->has_icount);
    assert_int_equal(s->icount, 4711);
    assert_int_equal(s->disk_size, (3 << 20) + 512);
    assert_int_equal(s->l1_size, 3);
    assert_int_equal(qcow2_view_open(&view, image, 1, &err), 0);
    assert_int_equal(qcow2_view_clusters(view), 3 * 512);
    assert_int_equal(qcow2_view_next_table(view, 512), 1024);
    assert_int_equal(qcow2_view_entries(view, 1024, 2, entries, &err), 0);
    assert_int_equal(qcow2_image_read(image, 1024, 2, entries, bytes, &err), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 9);
    qcow2_view_close(view);
    close_image(image, fd);
}

/* An entry with ${extra_len} bytes of extra data, in ${buf}; returns its length. */
static size_t make_entry(uint8_t *buf, uint32_t extra_len, const char *id, const char *name)
{
    size_t at = FIXED;

    memset(buf, 0, FIXED);
    be64_put(buf, 0x10000);
    be32_put(buf + 8, 7);
    be16_put(buf + 12, (uint16_t)strlen(id));
    be16_put(buf + 14, (uint16_t)strlen(name));
    be32_put(buf + 16, 1111);
    be32_put(buf + 20, 2222);
    be64_put(buf + 24, 3333);
    be32_put(buf + 32, 4444);
    be32_put(buf + 36, extra_len);
    for (uint32_t i = 0; i < extra_len; i++)
        buf[at++] = (uint8_t)(i & 7 ? 0 : 1); /* each field is 1 << 56, but for */
    if (extra_len >= 16)
        be64_put(buf + FIXED + 8, 8192);
    memcpy(buf + at, id, strlen(id));
    at += strlen(id);
    memcpy(buf + at, name, strlen(name));
    return at + strlen(name);
}

static void test_entries_of_any_extra_data(void **state)
{
    static const uint32_t lengths[] = {0, 4, 8, 15, 16, 20, 24, 32, 33, 1024};
    uint8_t table[2048], again[2048];
    struct qcow2_snapshot *s;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = make_entry(table, lengths[i], "17", "na\001me");

        assert_int_equal(qcow2_snapshots_decode(&s, 1, table, len, 4096, &err), 0);
        assert_int_equal(s->l1_offset, 0x10000);
        assert_int_equal(s->l1_size, 7);
        assert_int_equal(s->date_sec, 1111);
        assert_int_equal(s->date_nsec, 2222);
        assert_int_equal(s->vm_clock, 3333);
        assert_int_equal(s->vm_state_size, lengths[i] >= 8 ? UINT64_C(1) << 56 : 4444);
        assert_int_equal(s->disk_size, lengths[i] >= 16 ? 8192 : 4096);
        assert_int_equal(s->has_icount, lengths[i] >= 24);
        assert_string_equal(s->id, "17");
        assert_string_equal(s->name, "na\001me");
        assert_int_equal(s->raw_len, len);
        /* Everything is kept but the place of the L1. */
        memset(again, 0xff, sizeof(again));
        qcow2_snapshot_encode(again, s, 0x770000);
        assert_int_equal(qcow2_snapshot_size(s), (len + 7) / 8 * 8);
        assert_int_equal(be64_get(again), 0x770000);
        assert_memory_equal(again + 8, table + 8, len - 8);
        for (size_t at = len; at < qcow2_snapshot_size(s); at++)
            assert_int_equal(again[at], 0);
        qcow2_snapshots_free(s, 1);
    }
}

static void expect_table(const uint8_t *table, size_t len, uint32_t count, const char *message)
{
    struct qcow2_snapshot *s;
    struct error err = {0};
    uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees a read past its end */

    memcpy(copy, table, len);
    if (qcow2_snapshots_decode(&s, count, copy, len, 4096, &err) != ERROR_CORRUPT ||
        !strstr(err.message, message))
        fail_msg("%zu bytes: %d \"%s\", not \"%s\"", len, err.code, err.message, message);
    assert_null(s);
    free(copy);
}

static void test_tables_that_lie(void **state)
{
    struct qcow2_snapshot *s;
    uint8_t table[512] = {0};
    size_t first, len;
    struct error err;

    (void)state;
    first = make_entry(table, 24, "1", "first");
    len = (first + 7) / 8 * 8;
    len += make_entry(table + len, 0, "22", "second");
    assert_int_equal(qcow2_snapshots_decode(&s, 2, table, len, 4096, &err), 0);
    assert_string_equal(s[1].name, "second");
    qcow2_snapshots_free(s, 2);
    /* What pads the last one may be there. */
    assert_int_equal(qcow2_snapshots_decode(&s, 2, table, (len + 7) / 8 * 8, 4096, &err), 0);
    qcow2_snapshots_free(s, 2);
    for (size_t cut = 0; cut < len; cut++)
        expect_table(table, cut, 2, "the table ends within it");
    expect_table(table, len, 3, "entry 2 at");
    expect_table(table, len, 1, "of which 70 are entries");
    expect_table(table, (len + 7) / 8 * 8 + 8, 2, "are entries");
    expect_table(table, len, QCOW2_MAX_SNAPSHOTS + 1, "too many");
    be32_put(table + 36, 1025);
    expect_table(table, len, 2, "entry 0 at 0 of the snapshot table: 1025 bytes of extra data");
    be32_put(table + 36, 24);
    be64_put(table + FIXED + 8, UINT64_C(1) << 63);
    expect_table(table, len, 2, "no disk has");
}

static void copy_good(void)
{
    run("cp s.qcow2 bad.qcow2");
}

static void test_tables_in_a_file_that_lie(void **state)
{
    uint64_t table;
    size_t len;

    (void)state;
    make_image("cluster_size=64k");
    free(slurp("s.qcow2", &len));
    table = peek64("s.qcow2", 64);
    copy_good();
    poke32("bad.qcow2", table + 36, 1025);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "1025 bytes of extra data");
    copy_good();
    poke32("bad.qcow2", table + 36, UINT32_MAX);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "is above 67108864 bytes");
    copy_good();
    poke64("bad.qcow2", table + FIXED + 8, UINT64_MAX);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "entry 0 at 0 of the snapshot table: no disk");
    copy_good();
    poke32("bad.qcow2", 60, 65537);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "the snapshot table at");
    copy_good();
    poke64("bad.qcow2", 64, table + 512);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "not aligned");
    copy_good();
    poke64("bad.qcow2", 64, (len + 65535) / 65536 * 65536);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "ends beyond the file");
    /* The first entry would end behind the file. */
    copy_good();
    poke64("bad.qcow2", 64, 0x1000000);
    assert_int_equal(truncate("bad.qcow2", 0x1000000 + 200), 0);
    poke32("bad.qcow2", 0x1000000 + 12, 65535);
    expect_open("bad.qcow2", NULL, ERROR_CORRUPT, "bad.qcow2");
    /* Entries of nothing, as many as there may be, with a table that is a hole. */
    copy_good();
    assert_int_equal(truncate("bad.qcow2", 64 << 20), 0);
    poke64("bad.qcow2", 64, 16 << 20);
    poke32("bad.qcow2", 60, 65536);
    expect_open("bad.qcow2", NULL, 0, "");
}

/* After ${value} (${size} bytes) is put at ${offset}, the image opens, its first snapshot does not:
 * the message has ${message}. */
static void expect_view(uint64_t offset, uint64_t value, size_t size, const char *message)
{
    struct qcow2_image *image;
    struct qcow2_view *view;
    struct error err = {0};
    int fd;

    copy_good();
    if (size == 8)
        poke64("bad.qcow2", offset, value);
    else
        poke32("bad.qcow2", offset, (uint32_t)value);
    image = open_image("bad.qcow2", &fd);
    if (qcow2_view_open(&view, image, 1, &err) != ERROR_CORRUPT || !strstr(err.message, message) ||
        !strstr(err.message, "bad.qcow2: entry 0 of the snapshot table"))
        fail_msg("0x%" PRIx64 " at %" PRIu64 ": %d \"%s\", not \"%s\"", value, offset, err.code,
                 err.message, message);
    assert_null(view);
    close_image(image, fd);
}

/* Nobody looks at the L1 of a snapshot before it is wanted. */
static void test_l1_tables_that_lie(void **state)
{
    struct qcow2_entry entry;
    struct qcow2_image *image;
    struct qcow2_view *view;
    uint64_t table, l1, l2;
    struct error err;
    size_t len;
    int fd;

    (void)state;
    make_image("cluster_size=64k");
    free(slurp("s.qcow2", &len));
    table = peek64("s.qcow2", 64);
    l1 = peek64("s.qcow2", table);
    l2 = peek64("s.qcow2", l1) & ~COPIED;
    expect_view(table, 0, 8, "the L1 table at 0 lies over the header");
    expect_view(table, l1 + 512, 8, "is not aligned to a cluster");
    expect_view(table, (len + 65535) / 65536 * 65536, 8, "ends beyond the file");
    expect_view(table, UINT64_MAX & ~UINT64_C(65535), 8, "ends beyond the file");
    expect_view(table + 8, (4 << 20) + 1, 4, "has 4194305 entries, too many");
    expect_view(table + 8, 4 << 20, 4, "ends beyond the file");
    expect_view(l1, l2 + 512, 8, "L1 entry 0 at");
    expect_view(l1, (len + 65535) / 65536 * 65536, 8, "ends beyond the file");

    /* All of them would read one large L1. */
    copy_good();
    poke32("bad.qcow2", table + 8, 4096);
    poke32("bad.qcow2", (table + FIXED + 24 + 5 + 7) / 8 * 8 + 8, 4 << 20);
    image = open_image("bad.qcow2", &fd);
    assert_int_equal(qcow2_view_open(&view, image, 1, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "bad.qcow2: the L1 tables of its 3 snapshots would have"));
    close_image(image, fd);

    copy_good();
    poke64("bad.qcow2", l2 + 16, COPIED | (UINT64_C(1) << 40));
    image = open_image("bad.qcow2", &fd);
    assert_int_equal(qcow2_view_open(&view, image, 1, &err), 0);
    assert_int_equal(qcow2_view_entries(view, 2, 1, &entry, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "bad.qcow2: entry 0 of the snapshot table: guest cluster 2,"
                                        " L2 entry at"));
    qcow2_view_close(view);
    close_image(image, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_are_what_was_saved),
        cmocka_unit_test(test_shared_clusters),
        cmocka_unit_test(test_vm_state),
        cmocka_unit_test(test_entries_of_any_extra_data),
        cmocka_unit_test(test_tables_that_lie),
        cmocka_unit_test(test_tables_in_a_file_that_lie),
        cmocka_unit_test(test_l1_tables_that_lie),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
