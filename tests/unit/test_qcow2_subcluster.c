/* SPDX-License-Identifier: BSD-2-Clause */
/* Extended L2: every mix of subclusters, against what qemu-img map and qemu-img convert say. */
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2_fixture.h"

#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

enum { CLUSTERS = 24, SUBCLUSTERS = 32 };

/* Every mix over a base of 0xbb, which is shorter than the disk. */
static void make_image(const char *options, size_t cs)
{
    size_t sub = cs / SUBCLUSTERS;

    run("rm -f x.qcow2 base.raw; qemu-img create -q -f raw base.raw %zu", (CLUSTERS - 2) * cs);
    run("qemu-io -f raw -c 'write -P 0xbb 0 %zu' base.raw", (CLUSTERS - 2) * cs);
    run("qemu-img create -q -f qcow2 -b base.raw -F raw -o extended_l2=on,%s x.qcow2 %zu", options,
        CLUSTERS * cs - 512);
    run("qemu-io -f qcow2 "
        "-c 'write -P 1 0 %zu' "                           /* 0 to 2: all data */
        "-c 'write -P 2 %zu %zu' "                         /* 4: the first subcluster */
        "-c 'write -P 3 %zu %zu' -c 'write -P 4 %zu %zu' " /* 5: 3 to 5, and the last */
        "-c 'write -z %zu %zu' "                           /* 6: all zero, no host cluster */
        "-c 'write -z %zu %zu' "                           /* 7: some zero, no host cluster */
        "-c 'write -P 5 %zu %zu' -c 'write -z %zu %zu' "   /* 8: data and zero */
        "-c 'write -P 6 %zu %zu' -c 'write -z %zu %zu' "   /* 9: was data, now all zero */
        "-c 'write -c -P 7 %zu %zu' "                      /* 10: compressed */
        "-c 'write -P 8 %zu 512' "                         /* the last, and not all of it */
        "x.qcow2",
        3 * cs, 4 * cs, sub, 5 * cs + 3 * sub, 3 * sub, 6 * cs - sub, sub, 6 * cs, cs, 7 * cs + sub,
        4 * sub, 8 * cs, 8 * sub, 8 * cs + 4 * sub, 8 * sub, 9 * cs, cs, 9 * cs, cs, 10 * cs, cs,
        CLUSTERS * cs - 1024);
}

static void check_entries(const struct qcow2_entry *e)
{
    assert_int_equal(e[0].class, QCOW2_DATA);
    assert_int_equal(e[0].sub_alloc, UINT32_MAX);
    assert_int_equal(e[3].class, QCOW2_UNALLOCATED);
    assert_int_equal(e[4].class, QCOW2_DATA);
    assert_int_equal(e[4].sub_alloc, 1);
    assert_int_equal(e[4].sub_zero, 0);
    assert_int_equal(e[5].sub_alloc, UINT32_C(0x80000038));
    assert_int_equal(e[6].class, QCOW2_ZERO);
    assert_int_equal(e[6].sub_zero, UINT32_MAX);
    assert_int_equal(e[7].class, QCOW2_ZERO);
    assert_int_equal(e[7].sub_zero, 0x1e);
    assert_int_equal(e[7].host, 0);
    assert_int_equal(e[8].class, QCOW2_DATA);
    assert_int_equal(e[8].sub_alloc, 0xf);
    assert_int_equal(e[8].sub_zero, 0xff0);
    assert_int_equal(e[9].class, QCOW2_ZERO_ALLOC);
    assert_int_not_equal(e[9].host, 0);
    assert_int_equal(e[10].class, QCOW2_COMPRESSED);
    assert_int_equal(e[10].sub_alloc, 0);
    assert_int_equal(e[CLUSTERS - 1].class, QCOW2_DATA);
}

/* What the disk reads as, from ${entries}, ${bytes} and the base, is what QEMU says. */
static void compare_bytes(const struct qcow2_entry *entries, uint8_t *bytes, size_t cs)
{
    size_t len, sub = cs / SUBCLUSTERS;
    uint8_t *raw;

    for (size_t i = 0; i < (CLUSTERS - 2) * SUBCLUSTERS; i++) {
        const struct qcow2_entry *e = &entries[i / SUBCLUSTERS];
        uint32_t bit = UINT32_C(1) << i % SUBCLUSTERS;

        if (e->class != QCOW2_COMPRESSED && !((e->sub_alloc | e->sub_zero) & bit)) {
            for (size_t j = 0; j < sub; j++)
                assert_int_equal(bytes[i * sub + j], 0);
            memset(bytes + i * sub, 0xbb, sub);
        }
    }
    run("qemu-img convert -f qcow2 -O raw x.qcow2 oracle.raw");
    raw = slurp("oracle.raw", &len);
    assert_int_equal(len, CLUSTERS * cs - 512);
    assert_memory_equal(raw, bytes, len);
    free(raw);
}

static uint64_t number_after(const char *line, const char *key)
{
    const char *p = strstr(line, key);

    assert_non_null(p);
    return strtoull(p + strlen(key), NULL, 10);
}

/* Each extent that qemu-img finds at depth 0 is allocated or zero in our entries, with its offset.
 */
static void compare_map(const struct qcow2_entry *entries, size_t cs)
{
    char *map = output_of("qemu-img map -f qcow2 --output=json x.qcow2"), *save;
    char *line = strtok_r(map, "\n", &save);
    size_t sub = cs / SUBCLUSTERS, i = 0;

    for (; line; line = strtok_r(NULL, "\n", &save)) {
        uint64_t start = number_after(line, "\"start\": ");
        uint64_t length = number_after(line, "\"length\": ");
        bool here = number_after(line, "\"depth\": ") == 0 && strstr(line, "\"present\": true");
        bool zero = strstr(line, "\"zero\": true"), data = strstr(line, "\"data\": true");
        bool offset = strstr(line, "\"offset\": ");

        assert_int_equal(start, i * sub);
        for (; i * sub < start + length && i < CLUSTERS * SUBCLUSTERS; i++) {
            const struct qcow2_entry *e = &entries[i / SUBCLUSTERS];
            uint32_t bit = UINT32_C(1) << i % SUBCLUSTERS;

            if (e->class == QCOW2_COMPRESSED)
                assert_true(here && data && !offset);
            else if (e->sub_alloc & bit)
                assert_true(here && data);
            else if (e->sub_zero & bit)
                assert_true(here && zero && !data);
            else
                assert_true(!here || zero);
            if (here && data && offset)
                assert_int_equal(e->host + i % SUBCLUSTERS * sub,
                                 number_after(line, "\"offset\": ") + (i * sub - start));
        }
    }
    assert_int_equal(i, (CLUSTERS * cs - 512 + sub - 1) / sub);
    free(map);
}

static void test_every_mix(void **state)
{
    static const struct {
        const char *options;
        size_t cs;
    } variants[] = {
        {"cluster_size=16k", 16 << 10},
        {"cluster_size=64k,compression_type=zstd", 64 << 10},
        {"cluster_size=128k,lazy_refcounts=on", 128 << 10},
        {"cluster_size=2M", 2 << 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        struct qcow2_entry *entries;
        struct qcow2_image *image;
        uint8_t *bytes;
        int fd;

        make_image(variants[i].options, variants[i].cs);
        image = open_image("x.qcow2", &fd);
        assert_int_equal(read_everything(image, &entries, &bytes), CLUSTERS);
        check_entries(entries);
        compare_map(entries, variants[i].cs);
        compare_bytes(entries, bytes, variants[i].cs);
        free(entries);
        free(bytes);
        close_image(image, fd);
    }
}

/* A host cluster of which nothing is used yet: it is kept, and what is in it is not read. */
static void test_preallocated_clusters(void **state)
{
    struct qcow2_entry *entries;
    struct qcow2_image *image;
    uint8_t *bytes;
    size_t n;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 -o extended_l2=on,preallocation=metadata p.qcow2 1M");
    image = open_image("p.qcow2", &fd);
    n = read_everything(image, &entries, &bytes);
    assert_int_equal(n, 16);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(entries[i].class, QCOW2_DATA);
        assert_int_not_equal(entries[i].host, 0);
        assert_int_equal(entries[i].sub_alloc | entries[i].sub_zero, 0);
    }
    assert_int_equal(qcow2_image_data_read(image), 0);
    free(entries);
    free(bytes);
    close_image(image, fd);
}

/* Only the last cluster of the file may be cut, and only what is in it reads as zeros. */
static void test_a_file_that_ends_within_a_subcluster(void **state)
{
    struct qcow2_entry *entries, e;
    struct qcow2_image *image;
    struct error err;
    uint8_t *bytes;
    int fd;

    (void)state;
    run("qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=16k e.qcow2 64k");
    run("qemu-io -f qcow2 -c 'write -P 9 0 1k' -c 'write -P 9 8k 1k' e.qcow2");
    image = open_image("e.qcow2", &fd);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 0, 1, &e, &err), 0);
    close_image(image, fd);
    assert_int_equal(truncate("e.qcow2", (off_t)e.host + 700), 0);
    image = open_image("e.qcow2", &fd);
    read_everything(image, &entries, &bytes);
    assert_int_equal(bytes[699], 9);
    assert_int_equal(bytes[700], 0);
    assert_int_equal(bytes[8192], 0);
    free(entries);
    free(bytes);
    close_image(image, fd);
    assert_int_equal(truncate("e.qcow2", (off_t)e.host), 0);
    image = open_image("e.qcow2", &fd);
    assert_int_equal(qcow2_view_entries(qcow2_image_active(image), 0, 1, &e, &err), ERROR_CORRUPT);
    close_image(image, fd);
}

/* With the two words of guest cluster 4 replaced, reading its entry fails with ${message}. */
static void expect_entry(uint64_t word, uint64_t bitmap, const char *message)
{
    struct qcow2_image *image;
    struct qcow2_entry e;
    struct error err = {0};
    uint64_t l2;
    int fd, rc;

    run("cp x.qcow2 bad.qcow2");
    l2 = peek64("bad.qcow2", peek64("bad.qcow2", 40)) & ~COPIED;
    if (word == 0 && bitmap == 0)
        fail_msg("nothing to do");
    poke64("bad.qcow2", l2 + 64, word);
    poke64("bad.qcow2", l2 + 72, bitmap);
    image = open_image("bad.qcow2", &fd);
    rc = qcow2_view_entries(qcow2_image_active(image), 4, 1, &e, &err);
    if (message ? rc != ERROR_CORRUPT || !strstr(err.message, message) ||
                      !strstr(err.message, "guest cluster 4")
                : rc != 0)
        fail_msg("%d \"%s\", not \"%s\"", rc, err.message, message ? message : "");
    close_image(image, fd);
}

static void test_entries_that_lie(void **state)
{
    uint64_t host;

    (void)state;
    make_image("cluster_size=16k", 16 << 10);
    host = peek64("x.qcow2", (peek64("x.qcow2", peek64("x.qcow2", 40)) & ~COPIED) + 64);
    expect_entry(host, UINT64_C(1) << 32 | 1, "impossible subclusters 0x0000000100000001");
    expect_entry(0, 1, "impossible subclusters");
    expect_entry(host + 512, 1, "not aligned");
    expect_entry(COPIED, 0, "only owner of host offset 0");
    expect_entry(COMPRESSED | 0x10000, 1, "compressed, with subclusters");
    expect_entry(COPIED | UINT64_C(1) << 40, 0, "end beyond the file");
    expect_entry(COPIED | UINT64_C(1) << 40, UINT64_C(0xffffffff00000000), "end beyond the file");
    expect_entry(0, UINT64_C(1) << 63, NULL);
    expect_entry(host | 1, 1, NULL); /* the zero bit of standard entries is reserved here */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_mix),
        cmocka_unit_test(test_preallocated_clusters),
        cmocka_unit_test(test_a_file_that_ends_within_a_subcluster),
        cmocka_unit_test(test_entries_that_lie),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
