/* SPDX-License-Identifier: BSD-2-Clause */
/* Encrypted images, read without their keys: entries are those that QEMU finds with the key, bytes
 * those of the file, and what was compressed into them is no secret at all. */
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2/chain.h"
#include "qcow2_fixture.h"

#define SECRET "--object secret,id=s0,data=abc"

enum { CS = 65536, CLUSTERS = 16, SUBCLUSTER = CS / 32 };

/* Data at clusters 0 to 3 and 8, compressed at 5, zero at 6. ${format} is "luks" or "aes". */
static void make_image(const char *format, const char *options)
{
    /* Making a LUKS header fails now and then, when it cannot measure its own time. */
    run("for i in $(seq 40); do rm -f e.qcow2 d.raw; qemu-img create -q " SECRET
        " -f qcow2 -o encrypt.format=%s,encrypt.key-secret=s0%s,%s e.qcow2 1M && break; "
        "done 2>err; test -s e.qcow2 || { cat err; exit 1; }",
        format, strcmp(format, "luks") == 0 ? ",encrypt.iter-time=10" : "", options);
    run("qemu-io " SECRET " --image-opts driver=qcow2,file.filename=e.qcow2,encrypt.format=%s,"
        "encrypt.key-secret=s0 -c 'write -P 1 0 256k' %s "
        "-c 'write -z 384k 64k' -c 'write -P 3 512k 4k'",
        format, strstr(options, "data_file") ? "" : "-c 'write -c -P 2 320k 64k'");
}

/* The classes of what qemu-img map finds with the key. It gives no offsets. */
static void compare_map(const char *format, const struct qcow2_entry *entries)
{
    char *map = output_of("qemu-img map " SECRET " --output=json --image-opts "
                          "driver=qcow2,file.filename=e.qcow2,encrypt.format=%s,"
                          "encrypt.key-secret=s0",
                          format);
    char *save, *line = strtok_r(map, "\n", &save);
    uint64_t start, length;
    uint64_t end = 0;

    for (; line; line = strtok_r(NULL, "\n", &save)) {
        const char *p = strstr(line, "\"start\": "), *q = strstr(line, "\"length\": ");

        assert_true(p && q);
        start = strtoull(p + 9, NULL, 10);
        length = strtoull(q + 10, NULL, 10);
        for (uint64_t at = start; at < start + length; at += SUBCLUSTER) {
            const struct qcow2_entry *e = &entries[at / CS];
            bool none = e->sub_zero | e->sub_alloc && !(e->sub_alloc >> at % CS / SUBCLUSTER & 1);

            if (strstr(line, "\"data\": true"))
                assert_true(e->class == QCOW2_COMPRESSED || (e->class == QCOW2_DATA && !none));
            else
                assert_true(e->class == QCOW2_UNALLOCATED || e->class == QCOW2_ZERO || none);
        }
        end = start + length;
    }
    assert_int_equal(end, 1 << 20);
    free(map);
}

static void check_crypto_header(struct qcow2_image *image, bool luks)
{
    uint64_t offset, length;
    struct error err;
    uint8_t *file;
    size_t len;

    file = slurp("e.qcow2", &len);
    assert_int_equal(qcow2_crypto_header(qcow2_image_header(image),
                                         qcow2_image_header_cluster(image), len, &offset, &length,
                                         &err),
                     0);
    if (luks) {
        assert_int_equal(offset % CS, 0);
        assert_true(length > 1 << 20 && offset + length <= len);
        assert_memory_equal(file + offset, "LUKS\xba\xbe", 6);
    } else {
        assert_int_equal(length, 0);
    }
    free(file);
}

static void test_what_is_read_is_what_is_stored(void **state)
{
    static const struct {
        const char *format, *options;
        size_t written; /* bytes of cluster 8 that were */
    } variants[] = {
        {"luks", "compat=0.10", 65000},
        {"aes", "compat=1.1", 65000},
        {"luks", "data_file=d.raw", 65000},
        {"luks", "extended_l2=on", 4096},
    };
    const struct chain_options follow = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        bool external = strstr(variants[i].options, "data_file");
        struct layer_set set = {0};
        struct qcow2_entry *entries;
        struct layer *top;
        uint8_t *bytes, *data;
        struct error err;

        make_image(variants[i].format, variants[i].options);
        if (layer_set_open(&set, "e.qcow2", &follow, &top, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(read_everything(top->image, &entries, &bytes), CLUSTERS);
        compare_map(variants[i].format, entries);
        data = slurp(external ? "d.raw" : "e.qcow2", NULL);
        assert_int_equal(entries[0].class, QCOW2_DATA);
        assert_memory_equal(bytes, data + entries[0].host, 4 * CS);
        assert_memory_equal(bytes + 8 * CS, data + entries[8].host, variants[i].written);
        assert_memory_not_equal(bytes, bytes + 512, 512); /* of equal sectors */
        for (size_t j = 0; j < CS && !external; j++)
            assert_int_equal(bytes[5 * CS + j], 2);
        assert_int_equal(entries[5].class, external ? QCOW2_UNALLOCATED : QCOW2_COMPRESSED);
        check_crypto_header(top->image, strcmp(variants[i].format, "luks") == 0);
        free(data);
        free(entries);
        free(bytes);
        layer_set_clear(&set);
    }
}

/* Of the image that the test before left: it takes seconds to make one. */
static void test_headers_that_lie(void **state)
{
    struct qcow2_header h;
    struct error err;
    uint32_t at = 0;
    uint8_t *file;
    size_t len;

    (void)state;
    file = slurp("e.qcow2", &len);
    assert_int_equal(qcow2_header_decode(&h, file, CS, len, &err), 0);
    for (uint32_t i = 0; i < h.nb_extensions; i++)
        if (h.extensions[i].type == QCOW2_EXT_CRYPTO)
            at = h.extensions[i].offset;
    assert_int_not_equal(at, 0);
    qcow2_header_clear(&h);
    poke64("e.qcow2", at, 0);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "the LUKS header at 0 is not aligned");
    poke64("e.qcow2", at, be64_get(file + at) + 512);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "is not aligned to a cluster of its own");
    poke64("e.qcow2", at, (len + CS) / CS * CS);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "is not inside the file");
    poke64("e.qcow2", at, UINT64_MAX / CS * CS);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "is not inside the file");
    poke64("e.qcow2", at, be64_get(file + at));
    poke64("e.qcow2", at + 8, UINT64_MAX);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "of 18446744073709551615 bytes is not inside");
    poke64("e.qcow2", at + 8, 0);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "of 0 bytes is not inside");
    poke64("e.qcow2", at + 8, len - be64_get(file + at));
    expect_open("e.qcow2", NULL, 0, "");
    poke32("e.qcow2", at - 8, 0x12345678);
    expect_open("e.qcow2", NULL, ERROR_CORRUPT, "without the extension");
    /* Of AES, there is nothing to say. */
    poke32("e.qcow2", 32, 1);
    expect_open("e.qcow2", NULL, 0, "");
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read_is_what_is_stored),
        cmocka_unit_test(test_headers_that_lie),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
