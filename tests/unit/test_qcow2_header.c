/* SPDX-License-Identifier: BSD-2-Clause */
/* The header: what QEMU writes is decoded and encoded back to the same bytes; what it refuses is
 * refused, with the field in the message. */
#include "qcow2/header.h"

#include <stdio.h>

#include "base/be.h"
#include "qcow2_fixture.h"

static uint8_t *header_cluster(const char *name, size_t *cluster_size, size_t *file_size)
{
    uint8_t *file = slurp(name, file_size);

    *cluster_size = qcow2_header_peek_cluster_size(file);
    assert_true(*cluster_size != 0 && *cluster_size <= *file_size);
    return file;
}

static void assert_same_after_encoding(const char *name)
{
    struct qcow2_header h;
    struct error err;
    size_t cluster_size, file_size;
    uint8_t *file = header_cluster(name, &cluster_size, &file_size);
    uint8_t *again = malloc(cluster_size);

    if (qcow2_header_decode(&h, file, cluster_size, file_size, &err) < 0)
        fail_msg("%s: %s", name, err.message);
    if (qcow2_header_encode(again, cluster_size, &h, file, &err) < 0)
        fail_msg("%s: %s", name, err.message);
    assert_memory_equal(file, again, cluster_size);
    qcow2_header_clear(&h);
    free(again);
    free(file);
}

static void test_encoding_gives_back_qemus_bytes(void **state)
{
    static const char *const options[] = {
        "compat=0.10",
        "compat=1.1",
        "compat=1.1,cluster_size=512",
        "compat=0.10,cluster_size=512",
        "cluster_size=4096",
        "cluster_size=8192,lazy_refcounts=on",
        "cluster_size=2M",
        "refcount_bits=1",
        "refcount_bits=64",
        "compression_type=zstd",
        "compression_type=zstd,cluster_size=512",
        "extended_l2=on,cluster_size=16k",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        run("qemu-img create -q -f qcow2 -o %s plain.qcow2 3M", options[i]);
        assert_same_after_encoding("plain.qcow2");
        run("qemu-img create -q -f qcow2 -o %s -b plain.qcow2 -F qcow2 over.qcow2", options[i]);
        assert_same_after_encoding("over.qcow2");
    }
    run("qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on data.qcow2 1M");
    assert_same_after_encoding("data.qcow2");
    run("qemu-img bitmap --add plain.qcow2 b");
    assert_same_after_encoding("plain.qcow2");
}

static void test_fields_are_decoded(void **state)
{
    struct qcow2_header h;
    struct error err;
    size_t cluster_size, file_size;
    uint8_t *file;

    (void)state;
    run("qemu-img create -q -f raw base.raw 1M");
    run("qemu-img create -q -f qcow2 -b base.raw -F raw -o "
        "cluster_size=4k,refcount_bits=8,lazy_refcounts=on,compression_type=zstd f.qcow2 5M");
    file = header_cluster("f.qcow2", &cluster_size, &file_size);
    assert_int_equal(qcow2_header_decode(&h, file, cluster_size, file_size, &err), 0);
    assert_int_equal(h.version, 3);
    assert_int_equal(h.cluster_bits, 12);
    assert_int_equal(h.size, 5 << 20);
    assert_int_equal(h.refcount_order, 3);
    assert_int_equal(h.compatible, QCOW2_COMPAT_LAZY_REFCOUNTS);
    assert_int_equal(h.incompatible, QCOW2_INCOMPAT_COMPRESSION);
    assert_int_equal(h.compression_type, QCOW2_ZSTD);
    assert_string_equal(h.backing_file, "base.raw");
    assert_int_equal(h.backing_length, 8);
    assert_string_equal(h.backing_format, "raw");
    assert_int_equal(h.l1_size, 3);
    qcow2_header_clear(&h);
    assert_null(h.extensions);
    free(file);
}

/* The feature name table fills the cluster to the last byte, without an end mark. */
static void test_area_may_end_without_mark(void **state)
{
    struct qcow2_header h;
    struct error err;
    uint8_t again[512];
    size_t file_size;
    uint8_t *file;
    size_t at = 112;

    (void)state;
    run("qemu-img create -q -f qcow2 -o cluster_size=512 exact.qcow2 64k");
    file = slurp("exact.qcow2", &file_size);
    be32_put(file + at, 0x12345678);
    be32_put(file + at + 4, (uint32_t)(512 - at - 8));
    memset(file + at + 8, 'x', 512 - at - 8);
    assert_int_equal(qcow2_header_decode(&h, file, 512, file_size, &err), 0);
    assert_int_equal(h.nb_extensions, 1);
    assert_int_equal(h.extensions[0].type, 0x12345678);
    assert_int_equal(qcow2_header_encode(again, 512, &h, file, &err), 0);
    assert_memory_equal(file, again, 512);

    /* The same one byte longer is damage, and one more extension has no room. */
    be32_put(file + at + 4, (uint32_t)(512 - at - 7));
    assert_int_equal(qcow2_header_decode(&h, file, 512, file_size, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "extension at 112"));
    be32_put(file + at + 4, (uint32_t)(512 - at - 8));
    memcpy(h.backing_format, "raw", sizeof("raw"));
    assert_int_equal(qcow2_header_encode(again, 512, &h, file, &err), ERROR_NO_SPACE);
    qcow2_header_clear(&h);
    free(file);
}

static void test_backing_name_up_to_1023_bytes(void **state)
{
    struct qcow2_header h = {0}, back;
    struct error err;
    size_t cluster_size, file_size;
    uint8_t *file, *again;

    (void)state;
    run("qemu-img create -q -f qcow2 long.qcow2 1M");
    file = header_cluster("long.qcow2", &cluster_size, &file_size);
    again = malloc(cluster_size);
    assert_int_equal(qcow2_header_decode(&h, file, cluster_size, file_size, &err), 0);
    memset(h.backing_file, 'n', QCOW2_MAX_BACKING_NAME);
    memcpy(h.backing_format, "qcow2", sizeof("qcow2"));
    assert_int_equal(qcow2_header_encode(again, cluster_size, &h, file, &err), 0);
    assert_int_equal(qcow2_header_decode(&back, again, cluster_size, file_size, &err), 0);
    assert_string_equal(back.backing_file, h.backing_file);
    assert_string_equal(back.backing_format, "qcow2");
    spill("long.qcow2", again, cluster_size);
    be32_put(again + 16, 1024);
    qcow2_header_clear(&back);
    assert_int_equal(qcow2_header_decode(&back, again, cluster_size, file_size, &err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "too long"));
    qcow2_header_clear(&h);
    free(again);
    free(file);
}

static void test_backing_name_that_does_not_fit(void **state)
{
    struct qcow2_header h;
    struct error err;
    uint8_t again[512];
    size_t file_size;
    uint8_t *file;

    (void)state;
    run("qemu-img create -q -f qcow2 -o cluster_size=512 small.qcow2 64k");
    file = slurp("small.qcow2", &file_size);
    assert_int_equal(qcow2_header_decode(&h, file, 512, file_size, &err), 0);
    /* All of it but the header and the extension of the format, to the last byte. */
    memcpy(h.backing_format, "raw", sizeof("raw"));
    memset(h.backing_file, 'n', 512 - 112 - 16);
    assert_int_equal(qcow2_header_encode(again, 512, &h, file, &err), 0);
    spill("small.qcow2", again, 512);
    h.backing_file[512 - 112 - 16] = 'n';
    assert_int_equal(qcow2_header_encode(again, 512, &h, file, &err), ERROR_NO_SPACE);
    qcow2_header_clear(&h);
    free(file);
}

static void test_unknown_header_bytes_are_kept(void **state)
{
    struct qcow2_header h;
    struct error err;
    size_t file_size;
    uint8_t *file, *again = malloc(65536);

    (void)state;
    run("qemu-img create -q -f qcow2 wide.qcow2 1M");
    file = slurp("wide.qcow2", &file_size);
    be32_put(file + 100, 128);
    memset(file + 112, 0, 65536 - 112);
    memset(file + 112, 0xab, 16);
    assert_int_equal(qcow2_header_decode(&h, file, 65536, file_size, &err), 0);
    assert_int_equal(qcow2_header_encode(again, 65536, &h, file, &err), 0);
    assert_memory_equal(file, again, 65536);
    qcow2_header_clear(&h);
    free(again);
    free(file);
}

/* One field of a good header of 64 KiB clusters, 4 MiB of disk, and what is said about it. */
struct damage {
    size_t offset;
    size_t width; /* bytes */
    uint64_t value;
    int code;
    const char *message;
};

static const struct damage damages[] = {
    {0, 4, 0x514649fa, ERROR_UNSUPPORTED, "not a qcow2 file"},
    {4, 4, 1, ERROR_UNSUPPORTED, "version 1"},
    {4, 4, 4, ERROR_UNSUPPORTED, "version 4"},
    {8, 8, 65537, ERROR_CORRUPT, "backing file name at 65537"},
    {8, 8, UINT64_MAX, ERROR_CORRUPT, "backing file name at"},
    {20, 4, 8, ERROR_CORRUPT, "cluster_bits is 8"},
    {20, 4, 22, ERROR_CORRUPT, "cluster_bits is 22"},
    {20, 4, UINT32_MAX, ERROR_CORRUPT, "cluster_bits"},
    {24, 8, UINT64_MAX, ERROR_CORRUPT, "L1 table"},
    {24, 8, (UINT64_C(512) << 20) + 1, ERROR_CORRUPT, "has 1 entries, but 536870913 bytes need 2"},
    {32, 4, 3, ERROR_UNSUPPORTED, "encryption method 3"},
    {36, 4, 0, ERROR_CORRUPT, "L1 table"},
    {36, 4, (4 << 20) + 1, ERROR_CORRUPT, "too many"},
    {36, 4, 4 << 20, ERROR_CORRUPT, "L1 table at 196608 ends beyond the file"},
    {40, 8, 0, ERROR_CORRUPT, "L1 table at 0"},
    {40, 8, 196608 + 512, ERROR_CORRUPT, "L1 table at 197120 is not aligned"},
    {40, 8, 0x7fffffffffff0000, ERROR_CORRUPT, "beyond the file"},
    {40, 8, 0xffffffffffff0000, ERROR_CORRUPT, "beyond the file"},
    {48, 8, 1, ERROR_CORRUPT, "refcount table at 1 is not aligned"},
    {48, 8, 0, ERROR_CORRUPT, "refcount table at 0"},
    {48, 8, UINT64_C(1) << 40, ERROR_CORRUPT, "refcount table at 1099511627776 ends beyond"},
    {56, 4, 0, ERROR_CORRUPT, "no refcount table"},
    {56, 4, 129, ERROR_CORRUPT, "refcount table at 65536 has 129 entries, too many"},
    {60, 4, 65537, ERROR_CORRUPT, "snapshot table"},
    {60, 4, 1, ERROR_CORRUPT, "snapshot table at 0"},
    {64, 8, 8, ERROR_CORRUPT, "snapshot table at 8 is not aligned"},
    {72, 8, 32, ERROR_UNSUPPORTED, "incompatible bit 5"},
    {72, 8, UINT64_C(1) << 63, ERROR_UNSUPPORTED, "incompatible bit 63"},
    {72, 8, QCOW2_INCOMPAT_COMPRESSION, ERROR_CORRUPT, "disagree"},
    {88, 8, QCOW2_AUTOCLEAR_RAW_DATA, ERROR_CORRUPT, "raw data file"},
    {96, 4, 7, ERROR_CORRUPT, "refcount_order is 7"},
    {96, 4, UINT32_MAX, ERROR_CORRUPT, "refcount_order"},
    {100, 4, 103, ERROR_CORRUPT, "header_length is 103"},
    {100, 4, 65537, ERROR_CORRUPT, "header_length is 65537"},
    {104, 1, 1, ERROR_CORRUPT, "disagree"},
    {104, 1, 2, ERROR_UNSUPPORTED, "compression type 2"},
    {116, 4, UINT32_MAX, ERROR_CORRUPT, "extension at 112"},
    {112, 8, UINT64_C(0xE2792ACA) << 32 | 16, ERROR_CORRUPT, "backing format at 120 has 16 bytes"},
    {112, 8, UINT64_C(0x0537BE77) << 32 | 16, ERROR_CORRUPT, "encryption extension"},
};

static void test_each_damaged_field_is_named(void **state)
{
    size_t file_size;
    uint8_t *file;

    (void)state;
    run("qemu-img create -q -f qcow2 damage.qcow2 4M");
    file = slurp("damage.qcow2", &file_size);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        const struct damage *d = &damages[i];
        struct qcow2_header h;
        struct error err = {0};
        uint8_t saved[8];

        memcpy(saved, file + d->offset, d->width);
        for (size_t b = 0; b < d->width; b++)
            file[d->offset + b] = (uint8_t)(d->value >> 8 * (d->width - 1 - b));
        if (qcow2_header_decode(&h, file, 65536, file_size, &err) != d->code ||
            !strstr(err.message, d->message))
            fail_msg("at %zu: %d \"%s\", not %d \"%s\"", d->offset, err.code, err.message, d->code,
                     d->message);
        memcpy(file + d->offset, saved, d->width);
    }
    free(file);
}

/* A feature that only the image itself knows the name of; the name is cleaned for the terminal. */
static void test_unknown_feature_is_named_by_the_table(void **state)
{
    static const uint8_t entry[48] = {0, 9, 'z', 'o', 'n', 'e', 's', 27, '['};
    struct qcow2_header h;
    struct error err;
    size_t file_size;
    uint8_t *file;

    (void)state;
    run("qemu-img create -q -f qcow2 zones.qcow2 1M");
    file = slurp("zones.qcow2", &file_size);
    be64_put(file + 72, 1 << 9);
    be32_put(file + 112, QCOW2_EXT_FEATURE_NAMES);
    be32_put(file + 116, sizeof(entry));
    memcpy(file + 120, entry, sizeof(entry));
    assert_int_equal(qcow2_header_decode(&h, file, 65536, file_size, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "zones?[ (incompatible bit 9)"));
    free(file);
}

static void test_cut_files(void **state)
{
    struct qcow2_header h;
    struct error err;
    size_t file_size;
    uint8_t *file;

    (void)state;
    run("qemu-img create -q -f qcow2 cut.qcow2 1M");
    file = slurp("cut.qcow2", &file_size);
    assert_int_equal(qcow2_header_decode(&h, file, 0, 0, &err), ERROR_UNSUPPORTED);
    assert_int_equal(qcow2_header_decode(&h, file, 3, 3, &err), ERROR_UNSUPPORTED);
    for (size_t len = 4; len < 65536; len += len < 200 ? 1 : 4096)
        assert_int_equal(qcow2_header_decode(&h, file, len, len, &err), ERROR_CORRUPT);
    /* The L1 table lies in the fourth cluster. */
    assert_int_equal(qcow2_header_decode(&h, file, 65536, 196608, &err), ERROR_CORRUPT);
    assert_int_equal(qcow2_header_decode(&h, file, 65536, 196608 + 8, &err), 0);
    qcow2_header_clear(&h);
    free(file);
}

static void test_what_no_header_can_say_is_not_encoded(void **state)
{
    struct qcow2_header good = {.version = 3, .cluster_bits = 9, .header_length = 104};
    struct qcow2_header h;
    struct error err;
    uint8_t buf[512];

    (void)state;
    assert_int_equal(qcow2_header_encode(buf, 512, &good, NULL, &err), 0);
    h = good;
    h.version = 2;
    assert_int_equal(qcow2_header_encode(buf, 512, &h, NULL, &err), ERROR_USAGE);
    h = good;
    h.header_length = 513;
    assert_int_equal(qcow2_header_encode(buf, 512, &h, NULL, &err), ERROR_USAGE);
    h = good;
    h.compression_type = QCOW2_ZSTD;
    h.incompatible = QCOW2_INCOMPAT_COMPRESSION;
    assert_int_equal(qcow2_header_encode(buf, 512, &h, NULL, &err), ERROR_USAGE);
    assert_int_equal(qcow2_header_encode(buf, 1024, &good, NULL, &err), ERROR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding_gives_back_qemus_bytes),
        cmocka_unit_test(test_fields_are_decoded),
        cmocka_unit_test(test_area_may_end_without_mark),
        cmocka_unit_test(test_backing_name_up_to_1023_bytes),
        cmocka_unit_test(test_backing_name_that_does_not_fit),
        cmocka_unit_test(test_unknown_header_bytes_are_kept),
        cmocka_unit_test(test_each_damaged_field_is_named),
        cmocka_unit_test(test_unknown_feature_is_named_by_the_table),
        cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_what_no_header_can_say_is_not_encoded),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
