/* SPDX-License-Identifier: BSD-2-Clause */
/* The log: two writers in turn, tampering with entries, checkpoints. */
#include "cs_fixture.h"

#include "keys.h"
#include "log.h"
#include "store.h"

static void assert_same_state(const struct cs_state *a, const struct cs_state *b)
{
    struct cs_buf x = {0}, y = {0};
    cs_entry_put_checkpoint(&x, a);
    cs_entry_put_checkpoint(&y, b);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    cs_buf_clear(&x);
    cs_buf_clear(&y);
}

/* Folds from entry 0, whatever checkpoints there are. */
static void refuse_report(void *arg, const char *message)
{
    (void)arg;
    fail_msg("%s", message);
}

static void assert_folds_to_the_same(struct cs_store *store)
{
    struct cs_state state = {0};
    assert_ok(cs_log_verify(store, &state, refuse_report, NULL, err));
    assert_same_state(&state, &store->state);
    cs_state_clear(&state);
}

static void test_two_stores_commit_in_turn(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b = open_store(repo);
    unsigned before = log_length(repo);
    for (uint64_t i = 0; i < 12; i++) {
        struct cs_writer *wa = begin(a), *wb = begin(b); /* both before either commits */
        struct cs_id ra = put_object(wa, 1000 + i, 300), rb = put_object(wb, 2000 + i, 300);
        assert_ok(try_commit(i % 2 ? wa : wb, i % 2 ? &ra : &rb, "first", NULL, err));
        assert_ok(try_commit(i % 2 ? wb : wa, i % 2 ? &rb : &ra, "second", NULL, err));
        cs_writer_end(wa);
        cs_writer_end(wb);
    }
    cs_close(a);
    cs_close(b);
    a = open_store(repo);
    assert_int_equal(cs_archive_count(a), 24);
    assert_true(log_length(repo) >= before + 24);
    for (uint64_t i = 0; i < 24; i++) {
        const struct cs_archive *x = cs_archive_at(a, i);
        void *data = NULL;
        size_t len = 0;
        assert_string_equal(x->name, i % 2 ? "second" : "first");
        assert_ok(cs_read_object(a, CS_LAYER_RECORD, &x->id, &data, &len, err));
        free(data);
    }
    assert_int_equal(check_errors(a, NULL), 0);
    cs_close(a);
}

static void test_every_byte_of_an_entry_counts(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[FIXTURE_PATH];
    commit_one(store, "x", 1);
    cs_close(store);
    for (unsigned number = 0; number < log_length(repo); number++) {
        size_t len;
        entry_name(name, number);
        uint8_t *data = file_read(repo, name, &len);
        for (size_t i = 0; i < len; i += i < 80 || i + 64 >= len ? 1 : 7) {
            data[i] ^= 0x40;
            file_write(repo, name, data, len);
            if (try_open(&store, repo, 0, NULL) == 0) {
                cs_close(store);
                fail_msg("entry %u: byte %zu was not missed", number, i);
            }
            data[i] ^= 0x40;
        }
        for (size_t cut = 0; cut < len; cut += 31) {
            file_write(repo, name, data, cut);
            assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
        }
        file_write(repo, name, data, len);
        free(data);
    }
    assert_ok(try_open(&store, repo, 0, err));
    cs_close(store);
}

static void test_removed_and_exchanged_entries(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char one[FIXTURE_PATH], two[FIXTURE_PATH];
    for (unsigned i = 0; i < 5; i++)
        commit_one(store, "x", i);
    cs_close(store);
    repo_save(repo);
    for (unsigned number = 0; number + 1 < log_length(repo); number++) {
        entry_name(one, number);
        file_remove(repo, one);
        assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
        repo_restore(repo);
    }
    entry_name(one, 3);
    entry_name(two, 4);
    file_copy(repo, one, "tmp/x");
    file_copy(repo, two, one);
    file_copy(repo, "tmp/x", two);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
    repo_restore(repo);
    file_copy(repo, one, two); /* twice */
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
}

/* Two histories from the same beginning: the end of one does not go on the other. */
static void test_an_entry_of_another_history(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[FIXTURE_PATH];
    commit_one(store, "base", 1);
    cs_close(store);
    repo_save(repo);
    store = open_store(repo);
    commit_one(store, "one", 2);
    commit_one(store, "one more", 3);
    cs_close(store);
    entry_name(name, log_length(repo) - 1);
    size_t len;
    uint8_t *last = file_read(repo, name, &len);
    repo_restore(repo);
    store = open_store(repo);
    commit_one(store, "other", 4);
    cs_close(store);
    file_write(repo, name, last, len);
    free(last);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
}

static size_t key_position(const struct cs_store *store, const struct cs_name *slot)
{
    const struct cs_state_key *key = cs_state_key(&store->state, slot);
    assert_non_null(key);
    return (size_t)(key - store->state.keys);
}

static void test_what_a_removed_key_appends_is_void(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *removed;
    struct cs_name slot;
    add_key(store, 1, CS_ROLE_FULL, &slot);
    removed = open_as(repo, 1);
    struct cs_writer *w = begin(removed);
    struct cs_id record = put_object(w, 1, 100);
    assert_ok(cs_key_remove(store, &slot, false, err));
    cs_close(store);
    /* honestly it is refused */
    assert_fails(CS_AUTH, try_commit(w, &record, "void", NULL, err));
    /* its owner has a program that does not ask */
    removed->state.keys[key_position(removed, &slot)].removed = false;
    assert_ok(try_commit(w, &record, "void", NULL, err));
    cs_writer_end(w);
    cs_close(removed);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 0);
    assert_false(has_object(store, &record));
    commit_one(store, "after", 2); /* the chain goes on */
    assert_folds_to_the_same(store);
    cs_close(store);
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
}

static void test_a_key_entry_by_an_append_key_is_void(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *append;
    struct cs_name slot;
    struct cs_buf payload = {0};
    add_key(store, 1, CS_ROLE_APPEND, &slot);
    cs_close(store);
    append = open_as(repo, 1);
    struct cs_identity identity;
    cs_identity_new(&identity);
    cs_entry_begin(&payload, CS_ENTRY_KEY, 1);
    cs_put_u16(&payload, 1);
    cs_put_key_add(&payload, &identity, CS_ROLE_FULL, CS_SLOT_KEY_FILE, "mine");
    assert_fails(CS_AUTH, cs_log_append(append, &payload, NULL, err));
    append->state.keys[key_position(append, &slot)].role = CS_ROLE_FULL;
    assert_ok(cs_log_append(append, &payload, NULL, err));
    cs_buf_clear(&payload);
    cs_close(append);
    store = open_store(repo);
    assert_null(cs_state_key(&store->state, &identity.slot));
    assert_folds_to_the_same(store);
    cs_close(store);
}

static void test_unknown_types(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_buf payload = {0};
    struct cs_writer *w;
    cs_put_u16(&payload, 99);
    cs_put_u16(&payload, CS_ENTRY_OPTIONAL);
    cs_put_u64(&payload, 0);
    assert_ok(cs_log_append(store, &payload, NULL, err));
    cs_close(store);
    store = open_store(repo); /* who only reads may */
    w = begin(store);
    struct cs_id record = put_object(w, 1, 100);
    assert_fails(CS_UNSUPPORTED, try_commit(w, &record, "x", NULL, err));
    cs_writer_end(w);
    cs_close(store);
    cs_buf_clear(&payload);
}

/* ---- checkpoints ---- */

static uint64_t own_checkpoint(struct cs_store *store)
{
    return store->position.last_checkpoint;
}

static void test_a_checkpoint_gives_the_same_state(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (unsigned i = 0; i < 80; i++)
        commit_one(store, "x", i);
    assert_true(own_checkpoint(store) > 0);
    cs_close(store);
    store = open_store(repo);
    assert_true(own_checkpoint(store) > 0);
    assert_true(store->position.entries_since < 70); /* it did begin there */
    assert_int_equal(cs_archive_count(store), 80);
    assert_folds_to_the_same(store);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
}

static void test_checkpoints_of_others_are_not_believed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *other;
    struct cs_name slot;
    struct cs_buf payload = {0};
    add_key(store, 1, CS_ROLE_APPEND, &slot);
    commit_one(store, "true", 1);
    cs_close(store);
    other = open_as(repo, 1); /* tells a state without the archive, and with a right of its own */
    struct cs_state lie = other->state;
    lie.archive_count = 0;
    cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, 1);
    cs_entry_put_checkpoint(&payload, &lie);
    assert_ok(cs_log_append(other, &payload, NULL, err));
    cs_buf_clear(&payload);
    commit_one(other, "behind it", 2);
    cs_close(other);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 2);
    char message[CHECK_MESSAGE];
    assert_int_equal(check_errors(store, message), 1);
    assert_non_null(strstr(message, "checkpoint does not agree"));
    cs_close(store);
    other = open_as(repo, 1); /* whoever wrote it believes it */
    assert_int_equal(cs_archive_count(other), 1);
    cs_close(other);
}

static void test_two_writers_past_a_checkpoint(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b;
    add_key(a, 1, CS_ROLE_BACKUP, NULL);
    b = open_as(repo, 1);
    for (unsigned i = 0; i < 75; i++) {
        commit_one(a, "a", i);
        commit_one(b, "b", 1000 + i);
    }
    cs_close(a);
    cs_close(b);
    for (unsigned key = 0; key < 2; key++) {
        a = open_as(repo, key);
        assert_int_equal(cs_archive_count(a), 150);
        assert_folds_to_the_same(a);
        cs_close(a);
    }
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_two_stores_commit_in_turn),
        with_repo(test_every_byte_of_an_entry_counts),
        with_repo(test_removed_and_exchanged_entries),
        with_repo(test_an_entry_of_another_history),
        with_repo(test_what_a_removed_key_appends_is_void),
        with_repo(test_a_key_entry_by_an_append_key_is_void),
        with_repo(test_unknown_types),
        with_repo(test_a_checkpoint_gives_the_same_state),
        with_repo(test_checkpoints_of_others_are_not_believed),
        with_repo(test_two_writers_past_a_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
