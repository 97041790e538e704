/* SPDX-License-Identifier: BSD-2-Clause */
/* Each damage is found, and a sound repository is not blamed. */
#include "cs_fixture.h"

#include <stdio.h>

#include "pack.h"
#include "slot.h"
#include "store.h"

static void build(const struct repo *repo)
{
    struct cs_store *store = open_store(repo);
    add_key(store, 1, CS_ROLE_BACKUP, NULL);
    for (unsigned i = 0; i < 3; i++)
        commit_one(store, "x", i);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
}

static uint64_t errors_of(const struct repo *repo, char message[CHECK_MESSAGE])
{
    struct cs_store *store = open_store(repo);
    uint64_t errors = check_errors(store, message);
    cs_close(store);
    return errors;
}

static void assert_found(const struct repo *repo, const char *text)
{
    char message[CHECK_MESSAGE];
    assert_true(errors_of(repo, message) > 0);
    if (strstr(message, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, message);
}

static void test_every_byte_of_every_pack(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    build(repo);
    files_in(repo, "packs", name);
    size_t len;
    uint8_t *data = file_read(repo, name, &len);
    for (size_t i = 0; i < len; i += i < 64 || i + 100 > len ? 3 : 41) {
        data[i] ^= 2;
        file_write(repo, name, data, len);
        assert_found(repo, name);
        data[i] ^= 2;
    }
    file_write(repo, name, data, len - 1);
    assert_found(repo, name);
    file_write(repo, name, data, 10);
    assert_found(repo, name);
    file_remove(repo, name);
    assert_found(repo, "is missing");
    file_write(repo, name, data, len);
    assert_int_equal(errors_of(repo, NULL), 0);
    free(data);
}

static void test_structure_is_checked_without_reading_data(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    build(repo);
    files_in(repo, "packs", name);
    struct cs_store *store = open_store(repo);
    struct cs_check_options options = {.read_data = 0};
    struct cs_check_result result;
    assert_ok(cs_check(store, &options, &result, err));
    assert_int_equal(result.errors, 0);
    assert_int_equal(result.packs_checked, 6);
    assert_int_equal(result.bytes_checked, 0);
    options.read_data = 1;
    assert_ok(cs_check(store, &options, &result, err));
    assert_true(result.bytes_checked > 0 && !result.data_unopened);
    cs_close(store);
}

static void keep_message(void *arg, const char *message)
{
    snprintf(arg, CHECK_MESSAGE, "%s", message);
}

/* Of six packs; whole packs are read, and what that says of the others is as sample.h has it. */
static void test_a_part_of_the_packs(void **state)
{
    struct repo *repo = *state;
    static const double bounds[] = {1, 5 / 6.0, 3 / 6.0, 3 / 6.0, 2 / 6.0, 1 / 6.0};
    char name[FIXTURE_PATH];
    build(repo);
    struct cs_store *store = open_store(repo);
    struct cs_check_options options = {.read_data = 0};
    struct cs_check_result result;
    assert_ok(cs_check(store, &options, &result, err));
    assert_true(result.packs_read == 0 && result.read_share <= 0);
    assert_true(result.damaged_share_below <= 0);
    for (unsigned percent = 1; percent <= 100; percent += 9) {
        options.read_data = percent / 100.0;
        assert_ok(cs_check(store, &options, &result, err));
        assert_true(result.read_share >= options.read_data && result.read_share <= 1);
        assert_true(result.packs_read >= 1 && result.packs_read <= 6);
        assert_true(result.damaged_share_below > bounds[result.packs_read - 1] - 1e-9);
        assert_true(result.damaged_share_below < bounds[result.packs_read - 1] + 1e-9);
    }
    cs_close(store);
    files_in(repo, "packs", name);
    file_remove(repo, name);
    char message[CHECK_MESSAGE] = "";
    store = open_store(repo);
    options.report = keep_message;
    options.arg = message;
    assert_ok(cs_check(store, &options, &result, err));
    assert_true(strstr(message, name) != NULL);
    assert_true(result.packs_read == 5 && result.read_share < 1);
    assert_true(result.damaged_share_below <= 0); /* one is, so nothing is said */
    cs_close(store);
}

static void test_segments(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    build(repo);
    files_in(repo, "segments", name);
    file_copy(repo, name, "tmp/kept");
    file_flip(repo, name, 70);
    assert_found(repo, "not in the index");
    file_remove(repo, name);
    assert_found(repo, "not in the index");
    file_copy(repo, "tmp/kept", name);
    assert_int_equal(errors_of(repo, NULL), 0);
}

/* Opens by a key whose files are sound: the founder's, or the recovery code. */
static uint64_t errors_beside(const struct repo *repo, size_t damaged)
{
    struct cs_secret code = {
        .kind = CS_SLOT_RECOVERY, .data = repo->code, .len = strlen(repo->code)};
    struct cs_open_options options = {.secret = damaged == 0 ? code : key_file(0), .threads = 1};
    struct cs_store *store = open_with(repo, &options);
    uint64_t errors = check_errors(store, NULL);
    cs_close(store);
    return errors;
}

static void test_slots_and_keyrings_of_others(void **state)
{
    struct repo *repo = *state;
    struct cs_name slots[3];
    build(repo);
    struct cs_store *store = open_store(repo);
    assert_int_equal(store->state.key_count, 3);
    for (size_t i = 0; i < 3; i++)
        slots[i] = store->state.keys[i].slot;
    cs_close(store);
    for (size_t i = 0; i < 6; i++) {
        char name[64];
        if (i % 2)
            cs_keyring_file(name, &slots[i / 2], 0);
        else
            cs_slot_file(name, &slots[i / 2]);
        file_copy(repo, name, "tmp/kept");
        file_flip(repo, name, 300);
        assert_int_equal(errors_beside(repo, i / 2), 1);
        file_remove(repo, name);
        assert_int_equal(errors_beside(repo, i / 2), 1);
        file_copy(repo, "tmp/kept", name);
    }
    assert_int_equal(errors_of(repo, NULL), 0);
}

/* Two packs exchanged under each other's names. */
static void test_exchanged_packs(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH], other[64];
    build(repo);
    struct cs_store *store = open_store(repo);
    files_in(repo, "packs", name);
    for (size_t i = 0; i < store->state.pack_count; i++) {
        cs_pack_file(other, &store->state.packs[i].id);
        if (strcmp(other, name) != 0)
            break;
    }
    cs_close(store);
    file_copy(repo, name, "tmp/one");
    file_copy(repo, other, name);
    file_copy(repo, "tmp/one", other);
    char message[CHECK_MESSAGE];
    assert_true(errors_of(repo, message) >= 2);
}

static void test_the_middle_of_the_log(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    struct cs_store *store = open_store(repo);
    for (unsigned i = 0; i < 75; i++)
        commit_one(store, "x", i);
    cs_close(store);
    entry_name(name, 20); /* before the checkpoint that the store begins at */
    file_flip(repo, name, 100);
    assert_found(repo, "log entry 20");
    file_remove(repo, name);
    assert_found(repo, "log entry 20");
}

struct stopping {
    int cancel;
    unsigned packs_seen;
};

static void stop(void *arg, uint64_t done, uint64_t total)
{
    struct stopping *s = arg;
    assert_true(done < total);
    s->packs_seen++;
    s->cancel = 1;
}

/* With frames of the packs behind in the workers. */
static void test_it_can_be_stopped_after_each_pack(void **state)
{
    struct repo *repo = *state;
    build(repo);
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct stopping s = {0};
        struct cs_open_options open = {
            .secret = key_file(0), .threads = threads, .cancel = &s.cancel};
        struct cs_store *store = open_with(repo, &open);
        struct cs_check_options options = {.read_data = 1, .progress = stop, .arg = &s};
        struct cs_check_result result;
        assert_fails(CS_CANCELLED, cs_check(store, &options, &result, err));
        assert_int_equal(s.packs_seen, 1);
        assert_int_equal(result.packs_checked, 1);
        assert_int_equal(result.errors, 0);
        cs_close(store);
    }
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_every_byte_of_every_pack),
        with_repo(test_structure_is_checked_without_reading_data),
        with_repo(test_a_part_of_the_packs),
        with_repo(test_segments),
        with_repo(test_slots_and_keyrings_of_others),
        with_repo(test_exchanged_packs),
        with_repo(test_the_middle_of_the_log),
        with_repo(test_it_can_be_stopped_after_each_pack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
