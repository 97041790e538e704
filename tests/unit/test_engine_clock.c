/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clocks that are years ahead or behind, at whoever writes or whoever frees: safety does not rest
 * on them. The program puts its own clock between byre and the C library; files are dated by the
 * kernel, as on a server.
 */
#include "cs_prune_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "engine/upkeep.h"

enum { YEAR = 366 * 86400, DISK = 1 << 20 };

static const int64_t shifts[] = {0, 10LL * YEAR, -10LL * YEAR, -100LL * YEAR};
enum { SHIFTS = sizeof shifts / sizeof *shifts };

static int64_t shift; /* seconds */

time_t __real_time(time_t *out);
time_t __wrap_time(time_t *out);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

time_t __wrap_time(time_t *out)
{
    time_t now = __real_time(NULL) + shift;
    if (out != NULL)
        *out = now;
    return now;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int rc = __real_clock_gettime(clock, ts);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        ts->tv_sec += shift;
    return rc;
}

/* ---- a run that goes on, and a prune by another host ---- */

/* ${published}: the run has told the log what it stored so far. */
static void race(const struct repo *repo, int64_t writer, int64_t pruner, bool published)
{
    struct cs_prune_result result;
    struct cs_error why = {0};
    shift = writer;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct made *made = store_some(w, made_count + 1, 100 * made_count, CHUNKS, 1);
    if (published)
        assert_ok(cs_writer_publish(w, err));
    size_t unfinished = files_in(repo, "tmp", NULL);
    assert_true(published || unfinished > 0);

    shift = pruner;
    struct cs_store *other = open_store(repo);
    assert_ok(try_prune(other, (struct cs_prune_options){.max_unused = 0}, &result, err));
    cs_close(other);
    assert_int_equal(files_in(repo, "tmp", NULL), unfinished);

    shift = writer;
    int rc = try_commit(w, &made->record, "raced", NULL, &why);
    cs_writer_end(w);
    cs_close(store);
    if (rc == CS_CONFLICT) { /* what was published was taken for left behind: once more, then */
        assert_true(published && writer != pruner);
        made_count--;
        store = open_store(repo);
        commit_some(store, made_count + 1, 100 * made_count, CHUNKS, 1);
        cs_close(store);
    } else if (rc < 0) {
        fail_msg("commit: %s", why.message);
    }
    shift = 0;
    assert_whole(repo);
}

static void test_prune_beside_a_run(void **state)
{
    for (unsigned i = 0; i < 2 * SHIFTS; i++)
        race(*state, 0, shifts[i / 2], i % 2);
    shift = 0;
}

static void test_a_run_beside_a_prune(void **state)
{
    for (unsigned i = 2; i < 2 * SHIFTS; i++)
        race(*state, shifts[i / 2], 0, i % 2);
    shift = 0;
}

/* ---- backups, one after the other ---- */

static void write_disk(uint64_t seed)
{
    static uint8_t data[DISK];
    noise(data, sizeof data, seed);
    int fd = open("disk.raw", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, sizeof data, 0), sizeof data);
    close(fd);
}

static void back_up(struct cs_store *store)
{
    static const char *const images[] = {"disk.raw"};
    struct engine_backup_options options = {.images = images, .image_count = 1, .name = "disk"};
    struct engine_backup_result result;
    struct error err = {0};
    if (engine_backup(store, &options, &result, &err) < 0)
        fail_msg("%s", err.message);
}

static void expect_disk(struct cs_store *store, size_t archive, uint64_t seed)
{
    static uint8_t data[DISK], found[DISK];
    struct engine_restore_options options = {.to = "back"};
    struct engine_restore_result result;
    struct error err = {0};
    if (engine_restore(store, cs_archive_at(store, archive), &options, &result, &err) < 0)
        fail_msg("%s", err.message);
    engine_restore_result_clear(&result);
    int fd = open("back/disk.raw", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, sizeof found), sizeof found);
    close(fd);
    assert_int_equal(remove("back/disk.raw"), 0);
    assert_int_equal(remove("back"), 0);
    noise(data, sizeof data, seed);
    assert_memory_equal(found, data, sizeof data);
}

static void expect_sound(struct cs_store *store)
{
    struct engine_check_options options = {.read_data = 1};
    struct engine_check_result result;
    struct error err = {0};
    if (engine_check(store, &options, &result, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(result.errors, 0);
    engine_check_result_clear(&result);
}

static size_t forget_by_rules(struct cs_store *store, struct engine_keep keep)
{
    struct engine_forget_options options = {.keep = keep, .group_by_name = true};
    struct engine_forget_result result;
    struct engine_prune_options prune_options = {.max_unused = 0};
    struct cs_prune_result pruned;
    struct error err = {0};
    if (engine_forget(store, &options, &result, &err) < 0 ||
        engine_prune(store, &prune_options, &pruned, &err) < 0)
        fail_msg("%s", err.message);
    size_t n = result.forgotten_count;
    engine_forget_result_clear(&result);
    return n;
}

/* A disk that changes while the clock jumps: no change is missed, and rules lose nothing. */
static void test_backups_while_the_clock_jumps(void **state)
{
    const struct repo *repo = *state;
    assert_int_equal(chdir(repo->dir), 0);
    struct cs_store *store = open_store(repo);
    for (unsigned i = 0; i < 2 * SHIFTS; i++) {
        write_disk(i);
        shift = shifts[i % SHIFTS];
        back_up(store);
    }
    for (unsigned i = 0; i < 2 * SHIFTS; i++)
        expect_disk(store, i, i);
    /* by a clock that is behind, all are of the future, but those of one that was more so */
    shift = -10LL * YEAR;
    assert_int_equal(forget_by_rules(store, (struct engine_keep){.within.days = 7}), 2);
    /* by a good one, the two of today are the newest; those of the future stay too */
    shift = 0;
    assert_int_equal(forget_by_rules(store, (struct engine_keep){.within.days = 7}), 2);
    assert_int_equal(cs_archive_count(store), 4);
    expect_disk(store, 0, 0);
    expect_disk(store, 3, SHIFTS + 1);
    expect_sound(store);
    cs_close(store);
    assert_int_equal(chdir("/"), 0);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, table_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_prune_beside_a_run),
        with_repo(test_a_run_beside_a_prune),
        with_repo(test_backups_while_the_clock_jumps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
