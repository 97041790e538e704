/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encrypted images, copied without any key and held against the original by
 * QEMU, which has it.
 */
#include <fcntl.h>
#include <unistd.h>

#include "qcow2_copy.h"

#define SECRET    "--object secret,id=s0,data=abc"
#define OPEN_LUKS "driver=qcow2,encrypt.key-secret=s0,file.filename="

/* LUKS needs to measure the processor, which fails at times. */
static void create_luks(const char *name, const char *options, const char *size)
{
    run("set -e; rm -f %s; for i in $(seq 40); do "
        "qemu-img create -q -f qcow2 " SECRET
        " -o encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10,%s %s %s && exit 0;"
        "done; exit 1",
        name, options, name, size);
}

static void luks_io(const char *name, const char *commands)
{
    run("set -e; qemu-io " SECRET " %s --image-opts " OPEN_LUKS "%s", commands, name);
}

static void judge_luks(const char *a, const char *b)
{
    run("set -e; qemu-img check -q " SECRET " --image-opts " OPEN_LUKS "%s", b);
    run("set -e; qemu-img compare -q -s " SECRET " --image-opts " OPEN_LUKS "%s " OPEN_LUKS "%s", a,
        b);
    run("set -e; for f in %s %s; do qemu-img map --output=json " SECRET " --image-opts " OPEN_LUKS
        "$f >$f.map; done; diff %s.map %s.map",
        a, b, a, b);
    same_description(a, b);
}

static void luks_comes_back_without_the_key(void **state)
{
    static const char *const kinds[] = {
        "compat=1.1",
        "cluster_size=4096",
        "cluster_size=2M",
        "refcount_bits=1",
        "extended_l2=on",
        "compression_type=zstd",
        "cluster_size=512,encrypt.cipher-alg=serpent-128",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        create_luks("a", kinds[i], "16M");
        luks_io("a",
                "-c 'write -q -P 1 0 3M' -c 'write -q -P 2 5000k 70k' -c 'write -q -z 1M 256k' "
                "-c 'discard -q 2M 128k' -c 'write -q -P 3 15M 1M' -c 'write -q -P 4 8M 2k'");
        if (strstr(kinds[i], "=2M") == NULL)
            luks_io("a", "-c 'write -q -c -P 5 10M 1M'");
        copy_image("a", NULL, "b", NULL, 16);
        assert_same_views("a", NULL, "b", NULL);
        judge_luks("a", "b");
        luks_io("b",
                "-c 'read -q -P 2 5000k 70k' -c 'read -q -P 0 1M 256k' -c 'read -q -P 3 15M 1M' "
                "-c 'write -q -P 7 3M 4M' -c 'read -q -P 7 3M 4M'");
        run("set -e; qemu-img check -q " SECRET " --image-opts " OPEN_LUKS "b");
    }
}

static void luks_with_snapshots_and_bitmaps(void **state)
{
    (void)state;
    create_luks("a", "compat=1.1", "16M");
    luks_io("a", "-c 'write -q -P 1 0 3M' -c 'write -q -c -P 5 10M 1M'");
    run("set -e; qemu-img snapshot " SECRET " --image-opts " OPEN_LUKS "a -c s");
    luks_io("a", "-c 'write -q -P 2 1M 1M' -c 'write -q -c -P 6 11M 256k'");
    run("set -e; qemu-img bitmap --add " SECRET " --image-opts " OPEN_LUKS "a m");
    luks_io("a", "-c 'write -q -P 3 14M 1M'");
    copy_image("a", NULL, "b", NULL, 16);
    assert_same_views("a", NULL, "b", NULL);
    judge_luks("a", "b");
    run("set -e; for f in a b; do cp $f $f.s; qemu-img bitmap --remove " SECRET
        " --image-opts " OPEN_LUKS "$f.s m; qemu-img snapshot " SECRET " --image-opts " OPEN_LUKS
        "$f.s -a s; done");
    judge_luks("a.s", "b.s");
}

/* Only compressed clusters are not encrypted there: as plain data they would be garbage. */
static void what_is_compressed_in_a_luks_image_stays_so(void **state)
{
    static const char *const kinds[] = {"cluster_size=512", "compat=1.1", "compression_type=zstd"};

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct qcow2_target target;
        struct qcow2_writer_options options = {.views = 1};
        struct qcow2_writer_report report;
        struct qcow2_writer *w = NULL;
        struct content c;
        struct error err = {0};
        uint8_t *luks = NULL;
        struct qcow2_header *h;
        int fd;

        create_luks("a", kinds[k], "1M");
        c = content_read("a");
        h = &c.header;
        for (uint64_t i = 0; i < 3; i++) {
            c.entries[i] = (struct qcow2_entry){
                .class = QCOW2_COMPRESSED, .host = (8 << 20) + i * 300, .length = 300};
            fill_random(c.data + i * c.cluster_size, c.cluster_size, i);
        }
        spill("plain", c.data, 3 * c.cluster_size);
        assert_ok(qcow2_crypto_header(h, c.header_cluster, 1 << 30, &options.crypto_offset,
                                      &options.crypto_length, &err));
        target = create_target("b");
        assert_ok(qcow2_writer_begin_physical(&w, &target, h, c.header_cluster, &options, &err));
        assert_ok(qcow2_writer_reserve(w, 0, 0, c.entries, 3, &err));
        assert_ok(qcow2_writer_place(w, &err));
        assert_ok(qcow2_writer_region(w, 0, 0, c.entries, 3, c.data, &err));
        assert_refused(qcow2_writer_finish(w, NULL, &err), ERROR_USAGE, "LUKS header was not");
        luks = malloc(options.crypto_length);
        fd = open("a", O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, luks, options.crypto_length, (off_t)options.crypto_offset),
                         options.crypto_length);
        close(fd);
        assert_refused(qcow2_writer_crypto(w, luks, 512, &err), ERROR_USAGE, "512 bytes");
        assert_ok(qcow2_writer_crypto(w, luks, options.crypto_length, &err));
        assert_ok(qcow2_writer_finish(w, &report, &err));
        assert_int_equal(report.streams_plain, 0);
        assert_int_equal(report.streams_moved, 3);
        qcow2_writer_free(w);
        close(target.fd);
        run("set -e; qemu-img check -q " SECRET " --image-opts " OPEN_LUKS "b;"
            "qemu-img convert " SECRET " --image-opts " OPEN_LUKS "b -O raw r;"
            "cmp -n %zu plain r",
            3 * c.cluster_size);
        content_clear(&c);
        free(luks);
    }
}

static void impossible_luks_areas_are_refused(void **state)
{
    static const struct {
        uint64_t offset, length;
        const char *text;
    } cases[] = {
        {0, 0, "LUKS header of 0 bytes"},
        {0, 65536, "at 0 is impossible"},
        {65536 + 512, 65536, "at 66048 is impossible"},
        {65536, UINT64_MAX, "is impossible"},
    };
    struct qcow2_writer_options options = {.views = 1};
    struct qcow2_entry entry = {.class = QCOW2_DATA, .host = 5 << 16};
    struct qcow2_writer *w = NULL;
    struct qcow2_target target;
    struct error err = {0};
    struct content c;

    (void)state;
    create_luks("a", "compat=1.1", "1M");
    c = content_read("a");
    target = create_target("b");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        options.crypto_offset = cases[i].offset;
        options.crypto_length = cases[i].length;
        assert_refused(
            qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, &options, &err),
            ERROR_CORRUPT, cases[i].text);
    }
    options.crypto_offset = 4 << 16;
    options.crypto_length = 2 << 16;
    assert_ok(
        qcow2_writer_begin_physical(&w, &target, &c.header, c.header_cluster, &options, &err));
    assert_refused(qcow2_writer_reserve(w, 0, 0, &entry, 1, &err), ERROR_CORRUPT, "327680");
    qcow2_writer_free(w);
    close(target.fd);
    content_clear(&c);
}

/* qemu-img makes such images no longer. Without the key all that can be seen is that every byte is
 * where it was. */
static void legacy_aes_keeps_its_places(void **state)
{
    (void)state;
    run("set -e; rm -f a; qemu-img create -q -f qcow2 a 4M; qemu-io -c 'write -q -P 1 1M 1M' "
        "-c 'write -q -P 2 0 64k' a");
    poke32("a", 32, 1);
    copy_image("a", NULL, "b", NULL, 16);
    assert_same_views("a", NULL, "b", NULL);
    run("set -e; qemu-img info b | grep -q '^encrypted: yes'");
    poke32("a", 32, 0);
    poke32("b", 32, 0);
    run("set -e; qemu-img check -q b; qemu-img compare -q -s a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(luks_comes_back_without_the_key),
        cmocka_unit_test(luks_with_snapshots_and_bitmaps),
        cmocka_unit_test(what_is_compressed_in_a_luks_image_stays_so),
        cmocka_unit_test(impossible_luks_areas_are_refused),
        cmocka_unit_test(legacy_aes_keeps_its_places),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
