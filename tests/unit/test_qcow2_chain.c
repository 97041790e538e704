/* SPDX-License-Identifier: BSD-2-Clause */
/* Chains: which file a name means, what is followed, what is shared, and what is refused. */
#include "qcow2/chain.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "qcow2/lock.h"
#include "qcow2_fixture.h"

static const struct chain_options follow = {0};
static const struct chain_options top_only = {.only_top = true};

static struct layer *open_chain(struct layer_set *set, const char *name)
{
    struct layer *top;
    struct error err;

    if (layer_set_open(set, name, &follow, &top, &err) < 0)
        fail_msg("%s", err.message);
    assert_non_null(top);
    return top;
}

/* Opening ${name} fails with ${code} and a message that has ${a} and ${b} in it. */
static void expect(const char *name, int code, const char *a, const char *b)
{
    struct layer_set set = {0};
    struct layer *top;
    struct error err = {0};

    if (layer_set_open(&set, name, &follow, &top, &err) != code || !strstr(err.message, a) ||
        !strstr(err.message, b))
        fail_msg("%s: %d \"%s\", not %d \"%s\" and \"%s\"", name, err.code, err.message, code, a,
                 b);
    assert_null(top);
    assert_int_equal(set.count, 0);
    layer_set_clear(&set);
}

/* Makes the header of ${name} say ${backing} and ${format} ("" for none), true or not. */
static void set_backing(const char *name, const char *backing, const char *format)
{
    struct qcow2_header h;
    struct error err;
    uint8_t *file;
    size_t len;

    file = slurp(name, &len);
    assert_int_equal(qcow2_header_decode(&h, file, 65536, len, &err), 0);
    assert_true(strlen(backing) < sizeof(h.backing_file));
    snprintf(h.backing_file, sizeof(h.backing_file), "%s", backing);
    snprintf(h.backing_format, sizeof(h.backing_format), "%s", format);
    assert_int_equal(qcow2_header_encode(file, 65536, &h, file, &err), 0);
    poke(name, 0, file, 65536);
    qcow2_header_clear(&h);
    free(file);
}

static void make_overlay(const char *name, const char *backing, const char *format)
{
    run("mkdir -p $(dirname %s); rm -f %s; qemu-img create -q -f qcow2 %s 1M", name, name, name);
    set_backing(name, backing, format);
}

static void test_three_layers(void **state)
{
    struct layer_set set = {0};
    struct layer *top, *middle, *base;
    char cwd[512], want[600];

    (void)state;
    run("qemu-img create -q -f raw base.raw 1000000; mkdir -p sub");
    run("qemu-img create -q -f qcow2 -b ../base.raw -F raw sub/middle.qcow2 2M");
    run("qemu-img create -q -f qcow2 -b sub/middle.qcow2 -F qcow2 top.qcow2 3M");
    top = open_chain(&set, "top.qcow2");
    assert_int_equal(set.count, 3);
    base = set.layers[0];
    middle = set.layers[1];
    assert_ptr_equal(set.layers[2], top);
    assert_ptr_equal(top->backing, middle);
    assert_ptr_equal(middle->backing, base);
    assert_null(base->backing);
    assert_int_equal(base->format, LAYER_RAW);
    assert_null(base->image);
    assert_int_equal(base->virtual_size, 1000448);
    assert_int_equal(middle->format, LAYER_QCOW2);
    assert_int_equal(middle->virtual_size, 2 << 20);
    assert_int_equal(top->virtual_size, 3 << 20);
    assert_string_equal(middle->opened_as, "sub/middle.qcow2");
    assert_string_equal(base->opened_as, "../base.raw");
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    snprintf(want, sizeof(want), "%s/sub/../base.raw", cwd);
    assert_string_equal(base->path, want);
    snprintf(want, sizeof(want), "%s/base.raw", cwd);
    assert_string_equal(base->real_path, want);
    assert_false(base->used_as_base || middle->used_as_base || top->used_as_base);
    layer_set_clear(&set);
    assert_int_equal(set.count, 0);
}

static void test_only_the_top(void **state)
{
    struct layer_set set = {0};
    struct layer *top;
    struct error err;

    (void)state;
    make_overlay("lonely.qcow2", "nbd://nowhere/x", "luks");
    assert_int_equal(layer_set_open(&set, "lonely.qcow2", &top_only, &top, &err), 0);
    assert_int_equal(set.count, 1);
    assert_null(top->backing);
    layer_set_clear(&set);
}

static void test_names_that_are_no_paths(void **state)
{
    static const char *const names[] = {"nbd://host/x",  "ssh://host/x",
                                        "http://host/x", "json:{\"driver\":\"null-co\"}",
                                        "we:ird.qcow2",  "json:{"};
    struct layer_set set = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        make_overlay("odd.qcow2", names[i], "raw");
        expect("odd.qcow2", ERROR_UNSUPPORTED, names[i], "--only-top");
        expect("odd.qcow2", ERROR_UNSUPPORTED, "/odd.qcow2: ", "");
    }
    make_overlay("odd.qcow2", "host_device:/dev/null", "raw");
    expect("odd.qcow2", ERROR_UNSUPPORTED, "/dev/null", "neither");
    make_overlay("odd.qcow2", "json:{\"offset\":512,\"file.filename\":\"base.raw\"}", "raw");
    expect("odd.qcow2", ERROR_UNSUPPORTED, "\"offset\"", "--only-top");
    make_overlay("odd.qcow2", "base.raw", "vmdk");
    expect("odd.qcow2", ERROR_UNSUPPORTED, "vmdk", "base.raw");
    /* A colon behind a slash is part of a name; and so it is in the name of the top. */
    run("cp base.raw we:ird.raw");
    make_overlay("top.qcow2", "./we:ird.raw", "raw");
    run("mv top.qcow2 t:op.qcow2");
    open_chain(&set, "t:op.qcow2");
    assert_int_equal(set.count, 2);
    layer_set_clear(&set);
}

/* Opens ${name}; what is below it must be the file ${file} of the working folder, in ${format}. */
static void expect_below(const char *name, const char *file, enum layer_format format)
{
    struct layer_set set = {0};
    struct layer *top = open_chain(&set, name);
    char cwd[512], want[1024];

    assert_non_null(top->backing);
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    snprintf(want, sizeof(want), "%s/%s", cwd, file);
    assert_string_equal(top->backing->path, want);
    assert_int_equal(top->backing->format, format);
    layer_set_clear(&set);
}

/* file: and json: count from the working folder; plain names from the overlay's. */
static void test_names_from_the_working_folder(void **state)
{
    struct layer_set set = {0};
    struct layer *top;

    (void)state;
    run("mkdir -p w; truncate -s 1M here.raw w/here.raw; cp here.raw nbd:x");
    make_overlay("inner.qcow2", "", "");
    make_overlay("w/o.qcow2", "file:here.raw", "raw");
    expect_below("w/o.qcow2", "here.raw", LAYER_RAW);
    make_overlay("w/o.qcow2", "here.raw", "raw");
    expect_below("w/o.qcow2", "w/here.raw", LAYER_RAW);
    make_overlay("w/o.qcow2", "json:{\"file.filename\":\"here.raw\"}", "");
    expect_below("w/o.qcow2", "here.raw", LAYER_RAW);
    make_overlay("w/o.qcow2", "json:{\"file.filename\":\"nbd:x\"}", "raw");
    expect_below("w/o.qcow2", "nbd:x", LAYER_RAW);
    make_overlay("w/o.qcow2", "file:w/../lost.raw", "raw");
    expect("w/o.qcow2", ERROR_NOT_FOUND, "/w/../lost.raw", "w/o.qcow2");
    make_overlay("w/o.qcow2", "json:{'file.filename':'w/o.qcow2'}", "");
    expect("w/o.qcow2", ERROR_CORRUPT, "loop", "w/o.qcow2");
    make_overlay("w/o.qcow2", "file:here.raw", "raw");
    top = open_chain(&set, "w/o.qcow2");
    assert_string_equal(top->backing->opened_as, "file:here.raw");
    layer_set_clear(&set);
}

/* The format is the header's, else the JSON's, and only then what the file looks like. */
static void test_formats_in_json(void **state)
{
    (void)state;
    make_overlay("inner.qcow2", "", "");
    make_overlay("o.qcow2", "json:{\"driver\":\"raw\",\"file.filename\":\"inner.qcow2\"}", "");
    expect_below("o.qcow2", "inner.qcow2", LAYER_RAW);
    set_backing("o.qcow2", "json:{\"driver\":\"raw\",\"file.filename\":\"inner.qcow2\"}", "qcow2");
    expect_below("o.qcow2", "inner.qcow2", LAYER_QCOW2);
    set_backing("o.qcow2", "json:{\"driver\":\"qcow2\",\"file.filename\":\"inner.qcow2\"}", "raw");
    expect_below("o.qcow2", "inner.qcow2", LAYER_RAW);
    set_backing("o.qcow2", "json:{\"driver\":\"qcow2\",\"file.filename\":\"inner.qcow2\"}", "");
    expect_below("o.qcow2", "inner.qcow2", LAYER_QCOW2);
    set_backing("o.qcow2", "json:{\"file.filename\":\"inner.qcow2\"}", "");
    expect_below("o.qcow2", "inner.qcow2", LAYER_QCOW2);
    set_backing("o.qcow2", "json:{\"driver\":\"qcow2\",\"file.filename\":\"base.raw\"}", "");
    expect("o.qcow2", ERROR_UNSUPPORTED, "base.raw", "not a qcow2 file");
    set_backing("o.qcow2", "file:inner.qcow2", "");
    expect_below("o.qcow2", "inner.qcow2", LAYER_QCOW2);
    set_backing("o.qcow2", "file:inner.qcow2", "raw");
    expect_below("o.qcow2", "inner.qcow2", LAYER_RAW);
}

/* ${before}, slashes, and ${after}: 1023 bytes in all, as many as a header can have. */
static const char *long_name(const char *before, const char *after)
{
    static char name[QCOW2_MAX_BACKING_NAME + 1];
    size_t n = strlen(before), m = strlen(after);

    memset(name, '/', sizeof(name) - 1);
    memcpy(name, before, n);
    memcpy(name + sizeof(name) - 1 - m, after, m + 1);
    assert_int_equal(strlen(name), 1023);
    return name;
}

static void test_long_names(void **state)
{
    static const char *const names[][2] = {
        {".", "base.raw"},
        {"file:.", "base.raw"},
        {"json:{\"file.filename\":\".", "base.raw\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct layer_set set = {0};
        struct layer *top;

        make_overlay("long.qcow2", long_name(names[i][0], names[i][1]), "raw");
        top = open_chain(&set, "long.qcow2");
        assert_int_equal(strlen(top->backing->opened_as), 1023);
        assert_int_equal(top->backing->path[0], '/');
        assert_non_null(strstr(top->backing->real_path, "/base.raw"));
        layer_set_clear(&set);
    }
    make_overlay("long.qcow2", long_name("nbd:", "x"), "raw");
    expect("long.qcow2", ERROR_UNSUPPORTED, "long.qcow2", "--only-top");
}

/* A shared overlay under two names: from both, file: means the same. */
static void test_a_shared_overlay_with_file(void **state)
{
    struct layer_set set = {0};

    (void)state;
    make_overlay("p/mid.qcow2", "file:base.raw", "raw");
    run("mkdir -p q; ln -sf ../p/mid.qcow2 q/mid.qcow2");
    make_overlay("p.qcow2", "p/mid.qcow2", "qcow2");
    make_overlay("q.qcow2", "q/mid.qcow2", "qcow2");
    open_chain(&set, "p.qcow2");
    open_chain(&set, "q.qcow2");
    assert_int_equal(set.count, 4);
    layer_set_clear(&set);
}

static void test_missing_files(void **state)
{
    (void)state;
    expect("nothing.qcow2", ERROR_NOT_FOUND, "nothing.qcow2", "No such file");
    make_overlay("orphan.qcow2", "lost/base.raw", "raw");
    expect("orphan.qcow2", ERROR_NOT_FOUND, "lost/base.raw", "orphan.qcow2");
    expect("", ERROR_USAGE, "empty", "");
}

static void test_loops(void **state)
{
    (void)state;
    make_overlay("self.qcow2", "self.qcow2", "qcow2");
    expect("self.qcow2", ERROR_CORRUPT, "loop", "self.qcow2");
    make_overlay("a.qcow2", "b.qcow2", "qcow2");
    make_overlay("b.qcow2", "link.qcow2", "qcow2");
    run("ln -sf a.qcow2 link.qcow2");
    expect("a.qcow2", ERROR_CORRUPT, "loop", "link.qcow2");
    run("rm link.qcow2; ln a.qcow2 link.qcow2");
    expect("a.qcow2", ERROR_CORRUPT, "loop", "link.qcow2");
}

static void test_depth(void **state)
{
    struct layer_set set = {0};
    char name[64], below[64];

    (void)state;
    make_overlay("d0.qcow2", "", "");
    for (int i = 1; i <= 256; i++) {
        snprintf(name, sizeof(name), "d%d.qcow2", i);
        snprintf(below, sizeof(below), "d%d.qcow2", i - 1);
        run("cp d0.qcow2 %s", name);
        set_backing(name, below, "qcow2");
    }
    open_chain(&set, "d255.qcow2"); /* 256 layers */
    assert_int_equal(set.count, 256);
    assert_non_null(strstr(set.layers[0]->path, "/d0.qcow2"));
    layer_set_clear(&set);
    expect("d256.qcow2", ERROR_CORRUPT, "deeper than 256", "");
    /* And no deeper where most of it is there already. */
    open_chain(&set, "d200.qcow2");
    open_chain(&set, "d255.qcow2");
    assert_int_equal(set.count, 256);
    {
        struct layer *top;
        struct error err;

        assert_int_equal(layer_set_open(&set, "d256.qcow2", &follow, &top, &err), ERROR_CORRUPT);
        assert_int_equal(set.count, 256);
    }
    layer_set_clear(&set);
    run("rm -f d*.qcow2");
}

/* A name is relative to the folder in the overlay's name, whatever the overlay links to. */
static void test_a_linked_overlay(void **state)
{
    struct layer_set set = {0};
    struct layer *top;

    (void)state;
    make_overlay("x/over.qcow2", "base.raw", "raw");
    run("mkdir -p y; ln -sf ../x/over.qcow2 y/over.qcow2; truncate -s 1M x/base.raw; "
        "truncate -s 2M y/base.raw");
    top = open_chain(&set, "y/over.qcow2");
    assert_int_equal(top->backing->virtual_size, 2 << 20);
    assert_non_null(strstr(top->path, "/y/over.qcow2"));
    assert_non_null(strstr(top->real_path, "/x/over.qcow2"));
    layer_set_clear(&set);
    run("rm y/base.raw");
    expect("y/over.qcow2", ERROR_NOT_FOUND, "y/base.raw", "y/over.qcow2");
}

static void test_what_is_no_disk(void **state)
{
    (void)state;
    run("rm -f fifo; mkfifo fifo; mkdir -p folder");
    expect("fifo", ERROR_UNSUPPORTED, "fifo", "neither");
    expect("folder", ERROR_UNSUPPORTED, "folder", "neither");
    expect("/dev/null", ERROR_UNSUPPORTED, "/dev/null", "neither");
    make_overlay("onfifo.qcow2", "fifo", "raw");
    expect("onfifo.qcow2", ERROR_UNSUPPORTED, "fifo", "onfifo.qcow2");
}

static void test_formats(void **state)
{
    struct layer_set set = {0};
    struct layer *top;

    (void)state;
    /* Declared raw stays raw, though the guest may have written the magic into it. */
    make_overlay("inner.qcow2", "", "");
    make_overlay("asraw.qcow2", "inner.qcow2", "raw");
    top = open_chain(&set, "asraw.qcow2");
    assert_int_equal(top->backing->format, LAYER_RAW);
    assert_int_equal(top->backing->virtual_size, top->backing->file_size);
    layer_set_clear(&set);
    /* Undeclared is probed. */
    make_overlay("probed.qcow2", "inner.qcow2", "");
    top = open_chain(&set, "probed.qcow2");
    assert_int_equal(top->backing->format, LAYER_QCOW2);
    layer_set_clear(&set);
    make_overlay("probed.qcow2", "base.raw", "");
    top = open_chain(&set, "probed.qcow2");
    assert_int_equal(top->backing->format, LAYER_RAW);
    layer_set_clear(&set);
    make_overlay("lying.qcow2", "base.raw", "qcow2");
    expect("lying.qcow2", ERROR_UNSUPPORTED, "base.raw", "not a qcow2 file");
    /* A top without the magic is raw; with it, it has to be good. */
    run("truncate -s 0 empty.raw");
    top = open_chain(&set, "empty.raw");
    assert_int_equal(top->format, LAYER_RAW);
    assert_int_equal(top->virtual_size, 0);
    layer_set_clear(&set);
    run("truncate -s 1000001 exact.raw");
    assert_int_equal(open_chain(&set, "exact.raw")->virtual_size, 1000001);
    layer_set_clear(&set);
    spill("magic", "QFI\xfb", 4);
    expect("magic", ERROR_CORRUPT, "magic", "header");
}

static void test_a_shared_base(void **state)
{
    struct layer_set set = {0};
    struct layer *a, *b, *top;
    struct error err;

    (void)state;
    make_overlay("one.qcow2", "base.raw", "raw");
    make_overlay("z/two.qcow2", "../base.raw", "raw");
    make_overlay("three.qcow2", "one.qcow2", "qcow2");
    a = open_chain(&set, "one.qcow2");
    b = open_chain(&set, "z/two.qcow2");
    assert_int_equal(set.count, 3);
    assert_ptr_equal(a->backing, b->backing);
    /* A top that is somebody's base in the set, both ways round, and twice. */
    top = open_chain(&set, "three.qcow2");
    assert_ptr_equal(top->backing, a);
    assert_int_equal(set.count, 4);
    assert_ptr_equal(open_chain(&set, "one.qcow2"), a);
    assert_ptr_equal(open_chain(&set, "base.raw"), a->backing);
    assert_int_equal(set.count, 4);
    /* A failure leaves all that was there, with its locks. */
    assert_int_equal(layer_set_open(&set, "orphan.qcow2", &follow, &top, &err), ERROR_NOT_FOUND);
    assert_int_equal(set.count, 4);
    run("! qemu-io -f raw -c 'write 0 512' base.raw");
    /* One file cannot be two things. */
    make_overlay("asraw.qcow2", "one.qcow2", "raw");
    assert_int_equal(layer_set_open(&set, "asraw.qcow2", &follow, &top, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "as raw by one image and as qcow2 by another"));
    layer_set_clear(&set);
    run("qemu-io -f raw -c 'write 0 512' base.raw");
}

/* One overlay under two names, from which its backing name means two files. */
static void test_a_base_that_depends_on_the_name(void **state)
{
    struct layer_set set = {0};
    struct layer *top;
    struct error err;

    (void)state;
    make_overlay("p/mid.qcow2", "root.raw", "raw");
    run("mkdir -p q; ln -sf ../p/mid.qcow2 q/mid.qcow2; truncate -s 1M p/root.raw q/root.raw");
    make_overlay("p.qcow2", "p/mid.qcow2", "qcow2");
    make_overlay("q.qcow2", "q/mid.qcow2", "qcow2");
    open_chain(&set, "p.qcow2");
    assert_int_equal(layer_set_open(&set, "q.qcow2", &follow, &top, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "q/root.raw is not"));
    assert_int_equal(set.count, 3);
    run("rm q/root.raw; ln -s ../p/root.raw q/root.raw");
    open_chain(&set, "q.qcow2");
    assert_int_equal(set.count, 4);
    layer_set_clear(&set);
}

static void test_images_marked_corrupt(void **state)
{
    const struct chain_options force = {.force_corrupt = true};
    struct layer_set set = {0};
    struct layer *top;
    struct error err;

    (void)state;
    make_overlay("marked.qcow2", "", "");
    poke64("marked.qcow2", 72, QCOW2_INCOMPAT_CORRUPT);
    make_overlay("above.qcow2", "marked.qcow2", "qcow2");
    expect("above.qcow2", ERROR_UNSUPPORTED, "marked.qcow2: it is marked corrupt",
           "--force-corrupt");
    assert_int_equal(layer_set_open(&set, "above.qcow2", &force, &top, &err), 0);
    assert_int_equal(set.count, 2);
    layer_set_clear(&set);
}

static void test_layers_are_locked(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    struct layer_set set = {0};
    int fd;

    (void)state;
    fd = open("base.raw", O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    expect("one.qcow2", ERROR_IN_USE, "base.raw: in use", "one.qcow2");
    close(fd);
    open_chain(&set, "one.qcow2");
    fd = open("one.qcow2", O_RDWR | O_CLOEXEC);
    assert_int_equal(lock_probe_unused(fd, "one.qcow2", NULL), ERROR_IN_USE);
    layer_set_clear(&set);
    assert_int_equal(lock_probe_unused(fd, "one.qcow2", NULL), 0);
    close(fd);
}

/* After ${command}, one.qcow2 is no longer what was opened; the message has ${why}. */
static void expect_change(const char *command, const char *why)
{
    struct layer_set set = {0};
    struct error err = {0};

    run("cp one.qcow2 c.qcow2");
    open_chain(&set, "c.qcow2");
    assert_int_equal(layer_set_verify_unchanged(&set, &err), 0);
    run("%s", command);
    if (layer_set_verify_unchanged(&set, &err) != ERROR_CHANGED || !strstr(err.message, why) ||
        !strstr(err.message, "c.qcow2"))
        fail_msg("%s: %d \"%s\", not \"%s\"", command, err.code, err.message, why);
    layer_set_clear(&set);
}

static void test_changes_are_seen(void **state)
{
    (void)state;
    expect_change("printf x >> c.qcow2", "bytes");
    expect_change("touch -d '2001-02-03' c.qcow2", "mtime");
    expect_change("chmod 640 c.qcow2", "ctime");
    expect_change("cp c.qcow2 n && mv n c.qcow2", "changed"); /* the last link to it went */
    expect_change("ln c.qcow2 keep; rm c.qcow2", "changed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_layers),
        cmocka_unit_test(test_only_the_top),
        cmocka_unit_test(test_names_that_are_no_paths),
        cmocka_unit_test(test_names_from_the_working_folder),
        cmocka_unit_test(test_formats_in_json),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_a_shared_overlay_with_file),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_a_linked_overlay),
        cmocka_unit_test(test_what_is_no_disk),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_a_shared_base),
        cmocka_unit_test(test_a_base_that_depends_on_the_name),
        cmocka_unit_test(test_images_marked_corrupt),
        cmocka_unit_test(test_layers_are_locked),
        cmocka_unit_test(test_changes_are_seen),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
