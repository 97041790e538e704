/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pruning: what live archives need stays, what they do not goes, and others may come in between at
 * the worst moment. The archives here are lists of chunks, which a table says.
 */
#include "cs_prune_fixture.h"

#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "index.h"
#include "log.h"
#include "pack_read.h"
#include "reserve.h"
#include "store.h"
#include "writer.h"

/* ---- what stays and what goes ---- */

static void test_only_what_is_needed_stays(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_some(store, 1, 0, 12, 1);
    commit_some(store, 2, 5, 12, 1); /* shares 5 to 11; frames are of 5 */
    commit_some(store, 3, 100, 12, 1);
    forget(store, &table[2]);
    forget(store, &table[0]);
    struct cs_prune_result dry = prune(store, (struct cs_prune_options){.dry_run = true});
    assert_int_equal(dry.bytes_before, stored_bytes(repo));
    struct cs_prune_result r = prune(store, (struct cs_prune_options){0});
    assert_int_equal(r.bytes_before, dry.bytes_before);
    assert_int_equal(r.packs_deleted, dry.packs_deleted);
    assert_int_equal(r.packs_rewritten, dry.packs_rewritten);
    assert_int_equal(r.bytes_after, stored_bytes(repo));
    /* 12 chunks and a record are needed */
    assert_true(r.bytes_after < 12 * CHUNK + 300000 + 20000);
    assert_int_equal(r.packs_rewritten, 1);
    assert_int_equal(r.packs_deleted, 3); /* of archives 1 and 3: metadata, and data of 3 */
    expect_made(store, &table[1]);
    cs_close(store);
    assert_whole(repo);
    store = open_store(repo);
    assert_false(has_object(store, &table[2].chunks[0]));
    unsigned entries = log_length(repo);
    r = prune(store, (struct cs_prune_options){0}); /* again: nothing left to do */
    assert_int_equal(r.bytes_before, r.bytes_after);
    assert_int_equal(log_length(repo), entries);
    /* what is gone can be stored again */
    commit_some(store, 4, 100, 12, 1);
    cs_close(store);
    assert_whole(repo);
}

struct names {
    char at[64][256];
    size_t count;
};

static bool condemned(const struct cs_store *store, const char *hex, enum cs_file_kind kind)
{
    struct cs_name name;
    assert_true(cs_name_parse(&name, hex));
    return cs_state_condemned(&store->state, kind, &name);
}

static int remember_name(void *arg, const char *name, struct cs_error *err)
{
    struct names *names = arg;
    (void)err;
    assert_true(names->count < 64);
    snprintf(names->at[names->count++], sizeof names->at[0], "%.200s", name);
    return 0;
}

static void list(struct cs_store *store, const char *folder, struct names *names)
{
    names->count = 0;
    assert_ok(store->backend->ops->list(store->backend, folder, remember_name, names, err));
}

static void test_exactly_what_is_condemned_is_deleted(void **state)
{
    static const char *const folders[] = {"packs", "segments"};
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct names before[2], after[2];
    char name[FIXTURE_PATH + 16];
    for (uint64_t i = 0; i < 6; i++)
        commit_some(store, i, i * 5, 10, 1);
    for (size_t i = 0; i < 6; i += 2)
        forget(store, &table[i]);
    for (unsigned k = 0; k < 2; k++)
        list(store, folders[k], &before[k]);
    prune(store, (struct cs_prune_options){0});
    for (unsigned k = 0; k < 2; k++) {
        list(store, folders[k], &after[k]);
        for (size_t i = 0; i < before[k].count; i++) {
            snprintf(name, sizeof name, "%s/%.100s", folders[k], before[k].at[i]);
            assert_int_equal(file_exists(repo, name), !condemned(store, before[k].at[i], k));
        }
        for (size_t i = 0; i < after[k].count; i++)
            assert_false(condemned(store, after[k].at[i], k));
        assert_int_equal(after[k].count,
                         k == 0 ? store->state.pack_count : store->state.segment_count);
    }
    cs_close(store);
    assert_whole(repo);
}

static void test_what_may_be_unused_stays_where_it_is(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_some(store, 1, 0, 20, 1);
    commit_some(store, 2, 0, 15, 1);
    forget(store, &table[0]); /* a quarter of the data pack is unused */
    struct cs_prune_result r = prune(store, (struct cs_prune_options){.max_unused = 0.5});
    assert_int_equal(r.packs_rewritten, 0);
    assert_true(r.bytes_unused > 4 * CHUNK);
    r = prune(store, (struct cs_prune_options){.max_unused = 0.05});
    assert_int_equal(r.packs_rewritten, 1);
    assert_int_equal(r.bytes_unused, 0);
    cs_close(store);
    assert_whole(repo);
}

/* Moved frames carry their origin: they may move again, and into packs with others. */
static void test_frames_move_again_and_again(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (uint64_t i = 0; i < 8; i++) {
        commit_some(store, i, i * 8, 16, 1);
        if (i > 0)
            forget(store, &table[i - 1]);
        prune(store, (struct cs_prune_options){0});
        assert_whole(repo);
    }
    cs_close(store);
}

/* A backup key cannot read data, and prunes all the same; an append key may not. */
static void test_who_may_prune(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    add_key(store, 2, CS_ROLE_BACKUP, NULL);
    commit_some(store, 1, 0, 20, 1);
    commit_some(store, 2, 0, 5, 2);
    forget(store, &table[0]);
    cs_close(store);
    uint64_t before = stored_bytes(repo);
    for (int dry = 0; dry < 2; dry++) {
        store = open_as(repo, 1);
        assert_fails(CS_AUTH,
                     try_prune(store, (struct cs_prune_options){.dry_run = dry}, NULL, err));
        cs_close(store);
    }
    assert_int_equal(stored_bytes(repo), before);
    store = open_as(repo, 2);
    assert_int_equal(prune(store, (struct cs_prune_options){0}).packs_rewritten, 1);
    cs_close(store);
    assert_true(stored_bytes(repo) < before - 8 * CHUNK);
    assert_whole(repo);
}

/* ---- damage ---- */

static void test_nothing_is_freed_while_something_is_missing(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[FIXTURE_PATH];
    commit_some(store, 1, 0, 5, 1);
    commit_some(store, 2, 100, 5, 1);
    forget(store, &table[0]);
    cs_pack_file(name, &store->state.packs[2].id); /* of the second archive */
    file_remove(repo, name);
    uint64_t before = stored_bytes(repo);
    assert_fails(CS_CORRUPT, try_prune(store, (struct cs_prune_options){0}, NULL, err));
    assert_int_equal(stored_bytes(repo), before);
    forget(store, &table[1]); /* then it is no archive's any more */
    prune(store, (struct cs_prune_options){0});
    cs_close(store);
    assert_whole(repo);
    assert_int_equal(files_in(repo, "packs", NULL), 0);
}

static unsigned warnings;

static void count_warning(void *arg, const char *message)
{
    (void)arg;
    assert_non_null(strstr(message, "was altered"));
    warnings++;
}

static void test_a_damaged_pack_is_not_rewritten(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[FIXTURE_PATH];
    commit_some(store, 1, 0, 20, 1);
    commit_some(store, 2, 10, 10, 1);
    forget(store, &table[0]);
    cs_pack_file(name, &store->state.packs[0].id);
    cs_close(store);
    file_flip(repo, name, 11 * CHUNK); /* in the third frame of five chunks */
    store = open_store(repo);
    warnings = 0;
    struct cs_prune_result r = prune(store, (struct cs_prune_options){.warning = count_warning});
    assert_int_equal(warnings, 1);
    assert_int_equal(r.packs_rewritten, 0);
    assert_true(file_exists(repo, name));
    expect_chunk(store, &table[1].chunks[9], 19, CHUNK); /* what was sound still is */
    cs_close(store);
}

static void append_lost(struct cs_store *store, const struct cs_name *pack, const struct cs_id *id)
{
    struct cs_buf b = {0};
    cs_entry_begin(&b, CS_ENTRY_LOST, 1);
    cs_put_u32(&b, 1);
    cs_put_bytes(&b, pack, sizeof *pack);
    cs_put_bytes(&b, id, sizeof *id);
    assert_ok(cs_log_append(store, &b, NULL, err));
    cs_buf_clear(&b);
}

/* The next backup heals what was lost, and a prune does not bring the bad copy back. */
static void test_lost_objects_are_stored_again(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_some(store, 1, 0, 10, 1);
    struct cs_name pack = store->state.packs[0].id;
    append_lost(store, &pack, &table[0].chunks[3]);
    assert_false(has_object(store, &table[0].chunks[3]));
    assert_true(has_object(store, &table[0].chunks[2]));
    assert_fails(CS_CORRUPT, try_prune(store, (struct cs_prune_options){0}, NULL, err));
    commit_some(store, 2, 0, 10, 1);
    assert_true(has_object(store, &table[0].chunks[3]));
    expect_made(store, &table[0]);
    prune(store, (struct cs_prune_options){0});
    forget(store, &table[0]);
    prune(store, (struct cs_prune_options){0});
    assert_non_null(cs_state_pack(&store->state, &pack)); /* it is not rewritten */
    assert_int_equal(store->state.lost_count, 1);
    cs_close(store);
    assert_whole(repo);
    store = open_store(repo);
    forget(store, &table[1]);
    prune(store, (struct cs_prune_options){0});
    assert_int_equal(store->state.lost_count, 0);
    cs_close(store);
}

/* A copy of a live segment under another name. */
static struct cs_state_segment copy_segment(struct cs_store *store,
                                            const struct cs_state_segment *which)
{
    struct cs_segment s;
    struct cs_state_segment copy;
    assert_ok(cs_segment_fetch(&s, store, which, err));
    struct cs_entry *entries = calloc(s.entry_count, sizeof *entries);
    assert_non_null(entries);
    for (uint64_t i = 0; i < s.entry_count; i++)
        assert_ok(cs_segment_entry(&s, i, &entries[i], err));
    assert_ok(cs_segment_write(store, entries, s.entry_count, (const struct cs_name *)s.packs,
                               s.pack_count, &copy, err));
    free(entries);
    cs_segment_clear(&s);
    return copy;
}

/* Somebody with an append key says in a segment that the objects of others lie elsewhere, and sees
 * to it that this segment comes first. */
static void test_a_segment_that_lies_makes_nothing_go(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    commit_some(store, 1, 0, 10, 1);
    cs_close(store);
    store = open_as(repo, 1);
    struct cs_writer *w = begin(store);
    put_chunk(w, 5000, 1000);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    struct cs_entry lies[10];
    memset(lies, 0, sizeof lies);
    for (size_t i = 0; i < 10; i++)
        memcpy(lies[i].prefix, table[0].chunks[i].bytes, sizeof lies[i].prefix);
    qsort(lies, 10, sizeof *lies, cs_entry_compare);
    struct cs_state_segment segments[2];
    struct cs_buf b = {0};
    assert_ok(cs_segment_write(store, lies, 10, &store->state.packs[2].id, 1, &segments[0], err));
    segments[1] = copy_segment(store, &store->state.segments[0]);
    cs_entry_begin(&b, CS_ENTRY_REPLACE, 1);
    cs_entry_put_names(&b, &store->state.segments[0].id, 1);
    cs_entry_put_added(&b, &(struct cs_added){.segments = segments, .segment_count = 2});
    assert_ok(cs_log_append(store, &b, NULL, err));
    cs_buf_clear(&b);
    cs_close(store);
    store = open_store(repo);
    prune(store, (struct cs_prune_options){.no_grace = true});
    for (size_t i = 0; i < table[0].count; i++)
        expect_chunk(store, &table[0].chunks[i], table[0].seeds[i], CHUNK);
    cs_close(store);
    assert_whole(repo);
}

/* Somebody with an append key stores garbage under the id of what is there: which of the two stays
 * is plain, for nobody could store that before. */
static void test_garbage_under_an_id_replaces_nothing(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    commit_some(store, 1, 0, 1, 1);
    cs_close(store);
    store = open_as(repo, 1);
    struct cs_writer *w = begin(store);
    struct cs_place_in_pack place;
    uint8_t garbage[100] = {1};
    size_t packs = 0;
    assert_ok(cs_stream_put(w->data, &table[0].chunks[0], CS_CHUNK, garbage, sizeof garbage, &place,
                            err));
    assert_ok(cs_stream_finish(w->data, err));
    struct cs_state_pack pack = *cs_stream_packs(w->data, &packs);
    struct cs_entry entry = {.pack = 0};
    struct cs_state_segment segment;
    struct cs_buf b = {0};
    memcpy(entry.prefix, table[0].chunks[0].bytes, sizeof entry.prefix);
    assert_ok(cs_segment_write(store, &entry, 1, &pack.id, 1, &segment, err));
    cs_entry_begin(&b, CS_ENTRY_PUBLISH, 1);
    cs_entry_put_added(&b, &(struct cs_added){&pack, 1, &segment, 1});
    assert_ok(cs_log_append(store, &b, NULL, err));
    cs_buf_clear(&b);
    cs_writer_end(w);
    cs_close(store);
    store = open_store(repo);
    prune(store, (struct cs_prune_options){.no_grace = true});
    assert_null(cs_state_pack(&store->state, &pack.id));
    cs_close(store);
    assert_whole(repo);
}

/* ---- leftovers ---- */

static void set_age(const struct repo *repo, const char *name, int64_t seconds)
{
    char path[2 * FIXTURE_PATH];
    struct timeval times[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    snprintf(path, sizeof path, "%s/%s", repo->path, name);
    assert_int_equal(utimes(path, times), 0);
}

static void test_files_of_nobody_go_when_they_are_old(void **state)
{
    static const char *const orphans[] = {"packs/00000000000000000000000000000001",
                                          "segments/00000000000000000000000000000002"};
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_some(store, 1, 0, 2, 1);
    for (size_t i = 0; i < 2; i++)
        file_write(repo, orphans[i], "abc", 3);
    file_write(repo, "packs/readme", "abc", 3); /* no name of a pack: not ours */
    file_write(repo, "tmp/young", "abc", 3);
    file_write(repo, "tmp/old", "abc", 3);
    set_age(repo, "tmp/old", 90000);
    struct cs_prune_result r = prune(store, (struct cs_prune_options){0});
    assert_int_equal(r.bytes_spared, 6);
    assert_true(file_exists(repo, orphans[0]) && file_exists(repo, orphans[1]));
    assert_true(file_exists(repo, "tmp/young"));
    assert_false(file_exists(repo, "tmp/old"));
    set_age(repo, orphans[0], 90000);
    prune(store, (struct cs_prune_options){0});
    assert_false(file_exists(repo, orphans[0]));
    assert_true(file_exists(repo, orphans[1]));
    prune(store, (struct cs_prune_options){.no_grace = true});
    assert_false(file_exists(repo, orphans[1]));
    assert_true(file_exists(repo, "packs/readme"));
    cs_close(store);
    assert_whole(repo);
}

static void test_what_was_published_is_spared_for_a_day(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, CHUNK);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    struct cs_prune_result r = prune(store, (struct cs_prune_options){0});
    assert_true(r.bytes_spared > CHUNK);
    assert_true(has_object(store, &chunk));
    prune(store, (struct cs_prune_options){.no_grace = true});
    assert_false(has_object(store, &chunk));
    assert_int_equal(files_in(repo, "packs", NULL), 0);
    cs_close(store);
    assert_whole(repo);
}

/* Many small segments, and such with many dead entries, become one. */
static void test_segments_are_merged(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (uint64_t i = 0; i < 4; i++)
        commit_some(store, i, i * 10, 4, 1);
    assert_int_equal(store->state.segment_count, 4);
    prune(store, (struct cs_prune_options){0});
    assert_int_equal(store->state.segment_count, 1);
    for (size_t i = 0; i < 3; i++)
        forget(store, &table[i]);
    prune(store, (struct cs_prune_options){0});
    assert_int_equal(store->state.segment_count, 1);
    assert_int_equal(store->state.segments[0].entries, 4 + 4); /* chunks; pieces and their list */
    cs_close(store);
    assert_whole(repo);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, table_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_only_what_is_needed_stays),
        with_repo(test_exactly_what_is_condemned_is_deleted),
        with_repo(test_what_may_be_unused_stays_where_it_is),
        with_repo(test_frames_move_again_and_again),
        with_repo(test_who_may_prune),
        with_repo(test_nothing_is_freed_while_something_is_missing),
        with_repo(test_a_damaged_pack_is_not_rewritten),
        with_repo(test_lost_objects_are_stored_again),
        with_repo(test_a_segment_that_lies_makes_nothing_go),
        with_repo(test_garbage_under_an_id_replaces_nothing),
        with_repo(test_files_of_nobody_go_when_they_are_old),
        with_repo(test_what_was_published_is_spared_for_a_day),
        with_repo(test_segments_are_merged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
