/* SPDX-License-Identifier: BSD-2-Clause */
/* Rights of the three roles, managing keys, and epochs. */
#include "cs_fixture.h"

#include "slot.h"
#include "store.h"

static void test_roles_read_what_they_may(void **state)
{
    static const enum cs_role roles[] = {CS_ROLE_FULL, CS_ROLE_BACKUP, CS_ROLE_APPEND};
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (unsigned i = 0; i < 3; i++)
        add_key(store, 1 + i, roles[i], NULL);
    struct cs_writer *w = begin(store);
    struct cs_id chunk = put_chunk(w, 1, 5000), record = put_object(w, 1, 500);
    assert_ok(try_commit(w, &record, "x", NULL, err));
    cs_writer_end(w);
    cs_close(store);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t buf[5000];
        store = open_as(repo, 1 + i);
        assert_int_equal(cs_own_role(store), roles[i]);
        expect_object(store, &record, 1, 500);
        if (roles[i] == CS_ROLE_FULL) {
            expect_chunk(store, &chunk, 1, 5000);
            assert_ok(cs_require_data_key(store, err));
        } else {
            assert_fails(CS_AUTH, cs_read_chunk(store, &chunk, buf, sizeof buf, err));
            assert_fails(CS_AUTH, cs_require_data_key(store, err));
        }
        cs_close(store);
    }
}

static void fail_on_report(void *arg, const char *message)
{
    (void)arg;
    fail_msg("%s", message);
}

static void test_whatever_role_writes_full_reads(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id chunks[2];
    add_key(store, 1, CS_ROLE_BACKUP, NULL);
    add_key(store, 2, CS_ROLE_APPEND, NULL);
    cs_close(store);
    for (unsigned i = 0; i < 2; i++) {
        store = open_as(repo, 1 + i);
        struct cs_writer *w = begin(store);
        chunks[i] = put_chunk(w, i, 70000);
        struct cs_id record = put_object(w, i, 100);
        assert_ok(try_commit(w, &record, "x", NULL, err));
        cs_writer_end(w);
        cs_close(store);
    }
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 2);
    for (unsigned i = 0; i < 2; i++)
        expect_chunk(store, &chunks[i], i, 70000);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
    store = open_as(repo, 2); /* what cannot be opened is held against its checksums */
    struct cs_check_options options = {.read_data = 1, .report = fail_on_report};
    struct cs_check_result result;
    assert_ok(cs_check(store, &options, &result, err));
    assert_int_equal(result.errors, 0);
    assert_true(result.data_unopened);
    cs_close(store);
}

static void test_only_full_manages_keys(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot, made;
    struct cs_secret secret = key_file(5);
    add_key(store, 1, CS_ROLE_BACKUP, &slot);
    cs_close(store);
    store = open_as(repo, 1);
    assert_fails(CS_AUTH, cs_key_add(store, &secret, CS_ROLE_APPEND, "x", &made, err));
    assert_fails(CS_AUTH, cs_key_remove(store, &slot, true, err));
    cs_close(store);
}

static void test_list_add_and_remove(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_key *keys = NULL;
    struct cs_name slot;
    char name[64], ring[64];
    size_t n = 0;
    add_key(store, 1, CS_ROLE_BACKUP, &slot);
    assert_ok(cs_key_list(store, &keys, &n, err));
    assert_int_equal(n, 3);
    assert_true(keys[0].own && keys[0].kind == CS_SLOT_KEY_FILE && keys[0].role == CS_ROLE_FULL);
    assert_true(!keys[1].own && keys[1].kind == CS_SLOT_RECOVERY && keys[1].role == CS_ROLE_FULL);
    assert_string_equal(keys[2].label, "another key");
    assert_memory_equal(&keys[2].slot, &slot, sizeof slot);
    free(keys);
    cs_slot_file(name, &slot);
    cs_keyring_file(ring, &slot, 0);
    assert_true(file_exists(repo, name) && file_exists(repo, ring));
    assert_ok(cs_key_remove(store, &slot, false, err));
    assert_false(file_exists(repo, name) || file_exists(repo, ring));
    assert_ok(cs_key_list(store, &keys, &n, err));
    assert_int_equal(n, 2);
    free(keys);
    assert_fails(CS_NOT_FOUND, cs_key_remove(store, &slot, false, err));
    cs_close(store);
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
}

static void test_the_last_full_key_stays(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_key *keys = NULL;
    size_t n = 0;
    add_key(store, 1, CS_ROLE_BACKUP, NULL);
    assert_ok(cs_key_list(store, &keys, &n, err));
    assert_ok(cs_key_remove(store, &keys[1].slot, false, err)); /* the recovery code */
    assert_fails(CS_USAGE, cs_key_remove(store, &keys[0].slot, false, err));
    free(keys);
    cs_close(store);
    store = open_store(repo);
    cs_close(store);
}

static void test_another_secret_for_the_own_slot(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot;
    struct cs_secret secret = key_file(6);
    add_key(store, 1, CS_ROLE_BACKUP, &slot);
    cs_close(store);
    store = open_as(repo, 1); /* any role may */
    assert_ok(cs_key_change(store, &secret, err));
    commit_one(store, "still open", 1);
    cs_close(store);
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
    store = open_as(repo, 6);
    assert_memory_equal(cs_own_slot(store), &slot, sizeof slot);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
}

static void test_a_slot_file_that_was_kept_does_not_open(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot;
    char name[64], ring[64];
    add_key(store, 1, CS_ROLE_FULL, &slot);
    cs_slot_file(name, &slot);
    cs_keyring_file(ring, &slot, 0);
    file_copy(repo, name, "tmp/slot");
    file_copy(repo, ring, "tmp/ring");
    assert_ok(cs_key_remove(store, &slot, false, err));
    cs_close(store);
    file_copy(repo, "tmp/slot", name);
    file_copy(repo, "tmp/ring", ring);
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
}

static void test_a_new_epoch(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name leaving;
    struct cs_id chunks[3];
    char name[64], ring[64];
    add_key(store, 1, CS_ROLE_BACKUP, &leaving);
    add_key(store, 2, CS_ROLE_FULL, NULL);
    cs_slot_file(name, &leaving);
    cs_keyring_file(ring, &leaving, 0);
    file_copy(repo, name, "tmp/slot");
    file_copy(repo, ring, "tmp/ring");
    for (unsigned epoch = 0; epoch < 3; epoch++) {
        struct cs_writer *w = begin(store);
        chunks[epoch] = put_chunk(w, epoch, 9000);
        struct cs_id record = put_object(w, epoch, 100);
        assert_ok(try_commit(w, &record, "x", NULL, err));
        cs_writer_end(w);
        if (epoch == 0) {
            assert_ok(cs_key_remove(store, &leaving, true, err));
        } else if (epoch == 1) { /* a key that comes in the second epoch reads both, and a third */
            add_key(store, 3, CS_ROLE_FULL, NULL);
            add_key(store, 4, CS_ROLE_APPEND, &leaving);
            assert_ok(cs_key_remove(store, &leaving, true, err));
        }
    }
    assert_int_equal(cs_store_current_epoch(store), 2);
    cs_close(store);
    for (unsigned key = 0; key < 4; key++) {
        if (key == 1)
            continue;
        store = open_as(repo, key);
        assert_int_equal(cs_archive_count(store), 3);
        for (unsigned epoch = 0; epoch < 3; epoch++)
            expect_chunk(store, &chunks[epoch], epoch, 9000);
        assert_int_equal(check_errors(store, NULL), 0);
        cs_close(store);
    }
    struct cs_open_options options = {
        .secret = {.kind = CS_SLOT_RECOVERY, .data = repo->code, .len = strlen(repo->code)},
        .threads = 1};
    store = open_with(repo, &options);
    for (unsigned epoch = 0; epoch < 3; epoch++)
        expect_chunk(store, &chunks[epoch], epoch, 9000);
    cs_close(store);
    /* who was removed has the old files, and gets no further */
    file_copy(repo, "tmp/slot", name);
    file_copy(repo, "tmp/ring", ring);
    assert_true(try_open(&store, repo, 1, NULL) < 0);
}

static void test_an_open_store_goes_on_in_the_new_epoch(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo), *other;
    struct cs_name leaving;
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    add_key(store, 2, CS_ROLE_APPEND, &leaving);
    other = open_as(repo, 1);
    struct cs_writer *w = begin(other);
    struct cs_id chunk = put_chunk(w, 1, 9000), record = put_object(w, 1, 100);
    assert_ok(cs_key_remove(store, &leaving, true, err));
    assert_ok(try_commit(w, &record, "across", NULL, err));
    cs_writer_end(w);
    commit_one(other, "behind", 2);
    cs_close(other);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 2);
    expect_chunk(store, &chunk, 1, 9000);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
}

static void test_exchanged_keyrings(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name one, two;
    char a[64], b[64];
    add_key(store, 1, CS_ROLE_APPEND, &one);
    add_key(store, 2, CS_ROLE_FULL, &two);
    cs_close(store);
    cs_keyring_file(a, &one, 0);
    cs_keyring_file(b, &two, 0);
    file_copy(repo, b, a);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 1, err));
    file_remove(repo, a);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 1, err));
    store = open_store(repo);
    assert_int_equal(check_errors(store, NULL), 1);
    cs_close(store);
}

/* Adding was cut short before the entry, again and again, and then it was not: the files that are
 * left take the same secret, and must not be taken for the key. */
static void test_what_a_cut_off_add_leaves_is_passed_over(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = NULL;
    char last[FIXTURE_PATH];
    struct cs_name slot;
    for (unsigned i = 0; i < 6; i++) {
        store = open_store(repo);
        add_key(store, 1, CS_ROLE_BACKUP, NULL);
        cs_close(store);
        entry_name(last, log_length(repo) - 1);
        file_remove(repo, last);
    }
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
    store = open_store(repo);
    add_key(store, 1, CS_ROLE_BACKUP, &slot);
    cs_close(store);
    store = open_as(repo, 1);
    assert_memory_equal(cs_own_slot(store), &slot, sizeof slot);
    commit_one(store, "x", 1);
    cs_close(store);
}

/* A removed key whose files came back, as after a power cut: it opens nothing, and that is no
 * damage; another slot for the same secret does. */
static void test_what_a_removal_leaves_is_passed_over(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char name[64], ring[64];
    struct cs_name slot, again;
    add_key(store, 1, CS_ROLE_BACKUP, &slot);
    cs_slot_file(name, &slot);
    cs_keyring_file(ring, &slot, 0);
    file_copy(repo, name, "tmp/slot");
    file_copy(repo, ring, "tmp/ring");
    assert_ok(cs_key_remove(store, &slot, true, err));
    commit_one(store, "in the new epoch", 1);
    cs_close(store);
    file_copy(repo, "tmp/slot", name);
    file_copy(repo, "tmp/ring", ring);
    assert_fails(CS_AUTH, try_open(&store, repo, 1, err));
    store = open_store(repo);
    add_key(store, 1, CS_ROLE_BACKUP, &again);
    cs_close(store);
    store = open_as(repo, 1);
    assert_memory_equal(cs_own_slot(store), &again, sizeof again);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_roles_read_what_they_may),
        with_repo(test_whatever_role_writes_full_reads),
        with_repo(test_only_full_manages_keys),
        with_repo(test_list_add_and_remove),
        with_repo(test_the_last_full_key_stays),
        with_repo(test_another_secret_for_the_own_slot),
        with_repo(test_a_slot_file_that_was_kept_does_not_open),
        with_repo(test_a_new_epoch),
        with_repo(test_an_open_store_goes_on_in_the_new_epoch),
        with_repo(test_exchanged_keyrings),
        with_repo(test_what_a_cut_off_add_leaves_is_passed_over),
        with_repo(test_what_a_removal_leaves_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
