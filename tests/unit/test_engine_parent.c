/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parents whose parts contradict each other. No backup makes such, so that an
 * honest archive is committed once more with other trees. The next backup must
 * find out where it has to rely on them, and go without.
 */
#include "cs_fixture.h"
#include "qcow2_fixture.h"

#include <stdio.h>

#include "content.h"
#include "engine/engine.h"
#include "engine/record.h"

enum { CLUSTER_BITS = 16, CLUSTERS = 64 /* of a region */ };

static void keep_warning(void *arg, const char *message)
{
    snprintf(arg, sizeof((struct error *)0)->message, "%s", message);
}

/* Backs disk.qcow2 up; ${warning}: what it says must have that in it; NULL: it says nothing. */
static struct cs_id backup(struct cs_store *store, bool full, const char *warning)
{
    const char *const images[] = {"disk.qcow2"};
    char said[sizeof((struct error *)0)->message] = "";
    struct engine_backup_options options = {
        .images = images,
        .image_count = 1,
        .full_read = full,
        .listener = {.warning = keep_warning, .arg = said},
    };
    struct engine_backup_result result;
    struct error why = {0};
    if (engine_backup(store, &options, &result, &why) < 0)
        fail_msg("%s", why.message);
    if (warning == NULL ? said[0] != 0 : strstr(said, warning) == NULL)
        fail_msg("\"%s\" is not \"%s\"", said, warning != NULL ? warning : "");
    return result.archive;
}

static struct cs_id store_json(struct cs_writer *w, enum cs_type type, char *json, size_t len)
{
    struct cs_id id;
    assert_ok(cs_write_object(w, type, json, len, &id, err));
    free(json);
    return id;
}

/* Commits the newest archive again, with the trees that ${change} makes of its snapshot's. */
static void commit_changed(struct cs_store *store,
                           void (*change)(struct cs_writer *w, struct record_view *view))
{
    const struct cs_archive *last = cs_archive_at(store, cs_archive_count(store) - 1);
    struct record_archive a;
    struct error why = {0};
    char *json = NULL;
    size_t len;
    assert_int_equal(record_archive_read(&a, store, &last->id, &why), 0);
    struct cs_writer *w = begin(store);
    change(w, &a.layers[0].views[1]);
    assert_int_equal(record_layer_encode(&a.layers[0], &json, &len, &why), 0);
    a.layers[0].id = store_json(w, CS_LAYER_RECORD, json, len);
    assert_int_equal(record_archive_encode(&a, &json, &len, &why), 0);
    struct cs_commit commit = {
        .archive = store_json(w, CS_ARCHIVE_RECORD, json, len),
        .time = last->time,
        .name = last->name,
        .host = last->host,
        .summary = last->summary,
        .summary_len = last->summary_len,
    };
    assert_ok(cs_writer_commit(w, &commit, NULL, err));
    cs_writer_end(w);
    record_archive_clear(&a);
}

static struct cs_tree one_leaf(struct cs_writer *w, const struct cs_tree *like, const void *leaf,
                               size_t len)
{
    struct cs_tree_builder *b = NULL;
    struct cs_tree tree;
    assert_ok(cs_tree_begin(&b, w, like->kind, like->regions, err));
    if (len > 0)
        assert_ok(cs_tree_add(b, 0, leaf, len, like->bytes, err));
    assert_ok(cs_tree_finish(b, &tree, err));
    return tree;
}

static void no_content(struct cs_writer *w, struct record_view *view)
{
    view->content = one_leaf(w, &view->content, NULL, 0);
}

static void less_content(struct cs_writer *w, struct record_view *view)
{
    struct cs_run run = {.length = 4096};
    struct cs_chunk chunk = {.id = put_chunk(w, 1, 4096), .length = 4096};
    struct cs_buf leaf = {0};
    cs_content_encode(&leaf, &run, 1, &chunk, 1);
    view->content = one_leaf(w, &view->content, leaf.data, leaf.len);
    cs_buf_clear(&leaf);
}

static void leaf_that_is_none(struct cs_writer *w, struct record_view *view)
{
    view->content = one_leaf(w, &view->content, "leaf", 4);
}

static void placement_that_is_none(struct cs_writer *w, struct record_view *view)
{
    view->placement = one_leaf(w, &view->placement, "leaf", 4);
}

static void level_that_is_too_high(struct cs_writer *w, struct record_view *view)
{
    (void)w;
    view->content.level++;
}

/* All streams are said to have one byte. */
static void short_streams(struct cs_writer *w, struct record_view *view)
{
    struct cs_place places[CLUSTERS] = {0};
    struct qcow2_image *image;
    struct qcow2_entry entries[CLUSTERS];
    uint8_t *leaf = NULL;
    size_t len;
    int fd;
    image = open_image("disk.qcow2", &fd);
    struct error why = {0};
    struct qcow2_view *snapshot = NULL;
    assert_int_equal(qcow2_view_open(&snapshot, image, 1, &why), 0);
    assert_int_equal(qcow2_view_entries(snapshot, 0, CLUSTERS, entries, &why), 0);
    for (size_t i = 0; i < CLUSTERS; i++)
        places[i] = (struct cs_place){
            .class = (uint8_t)entries[i].class,
            .length = entries[i].class == QCOW2_COMPRESSED,
            .host = entries[i].host,
        };
    qcow2_view_close(snapshot);
    close_image(image, fd);
    assert_ok(cs_placement_encode(&leaf, &len, places, CLUSTERS, CLUSTER_BITS, false, err));
    view->placement = one_leaf(w, &view->placement, leaf, len);
    free(leaf);
}

/* What is proven in part by the snapshot needs its leaves. */
static void hold(struct repo *repo, void (*change)(struct cs_writer *w, struct record_view *view),
                 const char *warning)
{
    struct error why = {0};
    struct record_archive found, full;
    struct cs_store *store = open_store(repo);
    run("python3 -c 'import random; print(random.Random(1).randbytes(1 << 20).hex())' >data"
        " && qemu-img convert %s -f raw -O qcow2 data disk.qcow2"
        " && qemu-img snapshot -c a disk.qcow2",
        change == short_streams ? "-c" : "");
    backup(store, false, NULL);
    commit_changed(store, change);
    run("qemu-io -f qcow2 -c 'write -q -P 7 128k 512' -c 'write -q -P 7 511k 512' disk.qcow2");
    struct cs_id id = backup(store, false, warning);
    assert_int_equal(record_archive_read(&found, store, &id, &why), 0);
    id = backup(store, true, NULL);
    assert_int_equal(record_archive_read(&full, store, &id, &why), 0);
    assert_true(
        record_same_tree(&found.layers[0].views[0].content, &full.layers[0].views[0].content));
    if (warning != NULL)
        for (size_t i = 0; i < 2; i++) {
            assert_true(record_same_tree(&found.layers[0].views[i].content,
                                         &full.layers[0].views[i].content));
            assert_true(record_same_tree(&found.layers[0].views[i].placement,
                                         &full.layers[0].views[i].placement));
        }
    record_archive_clear(&found);
    record_archive_clear(&full);
    cs_close(store);
}

#define test_of(name, warning)                                                                     \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        hold(*state, name, warning);                                                               \
    }
#define UNUSABLE "the earlier backup cannot be used"

test_of(no_content, UNUSABLE) test_of(less_content, UNUSABLE) test_of(leaf_that_is_none, UNUSABLE)
    test_of(placement_that_is_none, UNUSABLE) test_of(level_that_is_too_high, UNUSABLE)
        test_of(short_streams, NULL)

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

            int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_no_content),
        with_repo(test_less_content),
        with_repo(test_leaf_that_is_none),
        with_repo(test_placement_that_is_none),
        with_repo(test_level_that_is_too_high),
        with_repo(test_short_streams),
    };

    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
