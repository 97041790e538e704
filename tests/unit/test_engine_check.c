/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking archives whose trees say other bytes than their leaves have. No
 * backup makes such, so the records are made here.
 */
#include "cs_fixture.h"

#include <stdio.h>

#include "content.h"
#include "engine/engine.h"
#include "engine/record.h"

enum {
    CLUSTER_BITS = 16,
    CLUSTERS = 64, /* of a region */
    REGIONS = 128,
    CONTENT = 100,      /* bytes that the content leaf stands for */
    SUBCLUSTERS = 6144, /* and three subclusters, or a cluster */
    CLUSTER = 65536,
    REPORT = 1200,
};

static struct cs_tree build(struct cs_writer *w, enum cs_tree_kind kind, const void *leaf,
                            size_t len, uint64_t bytes)
{
    struct cs_tree_builder *b = NULL;
    struct cs_tree tree;
    assert_ok(cs_tree_begin(&b, w, kind, REGIONS, err));
    assert_ok(cs_tree_add(b, 70, leaf, len, bytes, err));
    assert_ok(cs_tree_finish(b, &tree, err));
    return tree;
}

static struct cs_tree content_tree(struct cs_writer *w, uint64_t bytes)
{
    struct cs_run runs[] = {{.length = CONTENT}, {.offset = 4096, .length = 4096, .zero = true}};
    struct cs_chunk chunk = {.id = put_chunk(w, 1, CONTENT), .length = CONTENT};
    struct cs_buf leaf = {0};
    cs_content_encode(&leaf, runs, 2, &chunk, 1);
    assert_false(leaf.failed);
    struct cs_tree tree = build(w, CS_TREE_CONTENT, leaf.data, leaf.len, bytes);
    cs_buf_clear(&leaf);
    return tree;
}

static struct cs_tree placement_tree(struct cs_writer *w, bool extended, uint64_t bytes)
{
    struct cs_place places[CLUSTERS] = {{.class = 3, .host = 1 << 20}, {.class = 1}};
    uint8_t *leaf = NULL;
    size_t len;
    places[0].sub_alloc = extended ? 7 : 0;
    places[1].sub_zero = extended ? 1 : 0;
    assert_ok(cs_placement_encode(&leaf, &len, places, CLUSTERS, CLUSTER_BITS, extended, err));
    struct cs_tree tree = build(w, CS_TREE_PLACEMENT, leaf, len, bytes);
    free(leaf);
    return tree;
}

/* ${json}, which it frees, as an object; ${rc} tells whether there is one. */
static struct cs_id store_record(struct cs_writer *w, enum cs_type type, int rc, char *json,
                                 size_t len)
{
    struct cs_id id;
    assert_int_equal(rc, 0);
    assert_ok(cs_write_object(w, type, json, len, &id, err));
    free(json);
    return id;
}

/* Commits an archive of one layer: qcow2, or raw where ${placement_bytes} is 0. */
static void commit(struct cs_store *store, const char *name, bool extended, uint64_t content_bytes,
                   uint64_t placement_bytes)
{
    char path[] = "/d/i", placed[] = "i", text[] = "x", when[] = "2026-01-01T00:00:00Z";
    char *tags[] = {(char[]){"nightly"}, (char[]){"test"}};
    char host[] = "host.example", title[16];
    size_t zero = 0, len;
    char *json = NULL;
    struct error why = {0};
    struct cs_writer *w = begin(store);
    struct record_view view = {.content = content_tree(w, content_bytes)};
    struct record_layer layer = {
        .is_qcow2 = placement_bytes > 0,
        .virtual_size = (uint64_t)REGIONS * cs_region_size(store),
        .bytes_allocated = content_bytes,
        .views = &view,
        .view_count = 1,
        .file = {.path = path, .real_path = path, .placed_path = placed},
        .opened_as = path,
        .delta = text,
        .delta_reason = text,
    };
    if (layer.is_qcow2) {
        view.placement = placement_tree(w, extended, placement_bytes);
        view.l1_size = layer.qcow2.l1_size = extended ? 2 : 1;
        layer.bytes_allocated = placement_bytes;
        layer.qcow2.version = 3;
        layer.qcow2.cluster_bits = CLUSTER_BITS;
        layer.qcow2.incompatible = extended ? 16 : 0;
    }
    int rc = record_layer_encode(&layer, &json, &len, &why);
    layer.id = store_record(w, CS_LAYER_RECORD, rc, json, len);

    struct record_image image = {.name = placed, .path = path, .layers = &zero, .layer_count = 1};
    snprintf(title, sizeof title, "%s", name);
    struct record_archive archive = {
        .name = title,
        .host = host,
        .time = when,
        .tags = tags,
        .tag_count = 2,
        .images = &image,
        .image_count = 1,
        .layers = &layer,
        .layer_count = 1,
    };
    cs_random_hex(archive.nonce, 32);
    rc = record_archive_encode(&archive, &json, &len, &why);
    struct cs_id id = store_record(w, CS_ARCHIVE_RECORD, rc, json, len);
    assert_ok(try_commit(w, &id, name, NULL, err));
    cs_writer_end(w);
}

static void keep_report(void *arg, const char *message)
{
    snprintf(arg, REPORT, "%s", message);
}

/* The last archive must be the only one with an error, and that must say ${message}; NULL: none. */
static void assert_check(struct cs_store *store, const char *message)
{
    char last[REPORT] = "";
    struct engine_check_options options = {.report = keep_report, .listener.arg = last};
    struct engine_check_result result;
    struct error why = {0};
    if (engine_check(store, &options, &result, &why) < 0)
        fail_msg("%s", why.message);
    if (message == NULL ? last[0] != 0 : strstr(last, message) == NULL)
        fail_msg("\"%s\" is not \"%s\"", last, message);
    assert_int_equal(result.errors, message != NULL);
    assert_int_equal(result.damaged_count, message != NULL);
    if (message != NULL) {
        const struct cs_archive *bad = cs_archive_at(store, cs_archive_count(store) - 1);
        assert_memory_equal(&result.damaged[0], &bad->id, sizeof bad->id);
    }
    engine_check_result_clear(&result);
}

static void test_leaves_that_stand_for_what_is_said(void **state)
{
    struct cs_store *store = open_store(*state);
    commit(store, "raw", false, CONTENT, 0);
    commit(store, "qcow2", false, CONTENT, CLUSTER);
    commit(store, "extended", true, CONTENT, SUBCLUSTERS);
    assert_check(store, NULL);
    cs_close(store);
}

/* Also where the same leaf was found whole in an archive before. */
static void test_a_content_leaf_that_stands_for_less(void **state)
{
    struct cs_store *store = open_store(*state);
    commit(store, "good", false, CONTENT, 0);
    commit(store, "bad", false, CONTENT + 1, 0);
    assert_check(store, "of region 70: it stands for 100 bytes, where 101 belong");
    cs_close(store);
}

static void test_a_placement_leaf_that_stands_for_more(void **state)
{
    struct cs_store *store = open_store(*state);
    commit(store, "good", false, CONTENT, CLUSTER);
    commit(store, "bad", false, CONTENT, CLUSTER - 512);
    assert_check(store, "of region 70: it stands for 65536 bytes, where 65024 belong");
    cs_close(store);
}

static void test_subclusters_count_one_by_one(void **state)
{
    struct cs_store *store = open_store(*state);
    commit(store, "good", true, CONTENT, SUBCLUSTERS);
    commit(store, "bad", true, CONTENT, CLUSTER);
    assert_check(store, "of region 70: it stands for 6144 bytes, where 65536 belong");
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_leaves_that_stand_for_what_is_said),
        with_repo(test_a_content_leaf_that_stands_for_less),
        with_repo(test_a_placement_leaf_that_stands_for_more),
        with_repo(test_subclusters_count_one_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
