/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repairs of each kind of damage; twice; stopped at every call of the backend;
 * and with others that come between. Sound archives stay whole whatever happens.
 */
#include "cs_prune_fixture.h"

#include <stdio.h>

#include "index.h"
#include "log.h"
#include "pack.h"
#include "store.h"

/* ---- a backend that stops, cannot read a file, or lets somebody in ---- */

static struct cs_backend_ops hooked;
static const struct cs_backend_ops *plain;
static long calls_left;                /* of those that change something; below 0: no limit */
static void (*before_log_entry)(void); /* called once, before an entry is put */
static char unreadable[64];
static const struct repo *hooked_repo;

static int stopped(struct cs_error *err)
{
    if (calls_left == 0)
        return cs_fail(err, CS_CANCELLED, "stopped");
    calls_left -= calls_left > 0;
    return 0;
}

static int hooked_read(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                       size_t len, size_t *got, struct cs_error *err)
{
    if (strcmp(name, unreadable) == 0)
        return cs_fail(err, CS_IO, "%s: input/output error", name);
    return plain->read(backend, name, offset, buf, len, got, err);
}

static int hooked_create(struct cs_backend *backend, const char *name, struct cs_put **put,
                         struct cs_error *err)
{
    int rc = stopped(err);
    void (*call)(void) = before_log_entry;
    if (rc == 0 && call != NULL && strncmp(name, "log/", 4) == 0) {
        before_log_entry = NULL;
        call();
    }
    return rc < 0 ? rc : plain->create(backend, name, put, err);
}

static int hooked_finish(struct cs_put *put, bool replace, struct cs_error *err)
{
    int rc = stopped(err);
    if (rc < 0)
        plain->abandon(put);
    return rc < 0 ? rc : plain->finish(put, replace, err);
}

static int hooked_sync(struct cs_backend *backend, const char *folder, struct cs_error *err)
{
    int rc = stopped(err);
    return rc < 0 ? rc : plain->sync(backend, folder, err);
}

static void hook(const struct repo *repo, struct cs_store *store)
{
    plain = store->backend->ops;
    hooked = *plain;
    hooked.read = hooked_read;
    hooked.create = hooked_create;
    hooked.finish = hooked_finish;
    hooked.sync = hooked_sync;
    calls_left = -1;
    before_log_entry = NULL;
    unreadable[0] = 0;
    hooked_repo = repo;
    store->backend->ops = &hooked;
}

static void unhook(struct cs_store *store)
{
    assert_null(before_log_entry); /* it had its turn */
    store->backend->ops = plain;
}

/* ---- repairing ---- */

static int need_made(void *arg, const struct cs_archive *archive, struct cs_repairer *repairer,
                     struct cs_error *err)
{
    struct cs_store *store = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < made_count; i++) {
        bool fresh;
        void *data = NULL;
        size_t len;
        if (memcmp(&table[i].record, &archive->id, sizeof archive->id) != 0)
            continue;
        rc = cs_repair_need(repairer, &table[i].record, &fresh, err);
        if (rc == 0 && cs_read_object(store, CS_ARCHIVE_RECORD, &table[i].record, &data, &len,
                                      NULL) == CS_CORRUPT)
            rc = cs_repair_unreadable(repairer, &table[i].record, err);
        free(data);
        for (size_t k = 0; rc == 0 && k < table[i].count; k++)
            rc = cs_repair_need(repairer, &table[i].chunks[k], &fresh, err);
    }
    return rc;
}

static void no_report(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static int try_repair(struct cs_store *store, double read_data, struct cs_repair_result *result,
                      struct cs_error *err)
{
    struct cs_damage damage = {0};
    struct cs_check_result checked;
    struct cs_check_options check = {
        .read_data = read_data, .damage = &damage, .report = no_report};
    struct cs_repair_options options = {.damage = &damage, .mark = need_made, .arg = store};
    int rc = cs_check(store, &check, &checked, err);
    if (rc == 0)
        rc = cs_repair(store, &options, result, err);
    cs_damage_clear(&damage);
    return rc;
}

static struct cs_repair_result repair(struct cs_store *store)
{
    struct cs_repair_result result;
    assert_ok(try_repair(store, 1, &result, err));
    return result;
}

/* A store that has to read everything; repaired; and once more, for nothing. */
static struct cs_repair_result repair_twice(const struct repo *repo)
{
    struct cs_store *store = open_store(repo);
    struct cs_repair_result result = repair(store);
    cs_close(store);
    unsigned entries = log_length(repo);
    uint64_t bytes = stored_bytes(repo);
    store = open_store(repo);
    struct cs_repair_result again = repair(store);
    cs_close(store);
    assert_int_equal(log_length(repo), entries);
    assert_int_equal(stored_bytes(repo), bytes);
    assert_int_equal(again.segments_dropped + again.segments_written + again.packs_dropped +
                         again.objects_damaged,
                     0);
    assert_int_equal(again.objects_missing, result.objects_missing);
    return result;
}

/* Archives 0 to 2 share nothing. */
static void build(const struct repo *repo)
{
    struct cs_store *store = open_store(repo);
    for (uint64_t i = 0; i < 3; i++)
        commit_some(store, i, i * 100, 12, 1);
    cs_close(store);
}

/* The file of the pack where an object lies. */
static void pack_file_of(const struct repo *repo, const struct cs_id *id, char name[64])
{
    struct cs_store *store = open_store(repo);
    struct cs_location where;
    bool found = false;
    assert_ok(cs_index_find(store, id, 0, &where, &found, err));
    assert_true(found);
    cs_pack_file(name, &where.pack);
    cs_close(store);
}

static void expect_whole(const struct repo *repo, size_t made)
{
    struct cs_store *store = open_store(repo);
    expect_made(store, &table[made]);
    cs_close(store);
}

static void test_nothing_is_wrong(void **state)
{
    struct repo *repo = *state;
    build(repo);
    unsigned entries = log_length(repo);
    struct cs_repair_result r = repair_twice(repo);
    assert_int_equal(r.segments_dropped + r.objects_missing, 0);
    assert_int_equal(log_length(repo), entries);
}

static void test_segments(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    build(repo);
    for (unsigned removed = 1; removed <= 3; removed++) {
        for (unsigned i = 0; i < removed && files_in(repo, "segments", name) > 0; i++)
            file_remove(repo, name);
        struct cs_repair_result r = repair_twice(repo);
        assert_true(r.segments_dropped > 0 && r.segments_written == 1);
        assert_whole(repo);
    }
    assert_true(files_in(repo, "segments", name) > 0);
    file_flip(repo, name, 90);
    assert_int_equal(repair_twice(repo).segments_dropped, 1);
    assert_whole(repo);
    /* a prune takes away what was dropped */
    struct cs_store *store = open_store(repo);
    prune(store, (struct cs_prune_options){0});
    cs_close(store);
    assert_whole(repo);
}

/* An entry that names what is not there, as only a liar writes it. */
static void test_a_segment_that_lies(void **state)
{
    struct repo *repo = *state;
    build(repo);
    struct cs_store *store = open_store(repo);
    struct cs_entry lie = {.prefix = {1}, .frame = 3, .slot = 9};
    struct cs_state_segment segment;
    struct cs_buf payload = {0};
    assert_ok(cs_segment_write(store, &lie, 1, &store->state.packs[0].id, 1, &segment, err));
    cs_entry_begin(&payload, CS_ENTRY_PUBLISH, 1);
    cs_entry_put_added(&payload, &(struct cs_added){.segments = &segment, .segment_count = 1});
    assert_ok(cs_log_append(store, &payload, NULL, err));
    cs_buf_clear(&payload);
    assert_int_equal(check_errors(store, NULL), 1);
    cs_close(store);
    assert_int_equal(repair_twice(repo).segments_dropped, 1);
    assert_whole(repo);
}

static void store_again(const struct repo *repo, const struct made *m)
{
    struct cs_store *store = open_store(repo);
    assert_ok(cs_find_missing_packs(store, NULL, NULL, err));
    commit_some(store, m->seed + 1000, m->seeds[0], m->count, 1);
    cs_close(store);
}

static void test_a_bad_frame_heals(void **state)
{
    struct repo *repo = *state;
    char name[64];
    build(repo);
    pack_file_of(repo, &table[0].chunks[0], name);
    file_flip(repo, name, 1000);
    struct cs_repair_result r = repair_twice(repo);
    assert_int_equal(r.objects_damaged, r.objects_missing);
    assert_true(r.objects_damaged > 0 && r.packs_dropped == 0);
    struct cs_store *store = open_store(repo);
    assert_int_equal(check_errors(store, NULL), 0); /* the log knows */
    bool lost = false, lacks = false;
    assert_ok(cs_is_lost(store, &table[0].chunks[0], &lost, err));
    assert_ok(cs_lacks_objects(store, &lacks, err));
    assert_true(lost && lacks);
    assert_false(has_object(store, &table[0].chunks[0]));
    /* what is sound moves away from what is bad, however little that frees */
    assert_int_equal(store->state.lost_count, 2 * r.objects_missing);
    struct cs_prune_result p = prune(store, (struct cs_prune_options){.max_unused = 1});
    assert_int_equal(p.lost, r.objects_missing);
    assert_int_equal(p.packs_rewritten, 1);
    assert_int_equal(store->state.lost_count, r.objects_missing);
    cs_close(store);
    assert_false(file_exists(repo, name));
    expect_whole(repo, 1);
    store_again(repo, &table[0]);
    assert_whole(repo);
    store = open_store(repo);
    assert_ok(cs_is_lost(store, &table[0].chunks[0], &lost, err));
    assert_ok(cs_lacks_objects(store, &lacks, err));
    assert_false(lost || lacks);
    prune(store, (struct cs_prune_options){0});
    assert_int_equal(store->state.lost_count, 0);
    cs_close(store);
    assert_whole(repo);
}

/* Nobody read the frames before: what an archive's metadata needs is noticed all the same. */
static void test_bad_metadata_without_reading_all(void **state)
{
    struct repo *repo = *state;
    char name[64];
    struct cs_repair_result r;
    build(repo);
    pack_file_of(repo, &table[1].record, name);
    file_flip(repo, name, 2000);
    struct cs_store *store = open_store(repo);
    assert_ok(try_repair(store, 0, &r, err));
    assert_true(r.objects_damaged > 0 && r.objects_missing > 0 && r.packs_dropped == 0);
    bool lost = false; /* a piece of it at least */
    assert_ok(cs_is_lost(store, &table[1].record, &lost, err));
    assert_true(lost);
    prune(store, (struct cs_prune_options){0});
    cs_close(store);
    repair_twice(repo);
    expect_whole(repo, 0);
    expect_whole(repo, 2);
}

static void test_packs(void **state)
{
    struct repo *repo = *state;
    char name[64], other[64];
    size_t len;
    build(repo);
    repo_save(repo);
    for (unsigned how = 0; how < 4; how++) {
        repo_restore(repo);
        pack_file_of(repo, &table[0].chunks[0], name);
        pack_file_of(repo, &table[1].chunks[0], other);
        uint8_t *data = file_read(repo, name, &len);
        switch (how) {
        case 0:
            file_remove(repo, name);
            break;
        case 1:
            file_write(repo, name, data, len - 1);
            break;
        case 2:
            file_flip(repo, name, len - 100);
            break;
        default: /* another's bytes under its name */
            file_copy(repo, other, name);
        }
        free(data);
        struct cs_repair_result r = repair_twice(repo);
        assert_int_equal(r.packs_dropped, 1);
        assert_int_equal(r.objects_missing, 12);
        assert_int_equal(file_exists(repo, name), how != 0);
        struct cs_store *store = open_store(repo);
        assert_int_equal(check_errors(store, NULL), 0);
        assert_int_equal(prune(store, (struct cs_prune_options){0}).lost, 12);
        cs_close(store);
        assert_false(file_exists(repo, name));
        expect_whole(repo, 1);
        expect_whole(repo, 2);
        store_again(repo, &table[0]);
        assert_whole(repo);
        made_count = 3;
    }
}

static void test_all_packs_gone(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    struct cs_repair_result r;
    build(repo);
    while (files_in(repo, "packs", name) > 0)
        file_remove(repo, name);
    unsigned entries = log_length(repo);
    struct cs_store *store = open_store(repo);
    assert_fails(CS_CORRUPT, try_repair(store, 0, &r, err));
    cs_close(store);
    assert_int_equal(log_length(repo), entries);
}

/* An I/O error proves nothing: even what is surely damaged waits. */
static void test_what_cannot_be_read_is_left_alone(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH], pack[64];
    struct cs_repair_result r;
    build(repo);
    pack_file_of(repo, &table[1].record, pack);
    files_in(repo, "segments", name);
    file_remove(repo, name);
    unsigned entries = log_length(repo);
    struct cs_store *store = open_store(repo);
    hook(repo, store);
    memcpy(unreadable, pack, sizeof unreadable);
    assert_fails(CS_IO, try_repair(store, 0, &r, err));
    unhook(store);
    cs_close(store);
    assert_int_equal(log_length(repo), entries);
    repair_twice(repo);
    assert_whole(repo);
}

static void test_roles(void **state)
{
    struct repo *repo = *state;
    char name[64], segment[FIXTURE_PATH];
    struct cs_repair_result r;
    build(repo);
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    add_key(store, 2, CS_ROLE_BACKUP, NULL);
    cs_close(store);
    pack_file_of(repo, &table[0].chunks[0], name);
    files_in(repo, "segments", segment);
    file_remove(repo, segment);
    store = open_as(repo, 1);
    assert_ok(try_repair(store, 1, &r, err));
    assert_int_equal(r.segments_written, 1);
    cs_close(store);
    assert_whole(repo);
    file_flip(repo, name, 1000);
    files_in(repo, "segments", segment);
    file_remove(repo, segment);
    unsigned entries = log_length(repo);
    store = open_as(repo, 1);
    assert_fails(CS_AUTH, try_repair(store, 1, &r, err));
    cs_close(store);
    assert_int_equal(log_length(repo), entries);
    store = open_as(repo, 2);
    assert_ok(try_repair(store, 1, &r, err));
    assert_true(r.objects_damaged > 0);
    cs_close(store);
    expect_whole(repo, 1);
}

/* ---- stopped ---- */

static void test_stopped_at_every_call(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    build(repo);
    pack_file_of(repo, &table[0].chunks[0], name);
    file_remove(repo, name);
    pack_file_of(repo, &table[1].chunks[0], name);
    file_flip(repo, name, 1000);
    while (files_in(repo, "segments", name) > 0)
        file_remove(repo, name);
    repo_save(repo);
    int rc = -1;
    long calls = 0;
    for (; rc < 0; calls++) {
        struct cs_repair_result r;
        repo_restore(repo);
        struct cs_store *store = open_store(repo);
        hook(repo, store);
        calls_left = calls;
        rc = try_repair(store, 1, &r, NULL);
        unhook(store);
        cs_close(store);
        /* whether or not a prune dares to go on, nothing that is needed goes */
        store = open_store(repo);
        try_prune(store, (struct cs_prune_options){.no_grace = true}, NULL, NULL);
        cs_close(store);
        repair_twice(repo);
        expect_whole(repo, 2);
        store_again(repo, &table[0]);
        store_again(repo, &table[1]);
        assert_whole(repo);
        made_count = 3;
    }
    print_message("stopped at %ld calls\n", calls);
    assert_true(calls > 10);
}

/* ---- others beside ---- */

static void repair_by_other(void)
{
    struct cs_store *other = open_store(hooked_repo);
    repair(other);
    cs_close(other);
}

static void prune_by_other(void)
{
    struct cs_store *other = open_store(hooked_repo);
    prune(other, (struct cs_prune_options){.no_grace = true});
    cs_close(other);
}

/* What a run found stored is called lost before it commits. */
static void test_a_run_beside(void **state)
{
    struct repo *repo = *state;
    char name[64];
    build(repo);
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct made *m = store_some(w, 50, 0, 14, 1); /* finds what archive 0 has */
    pack_file_of(repo, &table[0].chunks[0], name);
    file_flip(repo, name, 1000);
    hook(repo, store);
    before_log_entry = repair_by_other;
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
    unhook(store);
    cs_writer_end(w);
    made_count--;
    commit_some(store, 50, 0, 14, 1);
    cs_close(store);
    assert_whole(repo);
}

static struct cs_writer *other_writer;
static struct made *other_made;

static void commit_by_other(void)
{
    assert_ok(try_commit(other_writer, &other_made->record, "x", NULL, err));
}

/* A run commits before a pack is dropped in which it has found something: what it lacks is known.
 */
static void test_an_archive_comes_before_a_pack_is_dropped(void **state)
{
    struct repo *repo = *state;
    char name[64];
    build(repo);
    struct cs_store *store = open_store(repo), *other = open_store(repo);
    forget(store, &table[0]);
    other_writer = begin(other);
    other_made = store_some(other_writer, 50, 0, 14, 1);
    pack_file_of(repo, &table[0].chunks[0], name);
    file_remove(repo, name);
    hook(repo, store);
    before_log_entry = commit_by_other;
    struct cs_repair_result r = repair(store);
    unhook(store);
    cs_writer_end(other_writer);
    cs_close(other);
    assert_int_equal(r.packs_dropped, 1);
    assert_int_equal(r.objects_missing, 12);
    assert_int_equal(prune(store, (struct cs_prune_options){0}).lost, 12);
    cs_close(store);
    repair_twice(repo);
    store_again(repo, other_made);
    assert_whole(repo);
}

/* Two copies of an object: a prune may not free the sound one because it took the other for sound.
 */
static void test_a_prune_beside(void **state)
{
    struct repo *repo = *state;
    char name[64];
    build(repo);
    pack_file_of(repo, &table[0].chunks[0], name);
    struct cs_store *store = open_store(repo);
    file_copy(repo, name, "tmp/kept");
    file_remove(repo, name);
    assert_ok(cs_find_missing_packs(store, NULL, NULL, err));
    commit_some(store, 50, 0, 12, 1);
    cs_close(store);
    file_copy(repo, "tmp/kept", name);
    file_flip(repo, name, 1000);
    store = open_store(repo);
    forget(store, &table[3]);
    hook(repo, store);
    before_log_entry = repair_by_other;
    assert_fails(CS_CONFLICT,
                 try_prune(store, (struct cs_prune_options){.no_grace = true}, NULL, err));
    unhook(store);
    prune(store, (struct cs_prune_options){.no_grace = true});
    cs_close(store);
    assert_whole(repo);
}

/* A prune between: of what a repair was about to say, and of its new segment. */
static void test_a_repair_overtaken_by_a_prune(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    struct cs_repair_result r;
    build(repo);
    struct cs_store *store = open_store(repo);
    forget(store, &table[0]);
    pack_file_of(repo, &table[0].chunks[0], name);
    file_flip(repo, name, 1000);
    hook(repo, store);
    before_log_entry = prune_by_other;
    assert_int_equal(repair(store).objects_missing, 0);
    unhook(store);
    cs_close(store);
    assert_whole(repo);
    /* somebody else has read the segments before they were lost */
    struct cs_store *other = open_store(repo);
    commit_some(other, 60, 300, 2, 1);
    files_in(repo, "segments", name);
    file_remove(repo, name);
    store = open_store(repo);
    hook(repo, store);
    before_log_entry = repair_by_other;
    assert_ok(try_repair(store, 1, &r, err));
    unhook(store);
    cs_close(store);
    cs_close(other);
    assert_whole(repo);
    repair_twice(repo);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, table_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_nothing_is_wrong),
        with_repo(test_segments),
        with_repo(test_a_segment_that_lies),
        with_repo(test_a_bad_frame_heals),
        with_repo(test_bad_metadata_without_reading_all),
        with_repo(test_packs),
        with_repo(test_all_packs_gone),
        with_repo(test_what_cannot_be_read_is_left_alone),
        with_repo(test_roles),
        with_repo(test_stopped_at_every_call),
        with_repo(test_a_run_beside),
        with_repo(test_an_archive_comes_before_a_pack_is_dropped),
        with_repo(test_a_prune_beside),
        with_repo(test_a_repair_overtaken_by_a_prune),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
