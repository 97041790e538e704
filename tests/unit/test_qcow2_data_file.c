/* SPDX-License-Identifier: BSD-2-Clause */
/* External data files: what is in them, which one a name means, and what is refused. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/be.h"
#include "qcow2/chain.h"
#include "qcow2_fixture.h"

#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

static const struct chain_options follow = {0};

static struct layer *open_top(struct layer_set *set, const char *name)
{
    struct layer *top;
    struct error err;

    if (layer_set_open(set, name, &follow, &top, &err) < 0)
        fail_msg("%s", err.message);
    return top;
}

/* Opening ${name} fails with ${code}, and a message that has ${a} and ${b} in it. */
static void expect(const char *name, int code, const char *a, const char *b)
{
    struct layer_set set = {0};
    struct layer *top;
    struct error err = {0};

    if (layer_set_open(&set, name, &follow, &top, &err) != code || !strstr(err.message, a) ||
        !strstr(err.message, b))
        fail_msg("%s: %d \"%s\", not %d \"%s\" and \"%s\"", name, err.code, err.message, code, a,
                 b);
    layer_set_clear(&set);
}

/* The bytes, and where each data cluster is: where the guest has it. */
static void compare(const char *name, struct qcow2_image *image)
{
    size_t cluster_size = qcow2_image_cluster_size(image), len, n;
    struct qcow2_entry *entries;
    uint8_t *bytes, *raw;

    n = read_everything(image, &entries, &bytes);
    run("qemu-img convert -f qcow2 -O raw %s oracle.raw", name);
    raw = slurp("oracle.raw", &len);
    assert_int_equal(len, qcow2_image_virtual_size(image));
    assert_memory_equal(raw, bytes, len);
    for (size_t i = 0; i < n; i++)
        if (entries[i].class == QCOW2_DATA || entries[i].class == QCOW2_ZERO_ALLOC)
            assert_int_equal(entries[i].host, i * cluster_size);
    free(raw);
    free(entries);
    free(bytes);
}

static void test_data_is_read_from_it(void **state)
{
    static const char *const options[] = {
        "data_file=d.raw",
        "data_file=d.raw,cluster_size=4k",
        "data_file=d.raw,data_file_raw=on",
        "data_file=d.raw,extended_l2=on",
        "data_file=d.raw,preallocation=metadata",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        struct layer_set set = {0};
        struct qcow2_entry e;
        struct layer *top;
        struct error err;

        run("rm -f x.qcow2 d.raw; qemu-img create -q -f qcow2 -o %s x.qcow2 1000k", options[i]);
        run("qemu-io -f qcow2 -c 'write -P 1 0 4k' -c 'write -P 2 128k 192k' "
            "-c 'write -z 192k 64k' -c 'write -P 3 999k 512' -c 'discard 256k 64k' x.qcow2");
        top = open_top(&set, "x.qcow2");
        assert_non_null(top->data_file);
        assert_in_range(top->data_file->size, 1000 << 10, 1 << 20);
        assert_non_null(strstr(top->data_file->real_path, "/d.raw"));
        assert_int_equal(qcow2_view_entries(qcow2_image_active(top->image), 0, 1, &e, &err), 0);
        assert_int_equal(e.class, QCOW2_DATA);
        assert_int_equal(e.host, 0);
        compare("x.qcow2", top->image);
        layer_set_clear(&set);
    }
}

static void test_images_without_their_data_file(void **state)
{
    struct qcow2_header h;
    struct error err;
    uint8_t *file;
    size_t len;

    (void)state;
    run("rm -f x.qcow2 d.raw; qemu-img create -q -f qcow2 -o data_file=d.raw x.qcow2 1M");
    expect_open("x.qcow2", NULL, ERROR_UNSUPPORTED, "\"d.raw\"");
    run("rm d.raw");
    expect("x.qcow2", ERROR_NOT_FOUND, "x.qcow2: data file ", "/d.raw: no such file");

    /* Some are made without a name, to be given when they are opened. */
    file = slurp("x.qcow2", &len);
    assert_int_equal(qcow2_header_decode(&h, file, 65536, len, &err), 0);
    for (uint32_t i = 0; i < h.nb_extensions; i++)
        if (h.extensions[i].type == QCOW2_EXT_DATA_FILE)
            poke32("x.qcow2", h.extensions[i].offset - 8, 0x12345678);
    qcow2_header_clear(&h);
    free(file);
    expect("x.qcow2", ERROR_UNSUPPORTED, "x.qcow2", "it has no name");
}

/* Puts the ${len} bytes ${name} in place of the name of x.qcow2, which is as long at least. */
static void set_name(const char *name, uint32_t len)
{
    struct qcow2_header h;
    struct error err;
    uint8_t *file;
    size_t size;

    run("rm -rf x.qcow2 d dd.raw; qemu-img create -q -f qcow2 -o data_file=dd.raw x.qcow2 1M");
    file = slurp("x.qcow2", &size);
    assert_int_equal(qcow2_header_decode(&h, file, 65536, size, &err), 0);
    for (uint32_t i = 0; i < h.nb_extensions; i++)
        if (h.extensions[i].type == QCOW2_EXT_DATA_FILE) {
            assert_in_range(len, 0, h.extensions[i].length);
            poke32("x.qcow2", h.extensions[i].offset - 4, len);
            poke("x.qcow2", h.extensions[i].offset, name, len);
            if (len == 0) /* what follows is the end mark */
                poke64("x.qcow2", h.extensions[i].offset, 0);
        }
    qcow2_header_clear(&h);
    free(file);
}

static void test_names_that_are_none(void **state)
{
    (void)state;
    set_name("", 0);
    expect("x.qcow2", ERROR_CORRUPT, "the data file name at", "is empty");
    set_name("a\0b", 3);
    expect("x.qcow2", ERROR_CORRUPT, "the data file name at", "a NUL in it");
    set_name("a:b", 3);
    expect("x.qcow2", ERROR_UNSUPPORTED, "a:b", "no plain path");
    set_name("x.qcow2", 6); /* "x.qcow" */
    run("ln -sf x.qcow2 x.qcow");
    expect("x.qcow2", ERROR_CORRUPT, "x.qcow2", "is the image itself");
    set_name("d", 1);
    run("mkdir d");
    expect("x.qcow2", ERROR_UNSUPPORTED, "/d", "neither a regular file nor a block device");
    run("rmdir d; mkfifo d");
    expect("x.qcow2", ERROR_UNSUPPORTED, "/d", "neither a regular file nor a block device");
    run("rm d; ln -s d d");
    expect("x.qcow2", ERROR_IO, "/d", "cannot open");
}

/* Beside the image first, then in the working directory; both, and QEMU would take the other. */
static void test_which_file_a_name_means(void **state)
{
    struct layer_set set = {0};
    struct layer *top;

    (void)state;
    run("rm -rf x.qcow2 d.raw sub; mkdir sub; qemu-img create -q -f qcow2 -o data_file=d.raw "
        "x.qcow2 1M; qemu-io -f qcow2 -c 'write -P 1 0 64k' x.qcow2; mv x.qcow2 sub");
    top = open_top(&set, "sub/x.qcow2");
    assert_non_null(strstr(top->data_file->path, "/d.raw"));
    assert_null(strstr(top->data_file->path, "sub"));
    compare("sub/x.qcow2", top->image);
    layer_set_clear(&set);

    run("cp d.raw sub");
    expect("sub/x.qcow2", ERROR_UNSUPPORTED, "sub/d.raw, which lies beside the image, or", "QEMU");
    run("rm d.raw");
    top = open_top(&set, "sub/x.qcow2");
    assert_non_null(strstr(top->data_file->path, "sub/d.raw"));
    layer_set_clear(&set);
    run("ln -s sub/d.raw d.raw");
    top = open_top(&set, "sub/x.qcow2");
    layer_set_clear(&set);
    run("rm d.raw");
}

/* One image under two names, of which each finds another file. */
static void test_an_image_reached_under_two_names(void **state)
{
    struct layer_set set = {0};
    struct layer *top, *again;
    struct error err = {0};

    (void)state;
    run("rm -rf d.raw sub a b; mkdir -p a b sub; cd a; qemu-img create -q -f qcow2 -o "
        "data_file=d.raw x.qcow2 1M; ln -s ../a/x.qcow2 ../b/x.qcow2; cp d.raw ../b");
    top = open_top(&set, "a/x.qcow2");
    assert_int_equal(layer_set_open(&set, "b/x.qcow2", &follow, &again, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "b/d.raw is not "));
    run("rm b/d.raw; ln -s ../a/d.raw b/d.raw");
    assert_int_equal(layer_set_open(&set, "b/x.qcow2", &follow, &again, &err), 0);
    assert_ptr_equal(again, top);
    assert_int_equal(set.count, 1);
    layer_set_clear(&set);
}

static void test_it_is_locked_and_watched(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    struct layer_set set = {0};
    struct error err = {0};
    int fd;

    (void)state;
    run("rm -f x.qcow2 d.raw; qemu-img create -q -f qcow2 -o data_file=d.raw x.qcow2 1M");
    fd = open("d.raw", O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    expect("x.qcow2", ERROR_IN_USE, "x.qcow2: ", "/d.raw: in use");
    close(fd);
    open_top(&set, "x.qcow2");
    run("if qemu-io -f raw -c 'write 0 512' d.raw; then exit 1; fi");
    assert_int_equal(layer_set_verify_unchanged(&set, &err), 0);
    run("printf x | dd of=d.raw conv=notrunc status=none");
    assert_int_equal(layer_set_verify_unchanged(&set, &err), ERROR_CHANGED);
    assert_non_null(strstr(err.message, "d.raw: changed while it was read"));
    layer_set_clear(&set);
}

/* With entry 3 of the only L2 table replaced, reading it fails with ${message}. */
static void expect_entry(uint64_t word, const char *message)
{
    struct layer_set set = {0};
    struct qcow2_entry e;
    struct layer *top;
    struct error err = {0};

    run("cp x.qcow2 bad.qcow2");
    poke64("bad.qcow2", (peek64("bad.qcow2", peek64("bad.qcow2", 40)) & ~COPIED) + 24, word);
    top = open_top(&set, "bad.qcow2");
    if (qcow2_view_entries(qcow2_image_active(top->image), 3, 1, &e, &err) != ERROR_CORRUPT ||
        !strstr(err.message, message) || !strstr(err.message, "guest cluster 3"))
        fail_msg("%d \"%s\", not \"%s\"", err.code, err.message, message);
    layer_set_clear(&set);
}

static void test_tables_that_lie(void **state)
{
    struct qcow2_open_options options = {.data_fd = 0};
    struct layer_set set = {0};
    struct qcow2_entry e;
    struct layer *top;
    struct error err;

    (void)state;
    run("rm -f x.qcow2 d.raw; qemu-img create -q -f qcow2 -o data_file=d.raw x.qcow2 1M; "
        "qemu-io -f qcow2 -c 'write -P 1 0 1M' x.qcow2");
    expect_entry(COPIED | 65536, "host offset 65536 in the data file is not the guest's, which is "
                                 "196608");
    expect_entry(COPIED, "host offset 0 in the data file is not the guest's");
    expect_entry(COMPRESSED | 196608, "compressed cluster, which an external data file cannot");
    expect_entry(COPIED | 100 << 20, "end beyond the data file of 1048576 bytes");
    /* A zero cluster at offset 0 owns nothing, as in QEMU. */
    poke64("x.qcow2", peek64("x.qcow2", peek64("x.qcow2", 40)) & ~COPIED, COPIED | 1);
    top = open_top(&set, "x.qcow2");
    assert_int_equal(qcow2_view_entries(qcow2_image_active(top->image), 0, 1, &e, &err), 0);
    assert_int_equal(e.class, QCOW2_ZERO);
    layer_set_clear(&set);

    run("truncate -s 1000k d.raw");
    top = open_top(&set, "x.qcow2");
    assert_int_equal(qcow2_view_entries(qcow2_image_active(top->image), 15, 1, &e, &err), 0);
    layer_set_clear(&set);
    run("truncate -s 960k d.raw");
    top = open_top(&set, "x.qcow2");
    assert_int_equal(qcow2_view_entries(qcow2_image_active(top->image), 15, 1, &e, &err),
                     ERROR_CORRUPT);
    layer_set_clear(&set);

    poke32("x.qcow2", 60, 1);
    poke64("x.qcow2", 64, 65536);
    expect_open("x.qcow2", &options, ERROR_CORRUPT, "1 internal snapshots with an external data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_is_read_from_it),
        cmocka_unit_test(test_images_without_their_data_file),
        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_which_file_a_name_means),
        cmocka_unit_test(test_an_image_reached_under_two_names),
        cmocka_unit_test(test_it_is_locked_and_watched),
        cmocka_unit_test(test_tables_that_lie),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
