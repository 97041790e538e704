/* SPDX-License-Identifier: BSD-2-Clause */
/* Compressed clusters: the same streams as QEMU's, and the same idea of which are good. */
#include "qcow2/codec.h"

#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#include "qcow2_fixture.h"

#define CLUSTER ((size_t)65536)

/* Text-like: compresses, but not to nothing. */
static void fill_text(uint8_t *buf, size_t len, uint64_t seed)
{
    fill_random(buf, len, seed);
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t) "etaoin shrdlu\n\0x"[buf[i] & 15];
}

static struct qcow2_codec *new_codec(enum qcow2_compression type)
{
    struct qcow2_codec *codec;
    struct error err;

    assert_int_equal(qcow2_codec_new(&codec, type, &err), 0);
    return codec;
}

/* Decodes QEMU's streams of ${image}, encodes the clusters again and compares the bytes. */
static void compare_with_qemu(const char *name, enum qcow2_compression type)
{
    struct qcow2_codec *codec = new_codec(type);
    struct qcow2_entry *entries;
    struct qcow2_image *image;
    uint8_t *bytes, *file, *out;
    size_t n = 0, clusters, size, len;
    struct error err;
    int fd;

    image = open_image(name, &fd);
    size = qcow2_image_cluster_size(image);
    clusters = read_everything(image, &entries, &bytes);
    file = slurp(name, NULL);
    out = malloc(size);
    for (size_t i = 0; i < clusters; i++) {
        if (entries[i].class != QCOW2_COMPRESSED)
            continue;
        assert_int_equal(qcow2_codec_encode(codec, bytes + i * size, size, out, &len, &err), 0);
        assert_int_equal(len, entries[i].length);
        assert_memory_equal(out, file + entries[i].host, len);
        n++;
    }
    assert_true(n >= 15);
    free(out);
    free(file);
    free(entries);
    free(bytes);
    close_image(image, fd);
    qcow2_codec_free(codec);
}

static void test_streams_equal_qemus(void **state)
{
    static const char *const sizes[] = {"512", "4k", "64k", "2M"};
    static const size_t bytes[] = {512, 4096, 65536, 2 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t len = 16 * bytes[i];
        uint8_t *raw = malloc(len);

        for (size_t c = 0; c < 16; c++)
            if (c & 1)
                fill_text(raw + c * bytes[i], bytes[i], c + 1);
            else /* zeros, and some noise */
                fill_random(memset(raw + c * bytes[i], 0, bytes[i]), bytes[i] >> (3 + c / 4), c);
        fill_random(raw, bytes[i], 99); /* does not compress */
        spill("c.raw", raw, len);
        for (int type = QCOW2_ZLIB; type <= QCOW2_ZSTD; type++) {
            run("qemu-img convert -c -f raw -O qcow2 -o cluster_size=%s,compression_type=%s c.raw "
                "c.qcow2",
                sizes[i], type == QCOW2_ZSTD ? "zstd" : "zlib");
            compare_with_qemu("c.qcow2", (enum qcow2_compression)type);
        }
        free(raw);
    }
}

/* All of the input may follow; what the stream does not need is not counted. */
static void test_true_length_is_found(void **state)
{
    uint8_t *in = malloc(CLUSTER), *out = malloc(CLUSTER), *back = malloc(CLUSTER);

    (void)state;
    fill_text(in, CLUSTER, 1);
    for (int type = QCOW2_ZLIB; type <= QCOW2_ZSTD; type++) {
        struct qcow2_codec *codec = new_codec((enum qcow2_compression)type);
        struct error err;
        size_t len, used;

        memset(out, 0xee, CLUSTER);
        assert_int_equal(qcow2_codec_encode(codec, in, CLUSTER, out, &len, &err), 0);
        assert_true(len > 0 && len < CLUSTER - 1000);
        assert_int_equal(qcow2_codec_decode(codec, out, len + 500, back, CLUSTER, &used, &err), 0);
        assert_int_equal(used, len);
        assert_memory_equal(in, back, CLUSTER);
        assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err), 0);
        assert_int_equal(used, len);
        assert_int_equal(qcow2_codec_decode(codec, out, len - 9, back, CLUSTER, &used, &err),
                         ERROR_CORRUPT);
        assert_int_equal(qcow2_codec_decode(codec, out, 0, back, CLUSTER, &used, &err),
                         ERROR_CORRUPT);
        /* And after a failure the context is as good as new. */
        assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err), 0);
        qcow2_codec_free(codec);
    }
    free(in);
    free(out);
    free(back);
}

static void test_what_does_not_shrink_is_refused(void **state)
{
    uint8_t *in = malloc(CLUSTER), *out = malloc(CLUSTER);

    (void)state;
    fill_random(in, CLUSTER, 7);
    for (int type = QCOW2_ZLIB; type <= QCOW2_ZSTD; type++) {
        struct qcow2_codec *codec = new_codec((enum qcow2_compression)type);
        struct error err;
        size_t len = 1;

        assert_int_equal(qcow2_codec_encode(codec, in, CLUSTER, out, &len, &err), 0);
        assert_int_equal(len, 0);
        /* The next one is not the worse for it. */
        memset(in, 0, 100);
        assert_int_equal(
            qcow2_codec_encode(codec, memset(out, 1, CLUSTER), CLUSTER, in, &len, &err), 0);
        assert_true(len > 0 && len < 200);
        fill_random(in, CLUSTER, 7);
        qcow2_codec_free(codec);
    }
    free(in);
    free(out);
}

static size_t deflate_with(uint8_t *out, size_t room, const uint8_t *in, size_t len, int window,
                           int flush)
{
    z_stream s = {0};
    size_t got;

    assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    s.next_in = (z_const Bytef *)in;
    s.avail_in = (uInt)len;
    s.next_out = out;
    s.avail_out = (uInt)room;
    assert_true(deflate(&s, flush) >= 0);
    got = room - s.avail_out;
    deflateEnd(&s);
    return got;
}

static void test_deflate_that_only_inflate_takes(void **state)
{
    uint8_t *in = malloc(2 * CLUSTER), *out = malloc(2 * CLUSTER), *back = malloc(CLUSTER);
    struct qcow2_codec *codec = new_codec(QCOW2_ZLIB);
    struct error err;
    size_t len, used;

    (void)state;
    fill_text(in, 2 * CLUSTER, 3);
    /* A window of 2^15. */
    len = deflate_with(out, 2 * CLUSTER, in, CLUSTER, -15, Z_FINISH);
    assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err), 0);
    assert_int_equal(used, len);
    assert_memory_equal(in, back, CLUSTER);
    /* No end of stream, but all bytes are there. */
    len = deflate_with(out, 2 * CLUSTER, in, CLUSTER, -12, Z_SYNC_FLUSH);
    memset(back, 0, CLUSTER);
    assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err), 0);
    assert_true(used <= len);
    assert_memory_equal(in, back, CLUSTER);
    /* A stream of more than a cluster: its first bytes are the cluster. */
    len = deflate_with(out, 2 * CLUSTER, in, 2 * CLUSTER, -12, Z_FINISH);
    memset(back, 0, CLUSTER);
    assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err), 0);
    assert_true(used <= len);
    assert_memory_equal(in, back, CLUSTER);
    /* One of less is not enough, whether it ends or not. */
    len = deflate_with(out, 2 * CLUSTER, in, CLUSTER - 1, -12, Z_FINISH);
    assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err),
                     ERROR_CORRUPT);
    len = deflate_with(out, 2 * CLUSTER, in, CLUSTER - 1, -12, Z_SYNC_FLUSH);
    assert_int_equal(qcow2_codec_decode(codec, out, len, back, CLUSTER, &used, &err),
                     ERROR_CORRUPT);
    fill_random(out, CLUSTER, 5);
    assert_int_equal(qcow2_codec_decode(codec, out, CLUSTER, back, CLUSTER, &used, &err),
                     ERROR_CORRUPT);
    qcow2_codec_free(codec);
    free(in);
    free(out);
    free(back);
}

static void test_zstd_frames(void **state)
{
    uint8_t *in = malloc(2 * CLUSTER), *out = malloc(4 * CLUSTER), *back = malloc(CLUSTER);
    struct qcow2_codec *codec = new_codec(QCOW2_ZSTD);
    struct error err;
    size_t a, b, used;

    (void)state;
    fill_text(in, 2 * CLUSTER, 4);
    /* Two frames for one cluster, with something behind them. */
    a = ZSTD_compress(out, 4 * CLUSTER, in, 20000, 3);
    b = ZSTD_compress(out + a, 4 * CLUSTER - a, in + 20000, CLUSTER - 20000, 3);
    assert_int_equal(qcow2_codec_decode(codec, out, a + b + 100, back, CLUSTER, &used, &err), 0);
    assert_int_equal(used, a + b);
    assert_memory_equal(in, back, CLUSTER);
    /* The second is cut. */
    assert_int_equal(qcow2_codec_decode(codec, out, a + b - 1, back, CLUSTER, &used, &err),
                     ERROR_CORRUPT);
    /* A frame of more than a cluster, and of less. */
    a = ZSTD_compress(out, 4 * CLUSTER, in, CLUSTER + 1, 3);
    assert_int_equal(qcow2_codec_decode(codec, out, a, back, CLUSTER, &used, &err), ERROR_CORRUPT);
    a = ZSTD_compress(out, 4 * CLUSTER, in, CLUSTER - 1, 3);
    assert_int_equal(qcow2_codec_decode(codec, out, a, back, CLUSTER, &used, &err), ERROR_CORRUPT);
    qcow2_codec_free(codec);
    free(in);
    free(out);
    free(back);
}

static void test_unknown_type(void **state)
{
    struct qcow2_codec *codec;
    struct error err;

    (void)state;
    assert_int_equal(qcow2_codec_new(&codec, (enum qcow2_compression)2, &err), ERROR_UNSUPPORTED);
    assert_null(codec);
    qcow2_codec_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_equal_qemus),
        cmocka_unit_test(test_true_length_is_found),
        cmocka_unit_test(test_what_does_not_shrink_is_refused),
        cmocka_unit_test(test_deflate_that_only_inflate_takes),
        cmocka_unit_test(test_zstd_frames),
        cmocka_unit_test(test_unknown_type),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
