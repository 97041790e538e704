/* SPDX-License-Identifier: BSD-2-Clause */
/* Bitmaps as bits: what QEMU marked, from the image and from an archive, and what is asked of it;
 * and the names of byre's own ones. */
#include "engine/dirty_bits.h"

#include <stdio.h>

#include "engine/engine.h"
#include "engine/own_bitmap.h"
#include "qcow2_fixture.h"

enum { MIB = 1 << 20 };

static const uint8_t full_key[32] = "the key that reads everything...";
static const uint8_t append_key[32] = "the key that cron has on a host.";

static struct cs_store *open_repository(const uint8_t *key)
{
    struct cs_open_options options = {.secret = {.kind = CS_SLOT_KEY_FILE, .data = key, .len = 32},
                                      .threads = 1};
    struct cs_store *store = NULL;
    struct cs_error err;
    if (cs_open(&store, "repo", &options, &err) < 0)
        fail_msg("%s", err.message);
    return store;
}

/* A repository, opened by a key that can only append. */
static struct cs_store *new_repository(void)
{
    struct cs_init_options options = {
        .secret = {.kind = CS_SLOT_KEY_FILE, .data = full_key, .len = 32}};
    struct cs_secret other = {.kind = CS_SLOT_KEY_FILE, .data = append_key, .len = 32};
    char code[CS_RECOVERY_CODE_SIZE];
    struct cs_name slot;
    struct cs_id id;
    struct cs_error err;
    run("rm -rf repo");
    if (cs_init("repo", &options, code, &id, &err) < 0)
        fail_msg("%s", err.message);
    struct cs_store *store = open_repository(full_key);
    if (cs_key_add(store, &other, CS_ROLE_APPEND, "cron", &slot, &err) < 0)
        fail_msg("%s", err.message);
    cs_close(store);
    return open_repository(append_key);
}

/* The bits of bitmap ${name} of the image ${file}; returns what dirty_bits_from_image does. */
static int from_image(struct dirty_bits *bits, const char *file, const char *name,
                      struct error *err)
{
    int fd, rc = ERROR_NOT_FOUND;
    struct qcow2_image *image = open_image(file, &fd);
    struct qcow2_bitmap *array = NULL;
    uint32_t count = 0;
    char *problem = NULL;
    assert_int_equal(qcow2_image_bitmaps(image, &array, &count, &problem, err), 0);
    assert_null(problem);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(array[i].name, name) == 0)
            rc = dirty_bits_from_image(bits, image, &array[i], err);
    qcow2_bitmaps_free(array, count);
    close_image(image, fd);
    return rc;
}

static struct dirty_bits must_have(const char *file, const char *name)
{
    struct dirty_bits bits;
    struct error err;
    if (from_image(&bits, file, name, &err) < 0)
        fail_msg("%s", err.message);
    return bits;
}

static void test_names(void **state)
{
    struct cs_id one, other;
    char name[OWN_BITMAP_NAME], again[OWN_BITMAP_NAME];
    (void)state;
    memset(&one, 0xa5, sizeof one);
    memset(&other, 0xa6, sizeof other);
    own_bitmap_make(&one, name);
    own_bitmap_make(&one, again);
    assert_string_not_equal(name, again);
    assert_int_equal(strlen(name), 30);
    assert_memory_equal(name, "byre-a5a5a5a5-", 14);
    assert_true(own_bitmap_is(&one, name));
    assert_false(own_bitmap_is(&other, name));
    assert_true(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcdef"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcde"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcdef0"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcdeF"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcde\n"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-0123456789abcdef "));
    assert_false(own_bitmap_is(&one, "Byre-a5a5a5a5-0123456789abcdef"));
    assert_false(own_bitmap_is(&one, "byre-a5a5a5a5-"));
    assert_false(own_bitmap_is(&one, "byre-"));
    assert_false(own_bitmap_is(&one, ""));
}

/* 64 KiB granules of a disk that ends within one; qemu-io says what was written. */
static void test_what_qemu_wrote(void **state)
{
    (void)state;
    run("qemu-img create -q -f qcow2 w.qcow2 %d", 10 * MIB + 512);
    run("qemu-img bitmap --add -g 65536 w.qcow2 b");
    run("qemu-io -f qcow2 -c 'write -q 1M 512' -c 'write -q 2097151 2' -c 'write -q 5M 1M' "
        "-c 'write -q 10M 512' w.qcow2");
    struct dirty_bits bits = must_have("w.qcow2", "b");
    assert_int_equal(bits.count, 161);
    assert_int_equal(bits.granularity_bits, 16);
    for (uint64_t i = 0; i < bits.count; i++) {
        bool dirty = i == 16 || i == 31 || i == 32 || (i >= 80 && i < 96) || i == 160;
        assert_int_equal(bits.bits[i / 8] >> (i % 8) & 1, dirty);
        assert_int_equal(dirty_bits_clean(&bits, i << 16, 1 << 16), !dirty);
    }
    assert_true(dirty_bits_clean(&bits, 0, MIB));
    assert_false(dirty_bits_clean(&bits, 0, MIB + 1));
    assert_true(dirty_bits_clean(&bits, MIB + 65536, MIB - 131072));
    assert_false(dirty_bits_clean(&bits, MIB + 65535, 2));
    assert_true(dirty_bits_clean(&bits, 6 * MIB, 4 * MIB));
    assert_false(dirty_bits_clean(&bits, 6 * MIB, 4 * MIB + 1));
    assert_true(dirty_bits_clean(&bits, 7 * MIB, 0));
    /* behind the last granule, and behind everything */
    assert_false(dirty_bits_clean(&bits, 161 << 16, 1));
    assert_false(dirty_bits_clean(&bits, UINT64_MAX, 1));
    assert_false(dirty_bits_clean(&bits, UINT64_MAX, 2));
    assert_false(dirty_bits_clean(&bits, 0, UINT64_MAX));
    dirty_bits_clear(&bits);
}

static void test_clean_against_one_by_one(void **state)
{
    uint8_t bytes[40] = {0};
    struct dirty_bits bits = {.bits = bytes, .count = 313, .granularity_bits = 9};
    (void)state;
    bytes[3] = 0x10;
    bytes[20] = 0x81;
    bytes[39] = 0x01;
    for (uint64_t first = 0; first < bits.count; first++)
        for (uint64_t last = first; last < bits.count; last++) {
            bool clean = true;
            for (uint64_t i = first; i <= last; i++)
                clean &= !(bytes[i / 8] >> (i % 8) & 1);
            assert_int_equal(dirty_bits_clean(&bits, first * 512, (last - first + 1) * 512), clean);
        }
}

/* Clusters of 512 bytes, so that the table has some of each class. */
static void test_record_and_image_agree(void **state)
{
    char name[OWN_BITMAP_NAME];
    struct cs_store *store = new_repository();
    const char *const images[] = {"r.qcow2"};
    struct engine_backup_options options = {.images = images, .image_count = 1};
    struct engine_backup_result result;
    struct record_archive record = {0};
    struct dirty_bits was, stored, now, coarse;
    struct error err;
    (void)state;
    own_bitmap_make(cs_repository_id(store), name);
    run("qemu-img create -q -f qcow2 -o cluster_size=512 r.qcow2 64M");
    run("qemu-img bitmap --add -g 512 r.qcow2 %s", name);
    run("qemu-img bitmap --add -g 1M r.qcow2 coarse");
    run("qemu-io -f qcow2 -c 'write -q 4M 8M' -c 'write -q 20M 512' -c 'write -q 33M 5k' r.qcow2");
    was = must_have("r.qcow2", name);
    if (engine_backup(store, &options, &result, &err) < 0 ||
        record_archive_read(&record, store, &result.archive, &err) < 0)
        fail_msg("%s", err.message);
    const struct record_layer *layer = &record.layers[0];
    assert_int_equal(layer->qcow2.bitmap_count, 2);
    assert_true(layer->qcow2.bitmaps[0].own);
    assert_false(layer->qcow2.bitmaps[1].own);
    if (dirty_bits_from_record(&stored, store, layer, &layer->qcow2.bitmaps[0], &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(stored.count, was.count);
    assert_memory_equal(stored.bits, was.bits, stored.count / 8);
    assert_true(dirty_bits_superset(&stored, &was) && dirty_bits_superset(&was, &stored));
    /* the other's bits are data, and this key reads none */
    assert_int_equal(dirty_bits_from_record(&coarse, store, layer, &layer->qcow2.bitmaps[1], &err),
                     ERROR_AUTH);
    dirty_bits_clear(&coarse);
    coarse = must_have("r.qcow2", "coarse");
    assert_false(dirty_bits_superset(&coarse, &stored) || dirty_bits_superset(&stored, &coarse));

    run("qemu-io -f qcow2 -c 'write -q 50M 512' r.qcow2");
    now = must_have("r.qcow2", name);
    assert_true(dirty_bits_superset(&now, &stored));
    assert_false(dirty_bits_superset(&stored, &now));
    dirty_bits_clear(&was);
    dirty_bits_clear(&stored);
    dirty_bits_clear(&now);
    dirty_bits_clear(&coarse);
    record_archive_clear(&record);
    cs_close(store);
}

static void test_too_many_and_too_few(void **state)
{
    struct dirty_bits bits;
    struct record_layer layer = {.virtual_size = (DIRTY_BITS_MAX << 9) + 512};
    uint32_t runs[1][2] = {{QCOW2_BITMAP_ONES, 1}};
    struct record_bitmap bitmap = {.granularity_bits = 9, .runs = runs, .run_count = 1};
    struct error err;
    (void)state;
    layer.qcow2.cluster_bits = 9;
    assert_int_equal(dirty_bits_from_record(&bits, NULL, &layer, &bitmap, &err), ERROR_UNSUPPORTED);
    dirty_bits_clear(&bits);
    layer.virtual_size = 512ULL * 8 * 512; /* just covered */
    assert_int_equal(dirty_bits_from_record(&bits, NULL, &layer, &bitmap, &err), 0);
    assert_int_equal(bits.count, 4096);
    assert_false(dirty_bits_clean(&bits, 511, 1));
    dirty_bits_clear(&bits);
    layer.virtual_size += 512 * 8;
    assert_int_equal(dirty_bits_from_record(&bits, NULL, &layer, &bitmap, &err), ERROR_CORRUPT);
    dirty_bits_clear(&bits);
    bitmap.granularity_bits = 64;
    assert_int_equal(dirty_bits_from_record(&bits, NULL, &layer, &bitmap, &err), ERROR_CORRUPT);
    dirty_bits_clear(&bits);
    /* an image of that kind, which QEMU does make */
    run("qemu-img create -q -f qcow2 huge.qcow2 300G");
    run("qemu-img bitmap --add -g 512 huge.qcow2 fine");
    assert_int_equal(from_image(&bits, "huge.qcow2", "fine", &err), ERROR_UNSUPPORTED);
    dirty_bits_clear(&bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_qemu_wrote),
        cmocka_unit_test(test_clean_against_one_by_one),
        cmocka_unit_test(test_record_and_image_agree),
        cmocka_unit_test(test_too_many_and_too_few),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
