/* SPDX-License-Identifier: BSD-2-Clause */
/* Forgetting and tagging, by whom it may be done, and entries that are void. */
#include "cs_fixture.h"

#include "log.h"
#include "reserve.h"
#include "store.h"

static void assert_sound(const struct repo *repo)
{
    char message[CHECK_MESSAGE];
    struct cs_store *store = open_store(repo);
    if (check_errors(store, message) != 0)
        fail_msg("check: %s", message);
    cs_close(store);
}

static void test_a_forgotten_archive_is_gone_and_others_stay(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id ids[5];
    for (uint64_t i = 0; i < 5; i++)
        ids[i] = commit_one(store, "x", i);
    struct cs_id gone[2] = {ids[3], ids[0]};
    assert_ok(cs_forget(store, gone, 2, err));
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(cs_archive_count(store), 3);
        assert_memory_equal(&cs_archive_at(store, 0)->id, &ids[1], sizeof ids[1]);
        assert_memory_equal(&cs_archive_at(store, 2)->id, &ids[4], sizeof ids[4]);
        cs_close(store);
        store = open_store(repo);
    }
    unsigned before = log_length(repo);
    assert_fails(CS_NOT_FOUND, cs_forget(store, &ids[0], 1, err));
    assert_ok(cs_forget(store, NULL, 0, err));
    assert_int_equal(log_length(repo), before);
    cs_close(store);
    assert_sound(repo);
}

static void test_tags(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id id = commit_one(store, "x", 1);
    static const char *const remove[] = {"nightly", "none"}, *const add[] = {"kept", "test"};
    assert_ok(cs_tag(store, &id, remove, 2, add, 2, err));
    for (int pass = 0; pass < 2; pass++) {
        const struct cs_archive *a = cs_archive_at(store, 0);
        assert_int_equal(a->tag_count, 2);
        assert_string_equal(a->tags[0], "test");
        assert_string_equal(a->tags[1], "kept");
        cs_close(store);
        store = open_store(repo);
    }
    struct cs_id none = {{1}};
    assert_fails(CS_NOT_FOUND, cs_tag(store, &none, NULL, 0, add, 1, err));
    cs_close(store);
    assert_sound(repo);
}

static struct cs_buf forget_entry(const struct cs_id *id)
{
    struct cs_buf b = {0};
    cs_entry_begin(&b, CS_ENTRY_FORGET, 1);
    cs_put_u32(&b, 1);
    cs_put_bytes(&b, id, sizeof *id);
    return b;
}

/* Appends whatever it is told to, as a program would that does not ask. The store is stale then. */
static void forge(struct cs_store *store, struct cs_buf payload)
{
    uint8_t hash[CS_HASH_SIZE];
    assert_ok(cs_log_found(store, &payload, hash, err));
    cs_buf_clear(&payload);
}

static void test_who_may_forget(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    static const char *const tags[] = {"x"};
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    add_key(store, 2, CS_ROLE_BACKUP, NULL);
    struct cs_id first = commit_one(store, "first", 1), second = commit_one(store, "second", 2);
    cs_close(store);
    store = open_as(repo, 1);
    assert_fails(CS_AUTH, cs_forget(store, &first, 1, err));
    assert_fails(CS_AUTH, cs_tag(store, &first, NULL, 0, tags, 1, err));
    cs_close(store);
    store = open_as(repo, 2);
    assert_ok(cs_forget(store, &first, 1, err));
    assert_ok(cs_tag(store, &second, NULL, 0, tags, 1, err));
    cs_close(store);
    assert_sound(repo);
}

static void test_what_an_append_key_forgets_or_condemns_is_void(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    struct cs_id id = commit_one(store, "x", 1);
    struct cs_buf condemn = {0};
    cs_entry_begin(&condemn, CS_ENTRY_CONDEMN, 1);
    cs_put_u32(&condemn, 2);
    for (size_t i = 0; i < 2; i++)
        cs_put_bytes(&condemn, &store->state.packs[i].id, CS_NAME_SIZE);
    cs_put_zeros(&condemn, 3 * 4 + 8);
    size_t packs = store->state.pack_count;
    cs_close(store);
    store = open_as(repo, 1);
    forge(store, forget_entry(&id));
    cs_close(store);
    store = open_as(repo, 1);
    forge(store, condemn);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 1);
    assert_int_equal(store->state.pack_count, packs);
    expect_object(store, &id, 1, 700);
    commit_one(store, "after", 2);
    cs_close(store);
    assert_sound(repo);
}

/* Entries of a key that may append them, and that make no sense. */
static void append_nonsense(const struct repo *repo, unsigned key, unsigned kind)
{
    struct cs_store *store = open_as(repo, key);
    struct cs_buf b = {0};
    cs_entry_begin(&b, CS_ENTRY_PUBLISH, 1);
    if (kind == 0)
        cs_put_u32(&b, 1000);
    else
        cs_entry_put_added(&b, &(struct cs_added){.packs = store->state.packs, .pack_count = 1});
    forge(store, b);
    cs_close(store);
}

static void test_nonsense_of_an_append_key_is_void_and_reported(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    char message[CHECK_MESSAGE];
    add_key(store, 1, CS_ROLE_APPEND, NULL);
    struct cs_id id = commit_one(store, "x", 1);
    cs_close(store);
    for (unsigned kind = 0; kind < 2; kind++) {
        append_nonsense(repo, 1, kind);
        store = open_store(repo);
        expect_object(store, &id, 1, 700);
        commit_one(store, "after", 2 + kind);
        assert_int_equal(check_errors(store, message), kind + 1);
        assert_non_null(strstr(message, kind == 0 ? "malformed" : "is live already"));
        cs_close(store);
    }
}

static void test_nonsense_of_a_full_key_is_damage(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_one(store, "x", 1);
    cs_close(store);
    append_nonsense(repo, 0, 1);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
}

/* ---- the reserve ---- */

static uint64_t reserve_size(const struct repo *repo)
{
    size_t len = 0;
    if (!file_exists(repo, "reserve"))
        return 0;
    free(file_read(repo, "reserve", &len));
    return len;
}

static struct cs_backend_ops hooked;
static const struct cs_backend_ops *plain;
static const struct repo *full_repo;

/* No space as long as the reserve is there. */
static int full_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    if (file_exists(full_repo, "reserve"))
        return cs_fail(err, CS_NO_SPACE, "no space left on device");
    return plain->write(put, data, len, err);
}

static void test_a_full_disk_lets_archives_be_forgotten(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id first = commit_one(store, "first", 1), second = commit_one(store, "second", 2);
    assert_ok(cs_reserve_write(store, 3 << 20, 3 << 20, err));
    assert_int_equal(reserve_size(repo), 3 << 20);
    plain = store->backend->ops;
    hooked = *plain;
    hooked.write = full_write;
    full_repo = repo;
    store->backend->ops = &hooked;
    assert_fails(CS_NO_SPACE, cs_tag(store, &first, NULL, 0, NULL, 0, err));
    assert_ok(cs_forget(store, &first, 1, err));
    assert_int_equal(cs_archive_count(store), 1);
    assert_int_equal(reserve_size(repo), 3 << 20); /* there was room again */
    file_remove(repo, "reserve");
    assert_ok(cs_forget(store, &second, 1, err));
    store->backend->ops = plain;
    cs_close(store);
    assert_int_equal(reserve_size(repo), 0); /* none was wanted */
    assert_sound(repo);
}

static void test_a_smaller_reserve_grows_again(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    assert_ok(cs_reserve_write(store, 100000, 300000, err));
    cs_reserve_put_back(store);
    assert_int_equal(reserve_size(repo), 300000);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_a_forgotten_archive_is_gone_and_others_stay),
        with_repo(test_tags),
        with_repo(test_who_may_forget),
        with_repo(test_what_an_append_key_forgets_or_condemns_is_void),
        with_repo(test_nonsense_of_an_append_key_is_void_and_reported),
        with_repo(test_nonsense_of_a_full_key_is_damage),
        with_repo(test_a_full_disk_lets_archives_be_forgotten),
        with_repo(test_a_smaller_reserve_grows_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
