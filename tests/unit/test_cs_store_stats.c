/* SPDX-License-Identifier: BSD-2-Clause */
/* Measuring what archives need: every byte of the packs is somebody's, or nobody's. */
#include "cs_fixture.h"

enum { LARGE = 300000, CHUNK = 100000 };

/* What the archives of a test need: a record of noise, perhaps a large one, and chunks. */
struct need {
    uint64_t record; /* seed */
    size_t record_len;
    struct cs_id chunks[3];
    size_t chunk_count;
};

struct world {
    struct need needs[2]; /* of the archives, in the order of the log */
    const struct cs_store *store;
    unsigned fresh;
    bool missing; /* also asks for what is nowhere */
};

static int mark(void *arg, const struct cs_archive *archive, struct cs_needs *needs,
                struct cs_error *err)
{
    struct world *world = arg;
    const struct need *need = &world->needs[archive != cs_archive_at(world->store, 0)];
    struct cs_id nowhere = {{1}};
    uint8_t *record = malloc(need->record_len);
    bool fresh;
    assert_non_null(record);
    noise(record, need->record_len, need->record);
    int rc = cs_need(needs, &archive->id, record, need->record_len, &fresh, err);
    free(record);
    for (size_t i = 0; rc == 0 && i < need->chunk_count; i++) {
        rc = cs_need(needs, &need->chunks[i], NULL, 0, &fresh, err);
        world->fresh += fresh;
    }
    return rc == 0 && world->missing ? cs_need(needs, &nowhere, NULL, 0, &fresh, err) : rc;
}

/* Two archives that share a chunk, and a chunk that nobody needs. */
static void make(struct cs_store *store, struct world *world)
{
    struct cs_writer *w = begin(store);
    struct cs_id shared = put_chunk(w, 1, CHUNK), first = put_chunk(w, 2, CHUNK + 1);
    struct cs_id second = put_chunk(w, 3, CHUNK + 2), record;
    put_chunk(w, 4, CHUNK + 3);
    *world = (struct world){
        .needs = {{.record = 5, .record_len = LARGE, .chunks = {shared, first}, .chunk_count = 2},
                  {.record = 6,
                   .record_len = 1000,
                   .chunks = {shared, second, shared},
                   .chunk_count = 3}},
        .store = store,
    };
    for (unsigned i = 0; i < 2; i++) {
        record = put_object(w, world->needs[i].record, world->needs[i].record_len);
        assert_ok(try_commit(w, &record, i == 0 ? "first" : "second", NULL, err));
    }
    cs_writer_end(w);
}

static void measure(struct cs_store *store, struct world *world, const struct cs_archive *archive,
                    struct cs_stats *stats)
{
    struct cs_stats_options options = {.archive = archive, .mark = mark, .arg = world};
    world->fresh = 0;
    assert_ok(cs_stats(store, &options, stats, err));
}

static void test_all_of_the_packs_is_told(void **state)
{
    struct repo *repo = *state;
    struct world world;
    struct cs_stats s;
    char first[FIXTURE_PATH];
    struct cs_store *store = open_store(repo);
    make(store, &world);
    measure(store, &world, NULL, &s);
    assert_int_equal(s.packs, files_in(repo, "packs", first));
    assert_int_equal(s.bytes_segments, bytes_in(repo, "segments"));
    assert_int_equal(s.all[CS_USAGE_DATA].stored + s.all[CS_USAGE_META].stored,
                     bytes_in(repo, "packs"));
    assert_int_equal(s.all[CS_USAGE_DATA].bytes, 4 * CHUNK + 6);
    assert_int_equal(s.all[CS_USAGE_DATA].objects, 4);
    assert_int_equal(s.needed[CS_USAGE_DATA].bytes, 3 * CHUNK + 3);
    assert_int_equal(s.needed[CS_USAGE_DATA].objects, 3);
    assert_int_equal(world.fresh, 3);
    /* a list and its three pieces, and the other record */
    assert_int_equal(s.needed[CS_USAGE_META].objects, 5);
    assert_int_equal(s.needed[CS_USAGE_META].bytes, LARGE + 8 + 3 * CS_ID_SIZE + 1000);
    assert_memory_equal(&s.needed[CS_USAGE_META], &s.all[CS_USAGE_META], sizeof *s.all);
    assert_memory_equal(s.alone, s.needed, sizeof s.alone);
    uint64_t unneeded = s.all[CS_USAGE_DATA].stored - s.needed[CS_USAGE_DATA].stored;
    assert_in_range(unneeded, CHUNK, CHUNK + 1000);
    cs_close(store);
}

static void test_one_archive_and_what_no_other_has(void **state)
{
    struct repo *repo = *state;
    struct world world;
    struct cs_stats s;
    struct cs_store *store = open_store(repo);
    make(store, &world);
    measure(store, &world, cs_archive_at(store, 1), &s);
    assert_int_equal(s.needed[CS_USAGE_DATA].bytes, 2 * CHUNK + 2);
    assert_int_equal(s.alone[CS_USAGE_DATA].bytes, CHUNK + 2);
    assert_int_equal(s.needed[CS_USAGE_META].bytes, 1000);
    assert_int_equal(s.alone[CS_USAGE_META].objects, 1);
    assert_int_equal(world.fresh, 4); /* each of the two is told of the shared one */
    measure(store, &world, cs_archive_at(store, 0), &s);
    assert_int_equal(s.alone[CS_USAGE_DATA].bytes, CHUNK + 1);
    assert_int_equal(s.alone[CS_USAGE_META].objects, 4);
    cs_close(store);
}

/* The same chunk, stored by two writers who did not know of each other: one of the two is needed.
 */
static void test_copies_count_once(void **state)
{
    struct repo *repo = *state;
    struct world world;
    struct cs_stats s;
    struct cs_store *one = open_store(repo), *two = open_store(repo);
    struct cs_writer *w = begin(two);
    put_chunk(w, 1, CHUNK);
    make(one, &world);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    cs_close(two);
    cs_close(one);
    one = open_store(repo);
    world.store = one;
    measure(one, &world, NULL, &s);
    assert_int_equal(s.all[CS_USAGE_DATA].objects, 5);
    assert_int_equal(s.needed[CS_USAGE_DATA].objects, 3);
    assert_int_equal(s.needed[CS_USAGE_DATA].bytes, 3 * CHUNK + 3);
    cs_close(one);
}

static void test_what_is_missing_is_damage(void **state)
{
    struct repo *repo = *state;
    struct world world;
    struct cs_stats s;
    struct cs_store *store = open_store(repo);
    struct cs_stats_options options = {.mark = mark, .arg = &world};
    make(store, &world);
    world.missing = true;
    assert_fails(CS_CORRUPT, cs_stats(store, &options, &s, err));
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_all_of_the_packs_is_told),
        with_repo(test_one_archive_and_what_no_other_has),
        with_repo(test_copies_count_once),
        with_repo(test_what_is_missing_is_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
