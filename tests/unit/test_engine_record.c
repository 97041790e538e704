/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a layer record says of its file, of its data file, and of a source of
 * which only the guest's bytes were read: all of it comes back, and a record that
 * says what cannot be, of any, is refused.
 */
#include "cs_fixture.h"

#include <stdio.h>

#include "engine/record.h"

static struct record_file own = {
    .path = (char[]){"/d/i"},
    .real_path = (char[]){"/e/\xff"},
    .placed_path = (char[]){"d/i"},
    .size = 1,
    .host_bytes = UINT64_C(1) << 60,
    .mode = 0100640,
    .uid = 2,
    .gid = UINT32_MAX,
    .mtime_ns = -3,
    .ctime_ns = INT64_C(1) << 60,
    .device = 4,
    .inode = UINT64_MAX,
    .fs = {.type = 0xef53, .id = (char[]){"uuid:00"}},
};
/* as section 9 of FORMAT.md has it */
static const char own_json[] =
    "\"file\":{\"ctime_ns\":\"1152921504606846976\",\"device\":\"4\",\"filesystem\":{\"id\":"
    "\"uuid:00\",\"type\":\"ef53\"},\"gid\":4294967295,\"host_bytes\":\"1152921504606846976\","
    "\"inode\":\"18446744073709551615\",\"mode\":33184,\"mtime_ns\":\"-3\",\"path\":\"/d/i\","
    "\"placed_path\":\"d/i\",\"real_path\":{\"b64\":\"L2Uv/w==\"},\"size\":\"1\",\"uid\":2}";

static struct record_data_file data = {
    .file =
        {
            .path = (char[]){"/d/raw"},
            .real_path = (char[]){"/e/raw"},
            .placed_path = (char[]){"d/raw"},
            .size = 5,
            .host_bytes = 6,
            .mode = 060600,
            .uid = 7,
            .gid = 8,
            .mtime_ns = 9,
            .ctime_ns = 10,
            .device = 11,
            .inode = 12,
            .fs = {.type = 13},
        },
    .name = (char[]){"raw"},
};
static const char data_json[] =
    "\"data_file\":{\"file\":{\"ctime_ns\":\"10\",\"device\":\"11\",\"filesystem\":{\"id\":null,"
    "\"type\":\"d\"},\"gid\":8,\"host_bytes\":\"6\",\"inode\":\"12\",\"mode\":24960,\"mtime_ns\":"
    "\"9\",\"path\":\"/d/raw\",\"placed_path\":\"d/raw\",\"real_path\":\"/e/raw\",\"size\":\"5\","
    "\"uid\":7},\"name\":\"raw\",\"tail\":{\"bytes\":\"0\",\"chunks\":[]}}";

/* The record of a layer with both, given to the caller. */
static char *encoded(void)
{
    struct record_view view = {.content.empty = true, .placement.empty = true};
    struct record_layer layer = {
        .file = own,
        .is_qcow2 = true,
        .views = &view,
        .view_count = 1,
        .opened_as = (char[]){"i"},
        .delta = (char[]){"none"},
        .delta_reason = (char[]){"x"},
        .qcow2 = {.version = 3, .cluster_bits = 16, .data_file = &data},
    };
    struct error err = {0};
    char *json = NULL;
    size_t len = 0;
    if (record_layer_encode(&layer, &json, &len, &err) < 0)
        fail_msg("%s", err.message);
    return json;
}

static char *losses[] = {(char[]){"the chain"}, (char[]){"snapshots \xff"}};
static struct record_content content = {
    .format = (char[]){"vmdk"},
    .losses = losses,
    .loss_count = 2,
    .bitmap = (char[]){"b0"},
};
static const char content_json[] =
    "\"content\":{\"bitmap\":\"b0\",\"format\":\"vmdk\",\"losses\":[\"the chain\",{\"b64\":"
    "\"c25hcHNob3RzIP8=\"}]}";

/* The record of a raw layer, with ${what} (NULL: none), given to the caller. */
static char *encoded_raw(struct record_content *what)
{
    struct record_view view = {.content.empty = true};
    struct record_layer layer = {
        .file = own,
        .views = &view,
        .view_count = 1,
        .opened_as = (char[]){"i"},
        .delta = (char[]){"none"},
        .delta_reason = (char[]){"x"},
        .content = what,
    };
    struct error err = {0};
    char *json = NULL;
    size_t len = 0;
    if (record_layer_encode(&layer, &json, &len, &err) < 0)
        fail_msg("%s", err.message);
    return json;
}

static void assert_same_file(const struct record_file *a, const struct record_file *b)
{
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->real_path, b->real_path);
    assert_string_equal(a->placed_path, b->placed_path);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->host_bytes, b->host_bytes);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->ctime_ns, b->ctime_ns);
    assert_int_equal(a->device, b->device);
    assert_int_equal(a->inode, b->inode);
    assert_int_equal(a->fs.type, b->fs.type);
    assert_int_equal(a->fs.id == NULL, b->fs.id == NULL);
    if (a->fs.id != NULL)
        assert_string_equal(a->fs.id, b->fs.id);
}

static void test_comes_back(void **state)
{
    struct record_layer layer;
    struct error err = {0};
    char *json = encoded();
    (void)state;
    assert_non_null(strstr(json, own_json));
    assert_non_null(strstr(json, data_json));
    if (record_layer_decode(&layer, json, strlen(json), &err) < 0)
        fail_msg("%s", err.message);
    assert_same_file(&layer.file, &own);
    assert_non_null(layer.qcow2.data_file);
    assert_same_file(&layer.qcow2.data_file->file, &data.file);
    assert_string_equal(layer.qcow2.data_file->name, data.name);
    record_layer_clear(&layer);
    free(json);
}

static void test_content_comes_back(void **state)
{
    struct record_layer layer;
    struct error err = {0};
    char *json = encoded_raw(&content);
    (void)state;
    assert_non_null(strstr(json, content_json));
    if (record_layer_decode(&layer, json, strlen(json), &err) < 0)
        fail_msg("%s", err.message);
    assert_false(layer.is_qcow2);
    assert_non_null(layer.content);
    assert_string_equal(layer.content->format, content.format);
    assert_string_equal(layer.content->bitmap, content.bitmap);
    assert_int_equal(layer.content->loss_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(layer.content->losses[i], losses[i]);
    record_layer_clear(&layer);
    free(json);
}

/* A raw file's record is what it was before there was such a member. */
static void test_no_content(void **state)
{
    struct record_layer layer;
    struct error err = {0};
    char *json = encoded_raw(NULL);
    (void)state;
    assert_null(strstr(json, "\"losses\""));
    if (record_layer_decode(&layer, json, strlen(json), &err) < 0)
        fail_msg("%s", err.message);
    assert_null(layer.content);
    record_layer_clear(&layer);
    free(json);
}

/* ${json}, which is freed, with ${was} turned into ${is} is refused for the member ${key}. */
static void assert_json_refused(char *json, const char *was, const char *is, const char *key)
{
    struct record_layer layer;
    struct error err = {0};
    char *changed = NULL, member[32];
    const char *at = strstr(json, was);
    assert_non_null(at);
    assert_null(strstr(at + 1, was));
    int len = asprintf(&changed, "%.*s%s%s", (int)(at - json), json, is, at + strlen(was));
    assert_true(len > 0);
    assert_int_equal(record_layer_decode(&layer, changed, (size_t)len, &err), ERROR_CORRUPT);
    assert_true(snprintf(member, sizeof member, "\"%s\"", key) < (int)sizeof member);
    if (strstr(err.message, member) == NULL)
        fail_msg("%s: does not name %s", err.message, key);
    free(changed);
    free(json);
}

static void assert_refused(const char *was, const char *is, const char *key)
{
    assert_json_refused(encoded(), was, is, key);
}

static void assert_content_refused(const char *was, const char *is, const char *key)
{
    assert_json_refused(encoded_raw(&content), was, is, key);
}

static void test_refuses_content(void **state)
{
    char many[65 * 4 + 1] = "", *list = NULL;
    (void)state;
    for (unsigned i = 0; i < 65; i++)
        strcat(many, i > 0 ? ",\"x\"" : "\"x\"");
    assert_true(asprintf(&list, "\"losses\":[%s],\"old\":[", many) > 0);
    assert_content_refused(content_json, "\"content\":null", "losses");
    assert_content_refused("\"format\":\"vmdk\",", "", "format");
    assert_content_refused("\"vmdk\"", "\"../vmdk\"", "format");
    assert_content_refused("\"vmdk\"", "\"\"", "format");
    assert_content_refused("\"vmdk\"", "\"aaaaaaaaaaaaaaaaa\"", "format");
    assert_content_refused("\"bitmap\":\"b0\",", "", "bitmap");
    assert_content_refused("\"b0\"", "\"\"", "bitmap");
    assert_content_refused("\"the chain\"", "\"\"", "losses");
    assert_content_refused("\"the chain\"", "7", "losses");
    assert_content_refused("\"losses\":[", list, "losses");
    assert_refused(
        "\"delta\":", "\"content\":{},\"delta\":", "content"); /* a qcow2 file has none */
    free(list);
}

static void test_refuses(void **state)
{
    (void)state;
    assert_refused("\"placed_path\":\"d/i\"", "\"placed_path\":\"../i\"", "placed_path");
    assert_refused("\"placed_path\":\"d/i\"", "\"placed_path\":\"/i\"", "placed_path");
    assert_refused("\"placed_path\":\"d/raw\"", "\"placed_path\":\"d/../../raw\"", "placed_path");
    assert_refused("\"placed_path\":\"d/raw\"", "\"placed_path\":\"\"", "placed_path");
    assert_refused("\"mode\":33184", "\"mode\":65536", "mode");
    assert_refused("\"mode\":24960", "\"mode\":-1", "mode");
    assert_refused("\"inode\":\"12\"", "\"inode\":\"18446744073709551616\"", "inode");
    assert_refused("\"mtime_ns\":\"9\",", "", "mtime_ns");
    assert_refused("\"path\":\"/d/i\",", "", "path");
    assert_refused(own_json, "\"file\":null", "path");
    assert_refused("\"data_file\":{\"file\":{", "\"data_file\":{\"fil\":{", "file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),      cmocka_unit_test(test_content_comes_back),
        cmocka_unit_test(test_no_content),      cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_refuses_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
