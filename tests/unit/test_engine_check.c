/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking archives whose trees say other bytes than their leaves have, and
 * such as lack what no backup leaves out: the records are made here. And how
 * ranges become one.
 */
#include "cs_fixture.h"

#include <stdio.h>

#include "content.h"
#include "engine/damage.h"
#include "engine/record.h"
#include "engine/upkeep.h"
#include "tree.h"

enum {
    CLUSTER_BITS = 16,
    CLUSTERS = 64, /* of a region */
    REGIONS = 128,
    CONTENT = 100,      /* bytes that the content leaf stands for */
    SUBCLUSTERS = 6144, /* and three subclusters, or a cluster */
    CLUSTER = 65536,
    CHUNK = 10000,
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

/* ---- what suffers ---- */

/* Two chunks of ${len} bytes, of which the second is nowhere, as leaf ${region}. */
static void add_half(struct cs_writer *w, struct cs_tree_builder *b, uint64_t region, size_t len)
{
    struct cs_run run = {.offset = 8192, .length = (uint32_t)(2 * len)};
    struct cs_chunk chunks[] = {{.id = put_chunk(w, 1, len), .length = (uint32_t)len},
                                {.length = (uint32_t)len}};
    struct cs_buf leaf = {0};
    noise(&chunks[1].id, sizeof chunks[1].id, 77);
    cs_content_encode(&leaf, &run, 1, chunks, 2);
    assert_false(leaf.failed);
    assert_ok(cs_tree_add(b, region, leaf.data, leaf.len, 2 * len, err));
    cs_buf_clear(&leaf);
}

/* A tree with a leaf like that in each of ${n} regions. */
static struct cs_tree half_tree(struct cs_writer *w, const uint64_t *regions, size_t n)
{
    struct cs_tree_builder *b = NULL;
    struct cs_tree tree;
    assert_ok(cs_tree_begin(&b, w, CS_TREE_CONTENT, REGIONS, err));
    for (size_t i = 0; i < n; i++)
        add_half(w, b, regions[i], CHUNK);
    assert_ok(cs_tree_finish(b, &tree, err));
    return tree;
}

/* Commits an archive of one qcow2 layer of ${disk} bytes, with ${views}: the active state, and a
 * snapshot with VM state behind the disk. All images are that layer; the first is i, others j. */
static void commit_views(struct cs_store *store, struct cs_writer *w, const char *name,
                         struct record_view views[2], uint64_t disk, size_t image_count)
{
    char path[] = "/d/i", other[] = "/d/j", placed[] = "below/i", text[] = "x";
    char when[] = "2026-01-01T00:00:00Z", host[] = "host.example", title[16];
    char *tags[] = {(char[]){"nightly"}, (char[]){"test"}};
    char snapshot_id[] = "1", snapshot_name[] = "before", i_name[] = "i", j_name[] = "j";
    uint8_t raw[64] = {0};
    size_t zero = 0, len;
    char *json = NULL;
    struct error why = {0};
    struct record_snapshot snapshot = {.raw = raw,
                                       .raw_len = sizeof raw,
                                       .id = snapshot_id,
                                       .name = snapshot_name,
                                       .vm_state_size = 1000,
                                       .disk_size = disk};
    struct record_layer layer = {
        .is_qcow2 = true,
        .virtual_size = disk,
        .views = views,
        .view_count = 2,
        .file = {.path = path, .real_path = path, .placed_path = placed},
        .opened_as = path,
        .delta = text,
        .delta_reason = text,
        .qcow2 = {.version = 3,
                  .cluster_bits = CLUSTER_BITS,
                  .l1_size = 1,
                  .nb_snapshots = 1,
                  .snapshots = &snapshot,
                  .snapshot_count = 1},
    };
    struct cs_tree nothing;
    struct cs_tree_builder *b = NULL;
    assert_ok(cs_tree_begin(&b, w, CS_TREE_PLACEMENT, REGIONS, err));
    assert_ok(cs_tree_finish(b, &nothing, err));
    for (size_t i = 0; i < 2; i++) {
        views[i].placement = nothing;
        views[i].l1_size = 1;
    }
    int rc = record_layer_encode(&layer, &json, &len, &why);
    layer.id = store_record(w, CS_LAYER_RECORD, rc, json, len);
    struct record_image *images = calloc(image_count, sizeof *images);
    assert_non_null(images);
    for (size_t i = 0; i < image_count; i++)
        images[i] = (struct record_image){.name = i == 0 ? i_name : j_name,
                                          .path = i == 0 ? path : other,
                                          .layers = &zero,
                                          .layer_count = 1};
    snprintf(title, sizeof title, "%s", name);
    struct record_archive archive = {
        .name = title,
        .host = host,
        .time = when,
        .tags = tags,
        .tag_count = 2,
        .images = images,
        .image_count = image_count,
        .layers = &layer,
        .layer_count = 1,
    };
    cs_random_hex(archive.nonce, 32);
    rc = record_archive_encode(&archive, &json, &len, &why);
    free(images);
    struct cs_id id = store_record(w, CS_ARCHIVE_RECORD, rc, json, len);
    assert_ok(try_commit(w, &id, name, NULL, err));
    cs_writer_end(w);
    (void)store;
}

static void check_all(struct cs_store *store, struct engine_check_result *result, char *last)
{
    struct engine_check_options options = {.report = keep_report, .listener.arg = last};
    struct error why = {0};
    if (engine_check(store, &options, result, &why) < 0)
        fail_msg("%s", why.message);
}

static void assert_damage(const struct engine_damage *d, const char *name, enum engine_part part,
                          const char *image, const char *item, uint64_t offset, uint64_t length)
{
    assert_string_equal(d->name, name);
    assert_int_equal(d->part, part);
    assert_string_equal(d->image, image);
    assert_string_equal(d->layer, "below/i");
    assert_true((item == NULL) == (d->item == NULL));
    if (item != NULL)
        assert_string_equal(d->item, item);
    assert_int_equal(d->range_count, 1);
    assert_int_equal(d->ranges_all, 1);
    assert_int_equal(d->ranges[0].offset, offset);
    assert_int_equal(d->ranges[0].length, length);
    assert_int_equal(d->bytes, length);
}

/* What lies behind the disk is VM state, also where a region is both. Trees that archives share are
 * told for each of them, and each image is. */
static void test_disk_and_vm_state(void **state)
{
    static const uint64_t both[] = {3, 100};
    char last[REPORT] = "";
    struct cs_store *store = open_store(*state);
    uint64_t region = cs_region_size(store), disk = 100 * region + 8192 + CHUNK + 1000;
    for (unsigned i = 0; i < 2; i++) {
        struct cs_writer *w = begin(store);
        struct record_view views[2] = {{.content = half_tree(w, both, 1)},
                                       {.content = half_tree(w, both + 1, 1)}};
        commit_views(store, w, i == 0 ? "first" : "second", views, disk, 2);
    }
    struct engine_check_result r;
    check_all(store, &r, last);
    assert_int_equal(r.errors, 12);
    assert_int_equal(r.damaged_count, 2);
    assert_int_equal(r.damage_count, 12);
    assert_int_equal(r.damage_all, 12);
    for (unsigned i = 0; i < 2; i++) {
        const struct engine_damage *d = r.damage + (size_t)6 * i;
        const char *name = i == 0 ? "first" : "second";
        uint64_t bad = 8192 + CHUNK;
        for (unsigned k = 0; k < 2; k++) {
            const char *image = k == 0 ? "i" : "j";
            assert_damage(&d[k], name, ENGINE_PART_GUEST, image, NULL, 3 * region + bad, CHUNK);
            assert_damage(&d[2 + k], name, ENGINE_PART_GUEST, image, "1", 100 * region + bad, 1000);
            assert_damage(&d[4 + k], name, ENGINE_PART_VM_STATE, image, "1", disk, CHUNK - 1000);
        }
    }
    assert_non_null(strstr(last,
                           "second (2023-11-14): image j, layer below/i, snapshot 1 (before): "
                           "VM state behind the disk, bytes 419449592 to 419458591 are "
                           "damaged: object "));
    engine_check_result_clear(&r);
    cs_close(store);
}

/* However much is damaged, what is told is bounded, and what is counted is not. */
static void test_no_more_than_can_be_told(void **state)
{
    static const uint64_t regions[] = {1, 2, 3, 4};
    enum { ARCHIVES = 3, IMAGES = ENGINE_DAMAGE_MAX / 2 / ARCHIVES + 1 };
    char last[REPORT] = "";
    struct cs_store *store = open_store(*state);
    for (unsigned i = 0; i < ARCHIVES; i++) {
        struct cs_writer *w = begin(store);
        struct record_view views[2] = {{.content = half_tree(w, regions, 4)},
                                       {.content = half_tree(w, regions, 2)}};
        commit_views(store, w, "x", views, 64 * (uint64_t)cs_region_size(store), IMAGES);
    }
    struct engine_check_result r;
    check_all(store, &r, last);
    assert_int_equal(r.damaged_count, ARCHIVES);
    assert_int_equal(r.damage_count, ENGINE_DAMAGE_MAX);
    assert_int_equal(r.damage_all, ARCHIVES * IMAGES * 2);
    assert_int_equal(r.errors, ARCHIVES * IMAGES * 2);
    assert_string_equal(last, "2 more parts of archives are damaged");
    engine_check_result_clear(&r);
    cs_close(store);
}

/* Nodes whose children are all the same: a tree of a million million leaves in a few objects, and
 * the leaf is not there. Somebody who may only append could make it; the check ends all the same.
 */
static void test_a_tree_without_end(void **state)
{
    char path[] = "/d/i", placed[] = "i", text[] = "x", when[] = "2026-01-01T00:00:00Z";
    char *tags[] = {(char[]){"nightly"}, (char[]){"test"}}, host[] = "host.example";
    char title[] = "x", last[REPORT] = "", *json = NULL;
    size_t zero = 0, len;
    struct error why = {0};
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_tree tree = {.kind = CS_TREE_CONTENT, .level = 7, .bytes = 1};
    struct record_view view = {0};
    noise(&tree.root, sizeof tree.root, 78);
    for (unsigned level = 1; level <= tree.level; level++) {
        struct cs_node node = {.bitmap = UINT64_MAX};
        uint8_t data[CS_NODE_SIZE_MAX];
        for (size_t i = 0; i < CS_NODE_CHILDREN; i++)
            node.children[i] = (struct cs_child){tree.root, tree.bytes};
        tree.bytes *= CS_NODE_CHILDREN;
        len = cs_node_encode(data, &node, level);
        assert_ok(cs_write_object(w, CS_CONTENT_NODE, data, len, &tree.root, err));
    }
    view.content = tree;
    struct record_layer layer = {
        .virtual_size = (UINT64_C(1) << 42) * cs_region_size(store) - 1,
        .bytes_allocated = tree.bytes,
        .views = &view,
        .view_count = 1,
        .file = {.path = path, .real_path = path, .placed_path = placed},
        .opened_as = path,
        .delta = text,
        .delta_reason = text,
    };
    int rc = record_layer_encode(&layer, &json, &len, &why);
    layer.id = store_record(w, CS_LAYER_RECORD, rc, json, len);
    struct record_image image = {.name = placed, .path = path, .layers = &zero, .layer_count = 1};
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
    assert_ok(try_commit(w, &id, title, NULL, err));
    cs_writer_end(w);
    struct engine_check_result r;
    check_all(store, &r, last);
    assert_int_equal(r.damage_count, 1);
    assert_int_equal(r.damage[0].ranges_all, 1);
    assert_int_equal(r.damage[0].bytes, layer.virtual_size);
    engine_check_result_clear(&r);
    cs_close(store);
}

static void assert_ranges(const struct damage_part *p, size_t n, const struct engine_range *ranges,
                          uint64_t bytes)
{
    assert_int_equal(p->ranges_all, n);
    assert_int_equal(p->bytes, bytes);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(p->ranges[i].offset, ranges[i].offset);
        assert_int_equal(p->ranges[i].length, ranges[i].length);
    }
}

static void test_ranges_that_touch_are_one(void **state)
{
    struct damage_part p = {0};
    (void)state;
    damage_part_add(&p, 0, 10, "why");
    damage_part_add(&p, 10, 5, "another");
    damage_part_add(&p, 20, 5, "another");
    damage_part_add(&p, 22, 6, "another");
    damage_part_add(&p, 23, 2, "another");
    damage_part_add(&p, 40, 0, "another");
    damage_part_add(&p, UINT64_MAX - 2, 10, "another");
    assert_ranges(&p, 3, (struct engine_range[]){{0, 15}, {20, 8}, {UINT64_MAX - 2, 2}}, 25);
    assert_string_equal(p.why, "why");
}

static void test_ranges_without_room_are_counted(void **state)
{
    struct damage_part p = {0};
    (void)state;
    for (uint64_t i = 0; i < 2 * ENGINE_DAMAGE_RANGES; i++) {
        damage_part_add(&p, 10 * i, 3, "");
        damage_part_add(&p, 10 * i + 3, 1, "");
    }
    assert_int_equal(p.ranges_all, 2 * ENGINE_DAMAGE_RANGES);
    assert_int_equal(p.bytes, 8 * ENGINE_DAMAGE_RANGES);
    for (size_t i = 0; i < ENGINE_DAMAGE_RANGES; i++)
        assert_int_equal(p.ranges[i].length, 4);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_leaves_that_stand_for_what_is_said),
        with_repo(test_a_content_leaf_that_stands_for_less),
        with_repo(test_a_placement_leaf_that_stands_for_more),
        with_repo(test_subclusters_count_one_by_one),
        with_repo(test_disk_and_vm_state),
        with_repo(test_no_more_than_can_be_told),
        with_repo(test_a_tree_without_end),
        cmocka_unit_test(test_ranges_that_touch_are_one),
        cmocka_unit_test(test_ranges_without_room_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
