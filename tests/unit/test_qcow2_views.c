/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writer with internal snapshots: images of qemu-img and qemu-io are copied
 * and held against the original by qemu-img, snapshot by snapshot.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_copy.h"

/* No error and no leak; the same bytes, classes, places, snapshots (of these ${names}, quoted for a
 * shell) and description. */
static void judge(const char *a, const char *b, uint32_t snapshots, const char *names)
{
    run("set -e; qemu-img check -q -f qcow2 %s", b);
    run("set -e; qemu-img compare -q -s -f qcow2 -F qcow2 %s %s", a, b);
    run("set -e; for f in %s %s; do qemu-img map -f qcow2 --output=json $f >$f.map;"
        "qemu-img snapshot -l $f >$f.list;"
        "qemu-img info --output=json $f | grep -v '\"filename\"\\|\"actual-size\"' >$f.info; done;"
        "diff %s.map %s.map && diff %s.list %s.list && diff %s.info %s.info",
        a, b, a, b, a, b, a, b);
    for (uint32_t id = 1; id <= snapshots; id++)
        run("set -e; cp %s x && cp %s y && qemu-img snapshot -a %u x && qemu-img snapshot -a %u y "
            "&&"
            "qemu-img check -q y && qemu-img compare -q -s x y",
            a, b, id, id);
    /* That what is shared is counted as shared: they can go. */
    run("set -e; cp %s y; for name in %s; do qemu-img snapshot -d \"$name\" y; done;"
        "qemu-img check -q y; qemu-img compare -q -s %s y",
        b, names, a);
}

#define NAMES "one one 'mit Kühen/äußerst lang' 4"

static void make_image(const char *name, const char *options, size_t cluster)
{
    bool v3 = strstr(options, "compat=0.10") == NULL;

#define AT(n) ((size_t)(n)*cluster)
    run("set -e; rm -f %s; qemu-img create -q -f qcow2 -o cluster_size=%zu,%s %s %zu", name,
        cluster, options, name, AT(300) + cluster / 2);
    run("set -e; yes 'a herd of %s' | head -c %zu >text", name, AT(6));
    run("set -e; qemu-io -f qcow2 -c 'write -q -P 0x11 0 %zu' -c 'write -q -P 0x12 %zu %zu' %s",
        AT(20), AT(200), AT(30), name);
    for (unsigned i = 0; i < 3; i++)
        run("set -e; qemu-io -f qcow2 -c 'write -q -c -s text %zu %zu' %s", AT(100 + 2 * i), AT(2),
            name);
    run("set -e; qemu-img snapshot -c one %s", name);
    run("set -e; qemu-io -f qcow2 -c 'write -q -P 0x21 %zu %zu' -c 'write -q -P 0x22 %zu %zu' "
        "-c 'write -q -c -P 0x23 %zu %zu' -c 'discard -q %zu %zu' %s",
        AT(5), AT(2) + cluster / 2, AT(101), AT(2), AT(120), AT(1), AT(203), AT(2), name);
    run("set -e; qemu-img snapshot -c one %s", name);
    if (v3)
        run("set -e; qemu-io -f qcow2 -c 'write -q -z %zu %zu' -c 'write -q -z %zu %zu' %s;"
            "qemu-img resize -q -f qcow2 %s %zu",
            AT(1), AT(3), AT(210), AT(5), name, name, AT(900));
    run("set -e; qemu-img snapshot -c 'mit Kühen/äußerst lang' %s", name);
    if (v3)
        run("set -e; qemu-io -f qcow2 -c 'write -q -P 0x31 %zu %zu' %s", AT(850), AT(9), name);
    run("set -e; qemu-img snapshot -c 4 %s; qemu-img snapshot -a 2 %s;"
        "qemu-io -f qcow2 -c 'write -q -P 0x41 %zu %zu' %s",
        name, name, AT(240), AT(1), name);
#undef AT
}

static void snapshots_come_back(void **state)
{
    static const char *const kinds[] = {
        "compat=0.10",     "compat=1.1",       "compression_type=zstd",
        "refcount_bits=4", "refcount_bits=64", "lazy_refcounts=on",
    };
    static const size_t clusters[] = {512, 4096, 65536};

    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (size_t c = 0; c < 3; c++) {
            struct qcow2_writer_report report;

            make_image("a", kinds[k], clusters[c]);
            report = copy_image("a", NULL, "b", NULL, 64);
            assert_int_equal(report.streams_moved, 0);
            assert_int_equal(report.streams_plain, 0);
            assert_same_views("a", NULL, "b", NULL);
            judge("a", "b", 4, NAMES);
        }
}

static void subclusters_of_snapshots_come_back(void **state)
{
    (void)state;
    make_image("a", "extended_l2=on", 65536);
    /* Parts of clusters that views share, and parts that they do not. */
    run("set -e; qemu-io -f qcow2 -c 'write -q -P 0x51 2k 6k' -c 'write -q -z 8k 4k' "
        "-c 'write -q -P 0x52 16M 2k' a;"
        "qemu-img snapshot -c parts a;"
        "qemu-io -f qcow2 -c 'write -q -z 2k 2k' -c 'write -q -P 0x53 16388k 2k' a");
    copy_image("a", NULL, "b", NULL, 64);
    assert_same_views("a", NULL, "b", NULL);
    judge("a", "b", 5, NAMES " parts");
}

static void regions_of_any_size_and_order_give_the_same_file(void **state)
{
    static const size_t steps[] = {1, 7, 1000};

    (void)state;
    make_image("a", "compat=1.1", 512);
    copy_image("a", NULL, "b", NULL, 64);
    for (size_t i = 0; i < 3; i++) {
        copy_image("a", NULL, "c", NULL, steps[i]);
        run("set -e; cmp b c");
    }
}

/* One L2 table covers all of the disk: whole it is shared by both, changed it is not. */
static void equal_tables_are_shared(void **state)
{
    struct image_file b;

    (void)state;
    run("set -e; rm -f a; qemu-img create -q -f qcow2 a 1G; qemu-io -c 'write -q -P 1 0 1M' "
        "-c 'write -q -P 2 512M 1M' a; qemu-img snapshot -c s a; qemu-img snapshot -c t a;"
        "qemu-io -c 'write -q -P 3 600M 64k' a");
    copy_image("a", NULL, "b", NULL, 64);
    judge("a", "b", 2, "s t");
    b = image_file_open("b", NULL);
    for (uint32_t i = 1; i <= 2; i++) {
        const uint64_t *active = qcow2_view_l1(b.views[0]), *l1 = qcow2_view_l1(b.views[i]);

        assert_true(l1[0] == active[0] && l1[0] >> 63 == 0);
        assert_true(l1[1] != active[1] && l1[1] >> 63 == 0 && active[1] >> 63 == 1);
    }
    assert_int_equal(qcow2_view_l1(b.views[1])[1], qcow2_view_l1(b.views[2])[1]);
    image_file_close(&b);
}

/*
 * As savevm leaves it: the snapshot's L1 goes on behind its disk, with the state of the machine,
 * and the active one has zero clusters there. qemu-img makes no such thing, so a disk is written to
 * its end and shortened by hand.
 */
static void a_machines_state_comes_back(void **state)
{
    uint64_t table;
    struct qcow2_writer_report report;
    struct image_file f;

    (void)state;
    run("set -e; rm -f a; qemu-img create -q -f qcow2 -o cluster_size=4096 a 8M;"
        "qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 9 4M 3M' a; qemu-img snapshot -c vm a;"
        "qemu-io -c 'write -q -z 4M 3M' -c 'write -q -P 2 0 64k' a");
    f = image_file_open("a", NULL);
    table = qcow2_image_header(f.image)->snapshots_offset;
    assert_int_equal(f.snapshots[0].raw_len, 40 + 24 + 1 + 2);
    image_file_close(&f);
    poke64("a", 24, 4 << 20);
    poke32("a", table + 32, 3 << 20);
    poke64("a", table + 40, 3 << 20);
    poke64("a", table + 48, 4 << 20);
    poke64("a", table + 56, 12345);
    report = copy_image("a", NULL, "b", NULL, 64);
    assert_true(report.bytes_written >= 4 << 20);
    assert_same_views("a", NULL, "b", NULL);
    judge("a", "b", 1, "vm");
    run("set -e; qemu-img snapshot -l b | grep -q ' 3 MiB .* 12345'");
    f = image_file_open("b", NULL);
    assert_int_equal(f.snapshots[0].vm_state_size, 3 << 20);
    assert_int_equal(f.snapshots[0].icount, 12345);
    image_file_close(&f);
    run("set -e; qemu-img snapshot -a vm b");
    poke64("b", 24, 8 << 20);
    run("set -e; qemu-io -c 'read -q -P 9 4M 3M' -c 'read -q -P 1 0 1M' b");
}

/* What each host cluster and each stream holds, is said by its place alone. */
static void fill_by_place(const struct qcow2_entry *e, uint8_t *data, size_t size)
{
    memset(data, 0, size);
    if (e->class == QCOW2_DATA)
        fill_random(data, size, e->host);
    if (e->class == QCOW2_COMPRESSED)
        fill_random(data, (e->host ^ e->length) % (size / 2) + 1, e->host * 4096 + e->length);
}

enum { RANDOM_VIEWS = 5, RANDOM_CLUSTERS = 600 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void random_entry(struct qcow2_entry *e, uint64_t at, uint32_t view, size_t size,
                         uint32_t *seed)
{
    *e = (struct qcow2_entry){.class = (enum qcow2_class)(next_random(seed) % 5)};
    if (e->class == QCOW2_DATA || e->class == QCOW2_ZERO_ALLOC)
        e->host = (1 + at * RANDOM_VIEWS + view) * size;
    if (e->class == QCOW2_COMPRESSED) {
        e->host = size + next_random(seed) % (RANDOM_CLUSTERS * size);
        e->length = 1 + next_random(seed) % size;
    }
}

static uint64_t random_image(uint32_t seed, struct qcow2_entry (*entries)[RANDOM_CLUSTERS])
{
    const size_t size = 1024;
    struct qcow2_target target;
    struct qcow2_writer_options options = {.views = RANDOM_VIEWS};
    uint32_t l1_sizes[RANDOM_VIEWS], order[RANDOM_VIEWS] = {0};
    struct qcow2_writer_report report;
    struct qcow2_writer *w = NULL;
    struct error err = {0};
    uint8_t *data = malloc(RANDOM_CLUSTERS * size);
    struct image_file e = image_file_open("e", NULL), b;

    /* Each view is the one before with a few changes. */
    for (uint32_t v = 0; v < RANDOM_VIEWS; v++)
        for (uint64_t i = 0; i < RANDOM_CLUSTERS; i++)
            if (v > 0 && next_random(&seed) % 50 > 0)
                entries[v][i] = entries[v - 1][i];
            else
                random_entry(&entries[v][i], i, v, size, &seed);
    for (uint32_t v = 0; v < RANDOM_VIEWS; v++)
        l1_sizes[v] = qcow2_view_l1_size(e.views[v]);
    options.l1_sizes = l1_sizes;
    target = create_target("b");
    assert_ok(qcow2_writer_begin_physical(&w, &target, qcow2_image_header(e.image), NULL, &options,
                                          &err));
    for (uint32_t v = 0; v < RANDOM_VIEWS; v++)
        assert_ok(qcow2_writer_reserve(w, v, 0, entries[v], RANDOM_CLUSTERS, &err));
    assert_ok(qcow2_writer_place(w, &err));
    for (uint32_t left = RANDOM_VIEWS * 10; left > 0;) {
        enum { STEP = RANDOM_CLUSTERS / 10 };
        uint32_t v = next_random(&seed) % RANDOM_VIEWS;
        uint64_t first = (uint64_t)order[v] * STEP;
        bool wanted[STEP];

        if (order[v] == 10)
            continue;
        qcow2_writer_wanted(w, v, first, entries[v] + first, STEP, wanted);
        for (size_t i = 0; i < STEP; i++)
            if (wanted[i])
                fill_by_place(&entries[v][first + i], data + i * size, size);
            else
                memset(data + i * size, 0xee, size);
        assert_ok(qcow2_writer_region(w, v, first, entries[v] + first, STEP, data, &err));
        order[v]++;
        left--;
    }
    assert_ok(qcow2_writer_snapshots(w, e.snapshots, RANDOM_VIEWS - 1, &err));
    assert_ok(qcow2_writer_finish(w, &report, &err));
    qcow2_writer_free(w);
    close(target.fd);
    image_file_close(&e);

    run("set -e; qemu-img check -q -f qcow2 b");
    b = image_file_open("b", NULL);
    for (uint32_t v = 0; v < RANDOM_VIEWS; v++)
        for (uint64_t i = 0; i < RANDOM_CLUSTERS; i++) {
            struct qcow2_entry now;

            assert_ok(qcow2_view_entries(b.views[v], i, 1, &now, &err));
            assert_ok(qcow2_image_read(b.image, i, 1, &now, data, &err));
            fill_by_place(&entries[v][i], data + size, size);
            assert_memory_equal(data, data + size, size);
        }
    image_file_close(&b);
    free(data);
    return report.streams_moved;
}

static void random_views_are_sound(void **state)
{
    static struct qcow2_entry entries[RANDOM_VIEWS][RANDOM_CLUSTERS];
    uint64_t moved = 0;

    (void)state;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        run("set -e; rm -f e; qemu-img create -q -f qcow2 -o cluster_size=1024,refcount_bits=%u%s "
            "e %u;"
            "for i in 1 2 3 4; do qemu-img snapshot -c s$i e; done",
            8U << seed % 4, seed & 4 ? ",compression_type=zstd" : "", RANDOM_CLUSTERS * 1024);
        moved += random_image(seed * 7919, entries);
    }
    assert_true(moved > 0);
}

static void more_views_than_refcounts_are_refused(void **state)
{
    static const struct qcow2_entry shared = {.class = QCOW2_DATA, .host = 9 << 16};
    static const uint32_t l1_sizes[] = {1, 1};
    struct qcow2_writer_options options = {.l1_sizes = l1_sizes, .views = 2};
    struct content c = content_new("refcount_bits=1", "1M", 1);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    (void)state;
    assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, &options, &err));
    assert_ok(qcow2_writer_reserve(w, 0, 0, &shared, 1, &err));
    assert_refused(qcow2_writer_reserve(w, 1, 0, &shared, 1, &err), ERROR_UNSUPPORTED,
                   "more references than 1 bits");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

static void what_was_not_announced_is_refused(void **state)
{
    static const uint32_t l1_sizes[] = {1, 1, UINT32_MAX};
    static const struct qcow2_entry data = {.class = QCOW2_DATA, .host = 9 << 16};
    struct qcow2_entry other = {.class = QCOW2_ZERO};
    struct qcow2_writer_options options = {.l1_sizes = l1_sizes, .views = 3};
    struct content c = content_new("compat=1.1", "1M", 1);
    struct qcow2_target target = create_target("b");
    struct qcow2_writer *w = NULL;
    struct qcow2_snapshot s = {.l1_size = 2};
    struct error err = {0};

    (void)state;
    assert_refused(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, &options, &err),
                   ERROR_CORRUPT, "snapshot 1 with an L1 of 4294967295");
    options.views = 0;
    assert_refused(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, &options, &err),
                   ERROR_USAGE, "0 views");
    options.views = 2;
    assert_ok(qcow2_writer_begin_physical(&w, &target, &c.header, NULL, &options, &err));
    assert_refused(qcow2_writer_reserve(w, 2, 0, &data, 1, &err), ERROR_USAGE, "view 2");
    assert_ok(qcow2_writer_reserve(w, 1, 0, &data, 1, &err));
    assert_refused(qcow2_writer_snapshots(w, &s, 1, &err), ERROR_USAGE, "order");
    assert_ok(qcow2_writer_place(w, &err));
    assert_refused(qcow2_writer_region(w, 0, 0, &data, 1, c.data, &err), ERROR_USAGE, "reserved");
    assert_ok(qcow2_writer_region(w, 1, 0, &other, 1, c.data, &err));
    assert_refused(qcow2_writer_snapshots(w, &s, 2, &err), ERROR_USAGE, "order");
    assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "other entries");
    assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "snapshot table");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshots_come_back),
        cmocka_unit_test(subclusters_of_snapshots_come_back),
        cmocka_unit_test(regions_of_any_size_and_order_give_the_same_file),
        cmocka_unit_test(equal_tables_are_shared),
        cmocka_unit_test(a_machines_state_comes_back),
        cmocka_unit_test(random_views_are_sound),
        cmocka_unit_test(more_views_than_refcounts_are_refused),
        cmocka_unit_test(what_was_not_announced_is_refused),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
