/* SPDX-License-Identifier: BSD-2-Clause */
/* Backing names: what each form means, and that nothing is taken that may be another disk. */
#include "qcow2/backing_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_NODE "\"file\":{\"driver\":\"file\",\"filename\":\"base\"}"

static void expect(const char *name, const char *format, const char *path, bool in_working_folder,
                   enum backing_format want)
{
    struct backing_name b;
    struct error err;

    if (backing_name_parse(&b, name, format, &err) < 0)
        fail_msg("%s: %s", name, err.message);
    if (strcmp(b.path, path) != 0 || b.in_working_folder != in_working_folder || b.format != want)
        fail_msg("%s: \"%s\" %d %d", name, b.path, b.in_working_folder, b.format);
    backing_name_clear(&b);
    assert_null(b.path);
}

static void expect_json(const char *name, const char *path, enum backing_format want)
{
    expect(name, "", path, true, want);
}

static void expect_refused(const char *name, const char *format, const char *text)
{
    struct backing_name b = {0};
    struct error err = {0};

    if (backing_name_parse(&b, name, format, &err) != ERROR_UNSUPPORTED ||
        !strstr(err.message, text) || !strstr(err.message, "--only-top"))
        fail_msg("%.200s: %d \"%s\", not \"%s\"", name, err.code, err.message, text);
    assert_null(b.path);
}

static void test_paths(void **state)
{
    static const char *const names[] = {"base",  "../a/b.raw", "/a/b",       "./we:ird.qcow2",
                                        "a/b:c", "/a:b",       "./json:{}/", "./file:x"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect(names[i], "", names[i], false, BACKING_PROBED);
        expect(names[i], "raw", names[i], false, BACKING_RAW);
        expect(names[i], "qcow2", names[i], false, BACKING_QCOW2);
    }
    expect_refused("base", "vmdk", "has the format \"vmdk\"");
    expect_refused("", "", "names no file");
}

static void test_file_protocol(void **state)
{
    (void)state;
    expect("file:base", "", "base", true, BACKING_PROBED);
    expect("file:/a/b", "raw", "/a/b", true, BACKING_RAW);
    expect("file:///a/b", "qcow2", "///a/b", true, BACKING_QCOW2);
    expect("file:file:x", "", "file:x", true, BACKING_PROBED);
    expect("file:%41", "", "%41", true, BACKING_PROBED);
    expect("host_device:/dev/sda", "raw", "/dev/sda", true, BACKING_RAW);
    expect_refused("file:", "", "names no file");
    expect_refused("file:x", "vdi", "\"vdi\"");
}

static void test_other_protocols(void **state)
{
    static const char *const names[] = {"nbd:localhost:10809",
                                        "nbd+unix:///x?socket=s",
                                        "ssh://h/x",
                                        "http://h/x",
                                        "https://h/x",
                                        "rbd:pool/x",
                                        "FILE:x",
                                        "JSON:{}",
                                        "blkdebug::x",
                                        ":x",
                                        "we:ird",
                                        "fat:rw:x"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        expect_refused(names[i], "raw", names[i]);
    expect("json", "", "json", false, BACKING_PROBED);
}

static void test_json(void **state)
{
    (void)state;
    expect_json("json:{\"driver\":\"qcow2\"," FILE_NODE "}", "base", BACKING_QCOW2);
    expect_json("json:{\"driver\":\"raw\"," FILE_NODE "}", "base", BACKING_RAW);
    expect_json("json: { " FILE_NODE " } ", "base", BACKING_PROBED);
    expect_json("json:{\"file\":{\"filename\":\"../a/b\"}}", "../a/b", BACKING_PROBED);
    expect_json("json:{\"file.filename\":\"/a\",\"file.driver\":\"host_device\"}", "/a",
                BACKING_PROBED);
    expect_json("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"host_device\","
                "\"filename\":\"/dev/sda\"}}",
                "/dev/sda", BACKING_RAW);
    /* Nested and dotted keys are the same. */
    expect_json("json:{\"file\":{\"filename\":\"x\"},\"file.driver\":\"file\"}", "x",
                BACKING_PROBED);
    /* A file name in it is only that. */
    expect_json("json:{\"file.filename\":\"nbd:x\"}", "nbd:x", BACKING_PROBED);
    expect_json("json:{\"file.filename\":\"file:x\"}", "file:x", BACKING_PROBED);
    expect_json("json:{\"file.filename\":\"\\u0062\\u00e4 \\\"\\\\\"}", "b\xc3\xa4 \"\\",
                BACKING_PROBED);
}

static void test_quotes(void **state)
{
    (void)state;
    expect_json("json:{'driver':'qcow2','file':{'filename':'base'}}", "base", BACKING_QCOW2);
    expect_json("json:{'file.filename':'a\"b'}", "a\"b", BACKING_PROBED);
    expect_json("json:{'file.filename':'a\\\"b\\'c\\\\'}", "a\"b'c\\", BACKING_PROBED);
    expect_json("json:{\"file.filename\":\"a'b\\'c\"}", "a'b'c", BACKING_PROBED);
    expect_refused("json:{'file.filename':'a}", "", "JSON");
    expect_refused("json:{'file.filename':\"a'}", "", "JSON");
    expect_refused("json:{'file.filename':'a\\", "", "JSON");
}

static void test_the_header_is_stronger_than_the_driver(void **state)
{
    (void)state;
    expect("json:{\"driver\":\"qcow2\"," FILE_NODE "}", "raw", "base", true, BACKING_RAW);
    expect("json:{\"driver\":\"raw\"," FILE_NODE "}", "qcow2", "base", true, BACKING_QCOW2);
}

static void test_harmless_options(void **state)
{
    static const char *const options[] = {
        "\"cache\":{\"direct\":true,\"no-flush\":false,\"writeback\":true}",
        "\"cache.direct\":\"on\",\"cache.no-flush\":\"off\",\"cache.writeback\":\"on\"",
        "\"file.cache\":{\"direct\":false}",
        "\"file.cache.direct\":false",
        "\"file.cache.no-flush\":\"on\"",
        "\"file.cache.writeback\":true",
        "\"file.aio\":\"native\"",
        "\"file.locking\":\"off\"",
    };
    char name[512];

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        snprintf(name, sizeof name, "json:{%s," FILE_NODE ",\"driver\":\"raw\"}", options[i]);
        expect_json(name, "base", BACKING_RAW);
    }
    expect_json("json:{\"file\":{\"cache\":{\"direct\":true},\"cache.no-flush\":true,\"aio\":"
                "\"threads\",\"locking\":\"auto\",\"filename\":\"x\"}}",
                "x", BACKING_PROBED);
}

static void test_each_other_option_is_refused(void **state)
{
    static const char *const keys[] = {
        "offset",
        "size",
        "backing",
        "backing.driver",
        "data-file",
        "data-file.filename",
        "encrypt",
        "encrypt.format",
        "encrypt.key-secret",
        "node-name",
        "read-only",
        "auto-read-only",
        "discard",
        "detect-zeroes",
        "force-share",
        "lazy-refcounts",
        "overlap-check",
        "l2-cache-size",
        "aio",
        "locking",
        "filename",
        "file.offset",
        "file.size",
        "file.file",
        "file.backing",
        "file.host",
        "file.server.type",
        "file.node-name",
        "file.read-only",
        "file.pr-manager",
        "file.cache.size",
        "file.file.driver",
        "cache.size",
        "Driver",
        "driver ",
        "",
        "file.",
        ".file.filename",
        "file..filename",
        "cache.direct.x",
        "x-something",
    };
    static const char *const values[] = {"0", "\"0\"", "true", "null", "{}", "[]", "{\"a\":1}"};
    char name[512], quoted[64];

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            snprintf(name, sizeof name, "json:{\"driver\":\"raw\"," FILE_NODE ",\"%s\":%s}",
                     keys[i], values[k]);
            snprintf(quoted, sizeof quoted, "can change the disk: \"%s\"", keys[i]);
            expect_refused(name, "raw", quoted);
        }
    /* Nested ones are called by their whole names. */
    expect_refused("json:{\"file\":{\"filename\":\"x\",\"offset\":512}}", "", "\"file.offset\"");
    expect_refused("json:{\"file\":{\"filename\":\"x\",\"cache\":{\"a\":1}}}", "",
                   "\"file.cache.a\"");
    expect_refused("json:{\"cache\":{\"direct\":{\"x\":1}}," FILE_NODE "}", "", "\"cache.direct\"");
}

static void test_bad_values(void **state)
{
    static const char *const cases[][2] = {
        {"{\"driver\":1," FILE_NODE "}", "\"driver\""},
        {"{\"driver\":true," FILE_NODE "}", "\"driver\""},
        {"{\"driver\":{}," FILE_NODE "}", "\"driver\""},
        {"{\"driver\":null," FILE_NODE "}", "\"driver\""},
        {"{\"driver\":\"luks\"," FILE_NODE "}", "\"luks\""},
        {"{\"driver\":\"QCOW2\"," FILE_NODE "}", "\"QCOW2\""},
        {"{\"driver\":\"file\",\"filename\":\"x\"}", "\"filename\""},
        {"{\"driver\":\"file\"," FILE_NODE "}", "\"file\""},
        {"{\"file\":{\"driver\":\"nbd\",\"filename\":\"x\"}}", "\"nbd\""},
        {"{\"file\":{\"driver\":\"raw\",\"filename\":\"x\"}}", "\"raw\""},
        {"{\"file\":{\"driver\":\"qcow2\",\"file\":{\"filename\":\"x\"}}}", "\"file.file\""},
        {"{\"file\":{\"filename\":7}}", "\"file.filename\""},
        {"{\"file\":{\"filename\":[\"x\"]}}", "\"file.filename\""},
        {"{\"file\":{\"filename\":\"\"}}", "names no file"},
        {"{\"file\":{\"driver\":\"file\"}}", "names no file"},
        {"{\"file\":{}}", "names no file"},
        {"{\"file\":\"node\"}", "\"file\""},
        {"{\"file\":[]}", "\"file\""},
        {"{\"file.locking\":1," FILE_NODE "}", "\"file.locking\""},
        {"{\"cache\":\"none\"," FILE_NODE "}", "\"cache\""},
        {"{\"driver\":\"raw\"}", "names no file"},
        {"{}", "names no file"},
        {"[]", "no JSON object"},
        {"[" FILE_NODE "]", "JSON"},
        {"\"x\"", "JSON"},
        {"7", "JSON"},
        {"", "JSON"},
        {"{" FILE_NODE "} x", "JSON"},
        {"{" FILE_NODE ",}", "JSON"},
        {"{" FILE_NODE, "JSON"},
        {"{\"file.filename\":\"\xff\"}", "JSON"},
        {"{\"file.filename\":\"\\ud800\"}", "JSON"},
        {"{\"file.filename\":\"a\nb\"}", "JSON"},
    };
    char name[512];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(name, sizeof name, "json:%s", cases[i][0]);
        expect_refused(name, "", cases[i][1]);
    }
}

static void test_nul_escapes(void **state)
{
    (void)state;
    expect_refused("json:{\"file.filename\":\"base\\u0000x\"}", "", "JSON");
    expect_refused("json:{\"file.filename\\u0000x\":\"base\"}", "", "JSON");
    expect_refused("json:{\"driver\":\"raw\\u0000\"," FILE_NODE "}", "", "JSON");
}

static void test_duplicate_keys(void **state)
{
    (void)state;
    expect_refused("json:{\"driver\":\"qcow2\",\"driver\":\"raw\"," FILE_NODE "}", "", "JSON");
    expect_refused("json:{" FILE_NODE "," FILE_NODE "}", "", "JSON");
    expect_refused("json:{'driver':'raw','\\u0064river':'raw'," FILE_NODE "}", "", "JSON");
    expect_refused("json:{" FILE_NODE ",\"file.filename\":\"x\"}", "", "twice");
    expect_refused("json:{\"file.filename\":\"x\"," FILE_NODE "}", "", "twice");
    expect_refused("json:{\"file.cache.direct\":true,\"file\":{\"filename\":\"x\","
                   "\"cache\":{\"direct\":true}}}",
                   "", "twice");
}

/* ${head}, then ${n} times ${middle}, then ${tail}; given to the caller. */
static char *repeat(const char *head, const char *middle, size_t n, const char *tail)
{
    size_t len = strlen(middle);
    char *text = malloc(strlen(head) + n * len + strlen(tail) + 1);
    char *p = text;

    assert_non_null(text);
    p = stpcpy(p, head);
    for (size_t i = 0; i < n; i++)
        p = stpcpy(p, middle);
    strcpy(p, tail);
    return text;
}

static void test_deep_nesting(void **state)
{
    static const char *const levels[] = {"{\"file\":", "{\"cache\":", "[",
                                         "{\"a\":", "{\"file\":["};

    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        for (size_t n = 1; n <= 1000000; n *= 10) {
            char *name = repeat("json:", levels[i], n, "");

            expect_refused(name, "", "JSON");
            free(name);
        }
    for (size_t n = 3; n < 1000; n *= 3) {
        char *open = repeat("json:", "{\"file\":", n, "{\"filename\":\"x\"}");
        char *name = repeat(open, "}", n, "");

        expect_refused(name, "", "\"file.file\"");
        free(open);
        free(name);
    }
}

static void test_huge_names(void **state)
{
    char *name = repeat("json:{\"file.filename\":\"", "x", 4 << 20, "\"}");
    char *path = repeat("", "x", 4 << 20, "");
    struct error err;
    struct backing_name b;

    (void)state;
    expect_json(name, path, BACKING_PROBED);
    free(name);
    /* Messages stay whole. */
    name = repeat("json:{\"", "k", 1 << 20, "\":0}");
    expect_refused(name, "", "...\" has an option that can change the disk: \"kkkk");
    assert_int_equal(backing_name_parse(&b, name, "", &err), ERROR_UNSUPPORTED);
    assert_true(strlen(err.message) < 700);
    free(name);
    name = repeat("nbd:", "x", 1019, "");
    expect_refused(name, "", "is no plain path");
    free(name);
    path[1023] = '\0';
    expect(path, "raw", path, false, BACKING_RAW);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_file_protocol),
        cmocka_unit_test(test_other_protocols),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_the_header_is_stronger_than_the_driver),
        cmocka_unit_test(test_harmless_options),
        cmocka_unit_test(test_each_other_option_is_refused),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_nul_escapes),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_huge_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
