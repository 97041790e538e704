/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An archive that somebody forgets, and frees, while it is read: that is no
 * damage, and is not called so.
 */
#include "cs_fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/upkeep.h"

enum { BYTES = 300000 };

static struct repo *repo;

static int setup(void **state)
{
    int rc = repo_setup(state);
    repo = *state;
    return rc;
}

static void path_in(char out[FIXTURE_PATH], const char *name)
{
    snprintf(out, FIXTURE_PATH, "%.400s/%s", repo->dir, name);
}

/* An archive of a raw disk of noise. */
static void back_up(uint64_t seed)
{
    static uint8_t data[BYTES];
    char disk[FIXTURE_PATH];
    const char *images[] = {disk};
    struct engine_backup_options options = {.images = images, .image_count = 1, .name = "disk"};
    struct engine_backup_result result;
    struct error why = {0};
    path_in(disk, "disk.raw");
    noise(data, sizeof data, seed);
    FILE *f = fopen(disk, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, sizeof data, f), sizeof data);
    assert_int_equal(fclose(f), 0);
    struct cs_store *store = open_store(repo);
    if (engine_backup(store, &options, &result, &why) < 0)
        fail_msg("%s", why.message);
    cs_close(store);
}

/* Somebody else forgets the first archive, and frees what it had. */
static void forget_first(void)
{
    struct cs_store *store = open_store(repo);
    const struct cs_archive *archives[] = {cs_archive_at(store, 0)};
    struct engine_forget_options options = {.archives = archives, .archive_count = 1};
    struct engine_forget_result result;
    struct engine_prune_options prune = {.no_grace = true};
    struct cs_prune_result pruned;
    struct error why = {0};
    if (engine_forget(store, &options, &result, &why) < 0 ||
        engine_prune(store, &prune, &pruned, &why) < 0)
        fail_msg("%s", why.message);
    assert_true(pruned.packs_deleted > 0);
    engine_forget_result_clear(&result);
    cs_close(store);
}

static int restore(struct cs_store *store, const struct cs_archive *archive, struct error *why)
{
    char to[FIXTURE_PATH];
    struct engine_restore_options options = {.to = to};
    struct engine_restore_result result;
    path_in(to, "back");
    int rc = engine_restore(store, archive, &options, &result, why);
    engine_restore_result_clear(&result);
    return rc;
}

static void no_damage(void *arg, const char *message)
{
    (void)arg;
    fail_msg("told as damage: %s", message);
}

static int copy(struct cs_store *store, const struct cs_archive *archive, struct error *why)
{
    char path[FIXTURE_PATH], code[CS_RECOVERY_CODE_SIZE];
    struct cs_init_options init = {.secret = key_file(0)};
    struct cs_open_options open = {.secret = key_file(0), .threads = 1};
    struct engine_copy_options options = {
        .archives = &archive, .archive_count = 1, .report = no_damage};
    struct engine_copy_result result;
    struct cs_store *target = NULL;
    struct cs_id id;
    path_in(path, "target");
    assert_ok(cs_init(path, &init, code, &id, err));
    assert_ok(cs_open(&target, path, &open, err));
    int rc = engine_copy(store, target, &options, &result, why);
    engine_copy_result_clear(&result);
    cs_close(target);
    return rc;
}

static int compare(struct cs_store *store, const struct cs_archive *archive, struct error *why)
{
    struct engine_diff_options options = {0};
    struct engine_diff_result result;
    return engine_diff(store, cs_archive_at(store, 1), archive, &options, &result, why);
}

static void assert_forgotten(int (*read)(struct cs_store *store, const struct cs_archive *archive,
                                         struct error *why))
{
    struct error why = {0};
    back_up(1);
    back_up(2);
    struct cs_store *store = open_store(repo); /* knows the log as it is now */
    forget_first();
    assert_int_equal(read(store, cs_archive_at(store, 0), &why), ERROR_NOT_FOUND);
    assert_int_equal(why.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(why.message, "forgotten"));
    cs_close(store);
}

static void test_restore_of_what_is_forgotten_meanwhile(void **state)
{
    (void)state;
    char back[FIXTURE_PATH];
    assert_forgotten(restore);
    path_in(back, "back/disk.raw");
    assert_int_not_equal(access(back, F_OK), 0);
}

static void test_copy_of_what_is_forgotten_meanwhile(void **state)
{
    (void)state;
    assert_forgotten(copy);
}

static void test_diff_of_what_is_forgotten_meanwhile(void **state)
{
    (void)state;
    assert_forgotten(compare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restore_of_what_is_forgotten_meanwhile, setup,
                                        repo_teardown),
        cmocka_unit_test_setup_teardown(test_copy_of_what_is_forgotten_meanwhile, setup,
                                        repo_teardown),
        cmocka_unit_test_setup_teardown(test_diff_of_what_is_forgotten_meanwhile, setup,
                                        repo_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
