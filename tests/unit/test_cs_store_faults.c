/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens when something fails, or comes between, at the worst moment: writes that fail once,
 * a second writer inside a commit, an admin who was killed, keyrings that were exchanged. The
 * backend's table of functions is replaced by one that does it.
 */
#include "cs_fixture.h"

#include <stdio.h>

#include "keys.h"
#include "log.h"
#include "store.h"
#include "writer.h"

/* ---- a backend that fails, or calls ---- */

static struct cs_backend_ops hooked;
static const struct cs_backend_ops *plain;
static int fail_write_in; /* 0: never; n: the nth write fails */
static int fail_sync_of_log_in;
static void (*at_log_sync)(void); /* called once, before a log folder is synced */

static int hooked_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    if (fail_write_in > 0 && --fail_write_in == 0) {
        plain->write(put, data, len / 2, err); /* a full disk takes a part */
        return cs_fail(err, CS_NO_SPACE, "no space left on device");
    }
    return plain->write(put, data, len, err);
}

static int hooked_sync(struct cs_backend *backend, const char *folder, struct cs_error *err)
{
    if (strncmp(folder, "log", 3) == 0) {
        if (fail_sync_of_log_in > 0 && --fail_sync_of_log_in == 0)
            return cs_fail(err, CS_IO, "flushing failed");
        void (*call)(void) = at_log_sync;
        at_log_sync = NULL;
        if (call != NULL)
            call();
    }
    return plain->sync(backend, folder, err);
}

static void hook(struct cs_store *store)
{
    plain = store->backend->ops;
    hooked = *plain;
    hooked.write = hooked_write;
    hooked.sync = hooked_sync;
    fail_write_in = fail_sync_of_log_in = 0;
    at_log_sync = NULL;
    store->backend->ops = &hooked;
}

static void assert_sound(const struct repo *repo)
{
    char message[CHECK_MESSAGE];
    struct cs_store *store = open_store(repo);
    if (check_errors(store, message) != 0)
        fail_msg("check: %s", message);
    cs_close(store);
}

/* ---- writes that fail ---- */

/* Whatever the run says afterwards, what is published must be whole. */
static void test_a_failed_write_is_never_published_over(void **state)
{
    struct repo *repo = *state;
    for (int nth = 1; nth <= 12; nth++) {
        struct cs_store *store = open_store(repo);
        struct cs_writer *w = begin(store);
        uint8_t *data = malloc(1 << 20);
        struct cs_id id, first = {{0}};
        bool failed = false;
        assert_non_null(data);
        hook(store);
        fail_write_in = nth;
        for (uint64_t i = 0; i < 6; i++) {
            noise(data, 1 << 20, 100 * (uint64_t)nth + i);
            int rc = cs_write_chunk(w, data, 1 << 20, &id, NULL);
            if (rc == 0 && i == 0)
                first = id;
            failed |= rc < 0;
        }
        free(data);
        /* as after an interruption: once, and once more */
        failed |= cs_writer_publish(w, NULL) < 0;
        int again = cs_writer_publish(w, NULL);
        cs_writer_end(w);
        cs_close(store);
        assert_sound(repo);
        store = open_store(repo);
        if (failed && again == 0 && has_object(store, &first))
            expect_chunk(store, &first, 100 * (uint64_t)nth, 1 << 20);
        cs_close(store);
    }
}

/* An archive must not be committed whose objects were in a pack that was lost. */
static void test_no_commit_after_a_lost_frame(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_error why = {0};
    hook(store);
    struct cs_id chunk = put_chunk(w, 1, 1 << 20); /* it is still in its frame */
    struct cs_id record = put_object(w, 1, 500);
    fail_write_in = 2;
    int rc = try_commit(w, &record, "first", NULL, &why);
    assert_true(rc < 0);
    rc = try_commit(w, &record, "again", NULL, &why);
    cs_writer_end(w);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), rc == 0 ? 1 : 0);
    if (rc == 0) {
        expect_object(store, &record, 1, 500);
        expect_chunk(store, &chunk, 1, 1 << 20);
    }
    cs_close(store);
    assert_sound(repo);
}

/* ---- another writer between two entries of one commit ---- */

enum { LARGE = 4200 }; /* entries; more than what is small however little a run stores */

static void commit_many(struct cs_store *store, uint64_t seed, unsigned chunks)
{
    struct cs_writer *w = begin(store);
    for (unsigned i = 0; i < chunks; i++)
        put_chunk(w, seed * 100000 + i, 24);
    struct cs_id record = put_object(w, seed, 100);
    assert_ok(try_commit(w, &record, "many", NULL, err));
    cs_writer_end(w);
}

static const struct repo *between_repo;
static struct cs_store *between_store;
static struct cs_writer *between_writer;

static void begin_between(void)
{
    between_store = open_store(between_repo);
    between_writer = begin(between_store);
}

/*
 * B merges segments: its entry `replace` names a segment with entries of packs that only its next
 * entry makes live. A begins between the two, and merges later: it must not drop B's entries.
 */
static void test_a_merge_keeps_entries_of_packs_not_live_yet(void **state)
{
    struct repo *repo = *state;
    struct cs_store *b = open_store(repo);
    for (uint64_t i = 0; i < 7; i++)
        commit_many(b, 10 + i, LARGE);
    for (uint64_t i = 0; i < 8; i++)
        commit_one(b, "small", 50 + i);
    between_repo = repo;
    hook(b);
    at_log_sync = begin_between; /* B's replace has been linked */
    struct cs_id record = commit_one(b, "of B", 77);
    b->backend->ops = plain;
    cs_close(b);
    assert_non_null(between_writer);
    for (unsigned i = 0; i < LARGE + 50; i++)
        put_chunk(between_writer, 9000000 + i, 24);
    struct cs_id mine = put_object(between_writer, 99, 100);
    assert_ok(try_commit(between_writer, &mine, "of A", NULL, err));
    cs_writer_end(between_writer);
    cs_close(between_store);
    struct cs_store *store = open_store(repo);
    assert_true(has_object(store, &record));
    expect_object(store, &record, 77, 700);
    cs_close(store);
    assert_sound(repo);
}

/* ---- epochs ---- */

/* The store is opened before anything was written in the new epoch, so that its keyring is first
 * needed by the writer: it must be held against the log all the same. */
static void test_a_forged_keyring_of_a_new_epoch_is_not_used(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *thief;
    struct cs_identity forger;
    struct cs_keyring ring;
    struct cs_name slot, victim;
    uint8_t forged[CS_KEYRING_SIZE];
    char name[64];
    add_key(store, 1, CS_ROLE_APPEND, &slot);
    add_key(store, 2, CS_ROLE_APPEND, &victim);
    thief = open_as(repo, 1); /* knows the lasting keys */
    ring = *cs_store_keys(thief);
    uint8_t victim_public[CS_KEY_SIZE];
    memcpy(victim_public, cs_state_key(&thief->state, &victim)->dh_public, CS_KEY_SIZE);
    cs_close(thief);
    assert_ok(cs_key_remove(store, &slot, true, err));
    cs_close(store);
    /* the thief can write to the storage, and makes keys that he knows */
    cs_identity_new(&forger);
    forger.slot = slot;
    cs_keyring_new_epoch(&ring, 1);
    assert_ok(cs_keyring_seal(forged, &ring, CS_ROLE_APPEND, &repo->id, &victim, victim_public,
                              &forger, err));
    cs_keyring_file(name, &victim, 1);
    file_write(repo, name, forged, sizeof forged);

    struct cs_error why = {0};
    int rc = try_open(&store, repo, 2, &why);
    if (rc == 0) {
        struct cs_writer *w = NULL;
        rc = cs_writer_begin(&w, store, &(struct cs_writer_options){0}, &why);
        if (rc == 0) {
            struct cs_id id;
            rc = cs_write_chunk(w, "secret", 6, &id, &why);
            if (rc == 0)
                rc = cs_writer_publish(w, &why);
            cs_writer_end(w);
        }
        cs_close(store);
    }
    assert_int_equal(rc, CS_CORRUPT);
    assert_int_equal(files_in(repo, "packs", NULL), 0);
}

/* With workers: the first pack of an epoch loads its keys while regions are being hashed. (For the
 * thread and address sanitizers to see.) */
static void test_new_epoch_beside_workers(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot;
    add_key(store, 1, CS_ROLE_APPEND, &slot);
    assert_ok(cs_key_remove(store, &slot, true, err));
    cs_close(store);
    struct cs_open_options options = {.secret = key_file(0), .threads = 4};
    store = open_with(repo, &options);
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *builder = NULL;
    struct cs_tree tree;
    assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, 12, err));
    for (uint64_t i = 0; i < 12; i++) {
        struct cs_region *region = NULL;
        assert_ok(cs_region_get(w, &region, err));
        noise(region->data, 1 << 20, i);
        region->index = i;
        region->runs[0] = (struct cs_run){.offset = 0, .length = 1 << 20};
        region->run_count = 1;
        assert_ok(cs_region_put(&builder, 1, region, NULL, err));
    }
    assert_ok(cs_tree_finish(builder, &tree, err));
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    cs_close(store);
    assert_sound(repo);
}

/* An admin was killed between the keyrings of a new epoch and its entry: the next try must do. */
static void test_new_epoch_after_one_that_was_cut_short(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot;
    struct cs_error why = {0};
    add_key(store, 1, CS_ROLE_APPEND, &slot);
    hook(store);
    fail_write_in = 2; /* the second keyring */
    assert_true(cs_key_remove(store, &slot, true, &why) < 0);
    store->backend->ops = plain;
    cs_close(store);
    store = open_store(repo);
    assert_ok(cs_key_remove(store, &slot, true, err));
    commit_one(store, "after", 1);
    cs_close(store);
    struct cs_open_options options = {
        .secret = {.kind = CS_SLOT_RECOVERY, .data = repo->code, .len = strlen(repo->code)},
        .threads = 1};
    store = open_with(repo, &options);
    assert_int_equal(cs_archive_count(store), 1);
    cs_close(store);
}

/* ---- entries that must not become durable ---- */

static void test_a_key_of_no_role_is_refused_before_it_is_in_the_log(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_secret secret = key_file(1);
    struct cs_name slot;
    unsigned before = log_length(repo);
    assert_true(cs_key_add(store, &secret, (enum cs_role)0, "x", &slot, NULL) < 0);
    cs_close(store);
    assert_int_equal(log_length(repo), before);
    store = open_store(repo);
    cs_close(store);
}

static void test_a_malformed_payload_is_refused_before_it_is_in_the_log(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_buf payload = {0};
    unsigned before = log_length(repo);
    cs_entry_begin(&payload, CS_ENTRY_PUBLISH, 0);
    cs_put_u32(&payload, 1000);
    assert_true(cs_log_append(store, &payload, NULL, NULL) < 0);
    cs_buf_clear(&payload);
    cs_close(store);
    assert_int_equal(log_length(repo), before);
    store = open_store(repo);
    cs_close(store);
}

/* The entry may be durable though its folder could not be flushed: files of the key must stay where
 * the log names it. */
static void test_key_add_whose_flush_failed_leaves_log_and_files_agreed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_secret secret = key_file(1);
    struct cs_name slot;
    hook(store);
    fail_sync_of_log_in = 1;
    assert_true(cs_key_add(store, &secret, CS_ROLE_BACKUP, "x", &slot, NULL) < 0);
    store->backend->ops = plain;
    cs_close(store);
    assert_sound(repo);
}

/* ---- a log with a hole ---- */

static void test_keys_are_not_managed_on_a_log_with_a_hole(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[FIXTURE_PATH];
    for (unsigned i = 0; i < 70; i++)
        commit_one(store, "x", i);
    cs_close(store);
    entry_name(name, 10);
    file_remove(repo, name);
    store = open_store(repo); /* from the own checkpoint: the hole is not seen */
    struct cs_secret secret = key_file(1);
    struct cs_name slot;
    int rc = cs_key_add(store, &secret, CS_ROLE_BACKUP, "x", &slot, NULL);
    cs_close(store);
    assert_false(file_exists(repo, name)); /* above all: it is not filled with another entry */
    assert_int_equal(rc, CS_CORRUPT);
}

/* ---- a rolled-back repository ---- */

static void test_keys_of_a_rolled_back_repository_are_not_managed(void **state)
{
    struct repo *repo = *state;
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .state_dir = repo->heads};
    struct cs_store *store = open_with(repo, &options);
    repo_save(repo);
    commit_one(store, "x", 1);
    cs_close(store);
    repo_restore(repo);
    store = open_with(repo, &options);
    assert_non_null(cs_rollback_warning(store));
    struct cs_secret secret = key_file(1);
    struct cs_name slot;
    unsigned before = log_length(repo);
    assert_int_equal(cs_key_add(store, &secret, CS_ROLE_FULL, "x", &slot, NULL), CS_CORRUPT);
    assert_int_equal(log_length(repo), before);
    cs_close(store);
}

/* ---- payloads ---- */

static void test_a_refused_key_entry_changes_nothing(void **state)
{
    struct cs_state s = {0};
    struct cs_buf payload = {0};
    struct cs_identity identity = {.slot = {{1}}};
    uint8_t data_public[CS_KEY_SIZE] = {0};
    (void)state;
    cs_entry_begin(&payload, CS_ENTRY_KEY, 5);
    cs_put_u16(&payload, 2);
    cs_put_key_add(&payload, &identity, CS_ROLE_FULL, CS_SLOT_KEY_FILE, "x");
    cs_put_key_epoch(&payload, 3, data_public); /* out of its turn */
    assert_fails(CS_CORRUPT, cs_state_apply(&s, 0, payload.data, payload.len, err));
    assert_int_equal(s.key_count, 0);
    assert_int_equal(s.epoch_count, 0);
    cs_buf_clear(&payload);
    cs_state_clear(&s);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_a_failed_write_is_never_published_over),
        with_repo(test_no_commit_after_a_lost_frame),
        with_repo(test_a_merge_keeps_entries_of_packs_not_live_yet),
        with_repo(test_a_forged_keyring_of_a_new_epoch_is_not_used),
        with_repo(test_new_epoch_beside_workers),
        with_repo(test_new_epoch_after_one_that_was_cut_short),
        with_repo(test_a_key_of_no_role_is_refused_before_it_is_in_the_log),
        with_repo(test_a_malformed_payload_is_refused_before_it_is_in_the_log),
        with_repo(test_key_add_whose_flush_failed_leaves_log_and_files_agreed),
        with_repo(test_keys_are_not_managed_on_a_log_with_a_hole),
        with_repo(test_keys_of_a_rolled_back_repository_are_not_managed),
        cmocka_unit_test(test_a_refused_key_entry_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
