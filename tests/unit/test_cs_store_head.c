/* SPDX-License-Identifier: BSD-2-Clause */
/* The head of the log as last seen from here: rollback and second histories. */
#include "cs_fixture.h"

#include <stdio.h>
#include <unistd.h>

static struct cs_store *open_here(const struct repo *repo, bool accept)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .state_dir = repo->heads, .accept_rollback = accept};
    return open_with(repo, &options);
}

static void test_a_repository_that_goes_on_is_no_rollback(void **state)
{
    struct repo *repo = *state;
    for (unsigned i = 0; i < 4; i++) {
        struct cs_store *store = open_here(repo, false);
        assert_null(cs_rollback_warning(store));
        commit_one(store, "here", i);
        cs_close(store);
        store = open_store(repo); /* elsewhere */
        commit_one(store, "elsewhere", 100 + i);
        cs_close(store);
    }
}

static void test_a_rollback_is_told_until_it_is_accepted(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_here(repo, false);
    struct cs_writer *w = NULL;
    struct cs_writer_options options = {0};
    struct cs_id record = commit_one(store, "kept", 1);
    repo_save(repo);
    commit_one(store, "lost", 2);
    cs_close(store);
    repo_restore(repo);
    for (int pass = 0; pass < 2; pass++) { /* telling it once does not end it */
        store = open_here(repo, false);
        assert_non_null(cs_rollback_warning(store));
        assert_non_null(strstr(cs_rollback_warning(store), "rolled back"));
        expect_object(store, &record, 1, 700); /* reading is possible */
        assert_fails(CS_CORRUPT, cs_writer_begin(&w, store, &options, err));
        assert_true(check_errors(store, NULL) > 0);
        cs_close(store);
    }
    store = open_here(repo, true);
    assert_null(cs_rollback_warning(store));
    cs_close(store);
    store = open_here(repo, false);
    assert_null(cs_rollback_warning(store));
    commit_one(store, "again", 3);
    cs_close(store);
}

static void test_another_history_of_the_same_length(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_here(repo, false);
    repo_save(repo);
    commit_one(store, "mine", 1);
    cs_close(store);
    repo_restore(repo);
    store = open_store(repo);
    commit_one(store, "another", 2);
    commit_one(store, "and more", 3);
    cs_close(store);
    store = open_here(repo, false);
    assert_non_null(cs_rollback_warning(store));
    assert_non_null(strstr(cs_rollback_warning(store), "another history"));
    cs_close(store);
}

static void test_heads_of_two_repositories_do_not_mix(void **state)
{
    struct repo *repo = *state, *other;
    void *second = NULL;
    assert_int_equal(repo_setup(&second), 0);
    other = second;
    struct cs_store *store = open_here(repo, false);
    commit_one(store, "x", 1);
    cs_close(store);
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .state_dir = repo->heads};
    store = open_with(other, &options);
    assert_null(cs_rollback_warning(store));
    cs_close(store);
    repo_teardown(&second);
}

static void test_a_damaged_head_is_not_passed_over(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_here(repo, false);
    char hex[CS_ID_HEX], path[2 * FIXTURE_PATH];
    cs_close(store);
    snprintf(path, sizeof path, "%s/%s/head", repo->heads, cs_id_hex(&repo->id, hex));
    assert_int_equal(truncate(path, 10), 0);
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .state_dir = repo->heads};
    assert_fails(CS_IO, cs_open(&store, repo->path, &options, err));
    assert_int_equal(unlink(path), 0);
    store = open_here(repo, false);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_a_repository_that_goes_on_is_no_rollback),
        with_repo(test_a_rollback_is_told_until_it_is_accepted),
        with_repo(test_another_history_of_the_same_length),
        with_repo(test_heads_of_two_repositories_do_not_mix),
        with_repo(test_a_damaged_head_is_not_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
