/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs: objects of all sizes come back, duplicates cost nothing, limits are kept, and nothing is
 * seen before it is published. */
#include "cs_fixture.h"

#include "pack_read.h"
#include "store.h"

static uint64_t repository_bytes(const struct repo *repo)
{
    return bytes_in(repo, "packs") + bytes_in(repo, "segments") +
           bytes_in(repo, "log/0000000000000");
}

static void assert_sound(struct cs_store *store)
{
    char message[CHECK_MESSAGE];
    if (check_errors(store, message) != 0)
        fail_msg("check: %s", message);
}

static void objects_of_all_sizes(const struct repo *repo, unsigned threads)
{
    static const size_t sizes[] = {1,      2,      4095,   4096,    131071,  131072,
                                   131073, 262144, 300000, 1048575, 1048576, 5000001};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    struct cs_open_options options = {.secret = key_file(0), .threads = threads};
    struct cs_store *store = open_with(repo, &options);
    struct cs_writer *w = begin(store);
    struct cs_id chunks[SIZES], objects[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        if (sizes[i] <= CS_DATA_OBJECT_MAX)
            chunks[i] = put_chunk(w, threads * 100 + i, sizes[i]);
        objects[i] = put_object(w, threads * 100 + 50 + i, sizes[i]);
    }
    assert_ok(try_commit(w, &objects[0], "sizes", NULL, err));
    cs_writer_end(w);
    for (int pass = 0; pass < 2; pass++) { /* in this store, and in a fresh one */
        for (size_t i = 0; i < SIZES; i++) {
            if (sizes[i] <= CS_DATA_OBJECT_MAX)
                expect_chunk(store, &chunks[i], threads * 100 + i, sizes[i]);
            expect_object(store, &objects[i], threads * 100 + 50 + i, sizes[i]);
        }
        assert_sound(store);
        cs_close(store);
        store = open_with(repo, &options);
    }
    cs_close(store);
}

static void test_objects_of_all_sizes(void **state)
{
    objects_of_all_sizes(*state, 1);
}

static void test_objects_of_all_sizes_with_workers(void **state)
{
    objects_of_all_sizes(*state, 3);
}

static void test_sizes_that_cannot_be(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_id id;
    uint8_t *big = calloc(1, CS_DATA_OBJECT_MAX + 1);
    assert_non_null(big);
    assert_fails(CS_USAGE, cs_write_chunk(w, big, 0, &id, err));
    assert_fails(CS_USAGE, cs_write_chunk(w, big, CS_DATA_OBJECT_MAX + 1, &id, err));
    assert_fails(CS_USAGE, cs_write_object(w, CS_LAYER_RECORD, big, 0, &id, err));
    assert_fails(CS_USAGE,
                 cs_write_object(w, CS_LAYER_RECORD, big, CS_LARGE_OBJECT_MAX + 1UL, &id, err));
    free(big);
    cs_writer_end(w);
    cs_close(store);
}

static void test_reading_wrong_things(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, 100), object = put_object(w, 1, 100), none = {{1}};
    uint8_t buf[101];
    void *data = NULL;
    size_t len;
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    assert_fails(CS_CORRUPT, cs_read_chunk(store, &none, buf, 100, err));
    assert_fails(CS_CORRUPT, cs_read_chunk(store, &chunk, buf, 101, err));
    assert_fails(CS_CORRUPT, cs_read_chunk(store, &object, buf, 100, err));
    assert_fails(CS_CORRUPT, cs_read_object(store, CS_LAYER_RECORD, &chunk, &data, &len, err));
    assert_fails(CS_CORRUPT, cs_read_object(store, CS_ARCHIVE_RECORD, &object, &data, &len, err));
    cs_close(store);
}

static void test_duplicates_are_stored_once(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_counters c;
    struct cs_id first = put_chunk(w, 1, 50000), again = put_chunk(w, 1, 50000);
    assert_memory_equal(&first, &again, sizeof first);
    cs_writer_counters(w, &c);
    assert_int_equal(c.chunks_total, 2);
    assert_int_equal(c.chunks_new, 1);
    assert_int_equal(c.bytes_new, 50000);
    assert_ok(cs_writer_publish(w, err));
    put_chunk(w, 1, 50000); /* published by this run */
    cs_writer_counters(w, &c);
    assert_int_equal(c.chunks_new, 1);
    cs_writer_end(w);
    cs_close(store);
    size_t packs = files_in(repo, "packs", NULL);
    store = open_store(repo);
    w = begin(store); /* and by another */
    put_chunk(w, 1, 50000);
    cs_writer_counters(w, &c);
    assert_int_equal(c.chunks_new, 0);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    cs_close(store);
    assert_int_equal(files_in(repo, "packs", NULL), packs);
}

/* Equal bytes of another class or type are another object. */
static void test_classes_do_not_mix(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, 100), object = put_object(w, 1, 100);
    assert_memory_not_equal(&chunk, &object, sizeof chunk);
    assert_ok(try_commit(w, &object, "x", NULL, err));
    cs_writer_end(w);
    expect_chunk(store, &chunk, 1, 100);
    expect_object(store, &object, 1, 100);
    cs_close(store);
}

static void test_bytes_stored_are_what_the_repository_grew_by(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (uint64_t i = 0; i < 12; i++) { /* also where segments are merged */
        uint64_t before = repository_bytes(repo);
        struct cs_writer *w = begin(store);
        struct cs_counters c;
        put_chunk(w, i, 20000);
        struct cs_id record = put_object(w, i, 3000);
        assert_ok(try_commit(w, &record, "x", &c, err));
        cs_writer_end(w);
        assert_int_equal(c.bytes_stored, repository_bytes(repo) - before);
        assert_int_equal(cs_archive_at(store, i)->bytes_stored, c.bytes_stored);
    }
    assert_sound(store);
    cs_close(store);
}

static void test_an_archive_says_what_was_committed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id record = commit_one(store, "a name", 1);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(cs_archive_count(store), 1);
        const struct cs_archive *a = cs_archive_at(store, 0);
        assert_memory_equal(&a->id, &record, sizeof record);
        assert_string_equal(a->name, "a name");
        assert_string_equal(a->host, "host.example");
        assert_int_equal(a->time, 1700000000);
        assert_int_equal(a->tag_count, 2);
        assert_string_equal(a->tags[1], "test");
        assert_int_equal(a->summary_len, 2);
        assert_memory_equal(a->summary, "{}", 2);
        cs_close(store);
        store = open_store(repo);
    }
    cs_close(store);
}

static void test_a_dry_run_leaves_nothing(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = NULL;
    struct cs_writer_options options = {.dry_run = true};
    struct cs_counters c;
    unsigned entries = log_length(repo);
    assert_ok(cs_writer_begin(&w, store, &options, err));
    for (uint64_t i = 0; i < 5; i++)
        put_chunk(w, i, 1 << 20);
    put_chunk(w, 0, 1 << 20);
    struct cs_id record = put_object(w, 1, 1000);
    cs_writer_counters(w, &c);
    assert_int_equal(c.chunks_total, 6);
    assert_int_equal(c.chunks_new, 5);
    assert_ok(cs_writer_publish(w, err));
    assert_fails(CS_USAGE, try_commit(w, &record, "x", NULL, err));
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    cs_writer_end(w);
    cs_close(store);
    assert_int_equal(files_in(repo, "packs", NULL), 0);
    assert_int_equal(files_in(repo, "segments", NULL), 0);
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    assert_int_equal(log_length(repo), entries);
}

static void test_an_unfinished_run_leaves_files_in_tmp_alone(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    unsigned entries = log_length(repo);
    for (uint64_t i = 0; i < 5; i++)
        put_chunk(w, i, 1 << 20);
    assert_true(files_in(repo, "tmp", NULL) > 0);
    repo_save(repo); /* as a kill here would leave it */
    cs_writer_end(w);
    cs_close(store);
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(files_in(repo, "packs", NULL), 0);
        assert_int_equal(files_in(repo, "segments", NULL), 0);
        assert_int_equal(log_length(repo), entries);
        store = open_store(repo);
        assert_sound(store);
        cs_close(store);
        repo_restore(repo);
    }
    store = open_store(repo); /* and the next run does not mind */
    commit_one(store, "x", 1);
    assert_sound(store);
    cs_close(store);
}

static void test_nothing_is_seen_before_the_commit(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *other = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, 5000), record = put_object(w, 1, 100);
    assert_false(has_object(other, &chunk));
    cs_close(other);
    other = open_store(repo);
    assert_int_equal(cs_archive_count(other), 0);
    assert_false(has_object(other, &chunk));
    assert_ok(try_commit(w, &record, "x", NULL, err));
    cs_writer_end(w);
    assert_int_equal(cs_archive_count(other), 0); /* it has not looked again */
    cs_close(other);
    other = open_store(repo);
    assert_int_equal(cs_archive_count(other), 1);
    expect_chunk(other, &chunk, 1, 5000);
    cs_close(other);
    cs_close(store);
}

static void test_what_was_published_is_found_by_the_next_run(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, 5000);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 0);
    expect_chunk(store, &chunk, 1, 5000);
    assert_sound(store);
    cs_close(store);
}

/* Frames end at 2 MiB, or at 4096 objects; packs at 65536 objects. */
static void test_frames_and_packs_close_at_their_limits(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    enum { OBJECTS = 70000 };
    struct cs_id first = {{0}}, last = {{0}};
    for (uint64_t i = 0; i < OBJECTS; i++) {
        last = put_chunk(w, 1000000 + i, 16);
        if (i == 0)
            first = last;
    }
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    assert_int_equal(store->state.pack_count, 2);
    uint64_t objects = 0;
    for (size_t i = 0; i < store->state.pack_count; i++) {
        struct cs_pack pack;
        assert_ok(cs_pack_load(&pack, store, &store->state.packs[i].id, err));
        assert_true(pack.trailer.object_count <= CS_PACK_MAX_OBJECTS);
        for (size_t f = 0; f < pack.trailer.frame_count; f++)
            assert_true(pack.trailer.frames[f].objects <= 4096);
        objects += pack.trailer.object_count;
        cs_pack_clear(&pack);
    }
    assert_int_equal(objects, OBJECTS);
    expect_chunk(store, &first, 1000000, 16);
    expect_chunk(store, &last, 1000000 + OBJECTS - 1, 16);
    assert_sound(store);
    cs_close(store);
}

static void test_packs_close_at_their_size(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    for (uint64_t i = 0; i < 70; i++)
        put_chunk(w, i, 1 << 20);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    assert_int_equal(store->state.pack_count, 2);
    assert_true(store->state.packs[0].size <= CS_PACK_TARGET + (1 << 16));
    assert_true(store->state.packs[0].size > CS_PACK_TARGET - 2 * CS_FRAME_MAX);
    assert_sound(store);
    cs_close(store);
}

/* With workers and without, a tree of regions is the same tree. */
static void test_regions_give_the_same_tree_with_any_number_of_workers(void **state)
{
    struct repo *repo = *state;
    struct cs_tree trees[3];
    static const unsigned threads[] = {1, 2, 7};
    for (size_t t = 0; t < 3; t++) {
        struct cs_open_options options = {.secret = key_file(0), .threads = threads[t]};
        struct cs_store *store = open_with(repo, &options);
        struct cs_writer *w = begin(store);
        struct cs_tree_builder *builder = NULL;
        assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, 100, err));
        for (uint64_t i = 0; i < 20; i++) {
            struct cs_region *region = NULL;
            assert_ok(cs_region_get(w, &region, err));
            size_t len = (1 + i % 4) << 18;
            noise(region->data + 4096, len, i % 7);
            memset(region->data + 4096 + 65536, 0, 65536);
            region->index = i * 5;
            region->runs[0] = (struct cs_run){.offset = 4096, .length = (uint32_t)len};
            region->run_count = 1;
            assert_ok(cs_region_put(&builder, 1, region, NULL, err));
        }
        assert_ok(cs_tree_finish(builder, &trees[t], err));
        assert_ok(cs_writer_publish(w, err));
        cs_writer_end(w);
        assert_sound(store);
        cs_close(store);
    }
    assert_memory_equal(&trees[0].root, &trees[1].root, sizeof trees[0].root);
    assert_memory_equal(&trees[0].root, &trees[2].root, sizeof trees[0].root);
}

static void test_cancel_stops_a_run(void **state)
{
    struct repo *repo = *state;
    volatile int cancel = 0;
    struct cs_open_options options = {.secret = key_file(0), .threads = 1, .cancel = &cancel};
    struct cs_store *store = open_with(repo, &options);
    struct cs_writer *w = begin(store);
    struct cs_region *region = NULL;
    put_chunk(w, 1, 100);
    struct cs_id record = put_object(w, 1, 100);
    cancel = 1;
    assert_fails(CS_CANCELLED, cs_region_get(w, &region, err));
    assert_fails(CS_CANCELLED, try_commit(w, &record, "x", NULL, err));
    cs_writer_publish(w, NULL); /* what was stored is kept for the next run */
    cs_writer_end(w);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 0);
    assert_true(has_object(store, &record));
    cs_close(store);
}

/* Nobody waits for frames that a run had not begun when it was stopped. */
static void test_cancel_gives_up_what_is_not_begun(void **state)
{
    struct repo *repo = *state;
    volatile int cancel = 0;
    struct cs_open_options options = {.secret = key_file(0), .threads = 2, .cancel = &cancel};
    struct cs_store *store = open_with(repo, &options);
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *builder = NULL;
    struct cs_region *region = NULL;
    struct cs_counters counters;
    struct cs_tree tree;
    put_chunk(w, 1, 100);
    assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, 100, err));
    assert_ok(cs_region_get(w, &region, err));
    noise(region->data, 1 << 20, 5);
    region->index = 7;
    region->runs[0] = (struct cs_run){.offset = 0, .length = 1 << 20};
    region->run_count = 1;
    assert_ok(cs_region_put(&builder, 1, region, NULL, err));
    cancel = 1;
    assert_fails(CS_CANCELLED, cs_tree_finish(builder, &tree, err));
    cs_writer_publish(w, NULL);
    cs_writer_counters(w, &counters);
    assert_int_equal(counters.chunks_total, 1);
    cs_writer_end(w);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(store->state.pack_count, 1);
    assert_sound(store);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_objects_of_all_sizes),
        with_repo(test_objects_of_all_sizes_with_workers),
        with_repo(test_sizes_that_cannot_be),
        with_repo(test_reading_wrong_things),
        with_repo(test_duplicates_are_stored_once),
        with_repo(test_classes_do_not_mix),
        with_repo(test_bytes_stored_are_what_the_repository_grew_by),
        with_repo(test_an_archive_says_what_was_committed),
        with_repo(test_a_dry_run_leaves_nothing),
        with_repo(test_an_unfinished_run_leaves_files_in_tmp_alone),
        with_repo(test_nothing_is_seen_before_the_commit),
        with_repo(test_what_was_published_is_found_by_the_next_run),
        with_repo(test_frames_and_packs_close_at_their_limits),
        with_repo(test_packs_close_at_their_size),
        with_repo(test_regions_give_the_same_tree_with_any_number_of_workers),
        with_repo(test_cancel_stops_a_run),
        with_repo(test_cancel_gives_up_what_is_not_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
