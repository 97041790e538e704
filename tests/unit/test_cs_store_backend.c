/* SPDX-License-Identifier: BSD-2-Clause */
/* The local folder as a backend: names that are taken, files that are not whole, what a repository
 * may be made in. */
#include "cs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "crypt.h"
#include "flush.h"

static struct cs_backend *make(const struct repo *repo)
{
    struct cs_backend *backend = NULL;
    assert_ok(cs_backend_local(&backend, repo->path, true, err));
    return backend;
}

static void assert_content(struct cs_backend *backend, const char *name, const char *text)
{
    uint8_t *data = NULL;
    size_t len = 0;
    assert_ok(cs_backend_read_all(backend, name, 100, &data, &len, err));
    assert_int_equal(len, strlen(text));
    assert_memory_equal(data, text, len);
    free(data);
}

static void test_create_only_if_absent(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    assert_ok(cs_backend_put(b, "packs/a", "first", 5, false, err));
    assert_fails(CS_EXISTS, cs_backend_put(b, "packs/a", "second", 6, false, err));
    assert_content(b, "packs/a", "first");
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    assert_ok(b->ops->sync(b, "packs", err));
    b->ops->close(b);
}

static void test_replace(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    assert_ok(cs_backend_put(b, "keys/a", "first", 5, true, err));
    assert_content(b, "keys/a", "first");
    assert_ok(cs_backend_put(b, "keys/a", "second", 6, true, err));
    assert_content(b, "keys/a", "second"); /* not what an open descriptor still has */
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    b->ops->close(b);
}

static void test_a_file_appears_only_when_it_is_finished(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    struct cs_put *put = NULL;
    assert_ok(b->ops->create(b, "packs/a", &put, err));
    assert_ok(b->ops->write(put, "half", 4, err));
    assert_false(file_exists(repo, "packs/a"));
    b->ops->abandon(put);
    assert_int_equal(files_in(repo, "packs", NULL) + files_in(repo, "tmp", NULL), 0);
    assert_ok(b->ops->create(b, "packs/a", &put, err));
    assert_ok(b->ops->write(put, "who", 3, err));
    assert_ok(b->ops->write(put, "le", 2, err));
    assert_ok(b->ops->finish(put, false, err));
    assert_content(b, "packs/a", "whole");
    b->ops->close(b);
}

static void test_flushing_beside_the_caller(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    int ends[2];
    assert_int_equal(pipe(ends), 0); /* which cannot be flushed */
    for (int beside = 0; beside < 2; beside++) {
        const char *name = beside ? "packs/b" : "packs/a";
        struct cs_put *one = NULL, *two = NULL;
        struct cs_flush flush = {0};
        b->beside = beside;
        assert_ok(b->ops->create(b, name, &one, err));
        assert_ok(b->ops->create(b, "packs/c", &two, err));
        assert_ok(b->ops->write(one, "whole", 5, err));
        b->ops->flush(one);
        b->ops->flush(two);
        assert_false(file_exists(repo, name));
        b->ops->abandon(two);
        assert_ok(b->ops->finish(one, false, err));
        assert_content(b, name, "whole");
        assert_false(file_exists(repo, "packs/c"));
        cs_flush_begin(&flush, ends[0], beside);
        assert_int_equal(cs_flush_end(&flush), EINVAL);
    }
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    close(ends[0]);
    close(ends[1]);
    b->ops->close(b);
}

static void test_two_writers_of_one_name(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    struct cs_put *one = NULL, *two = NULL;
    assert_ok(b->ops->create(b, "log/0000000000000/000", &one, err));
    assert_ok(b->ops->create(b, "log/0000000000000/000", &two, err));
    assert_ok(b->ops->write(one, "one", 3, err));
    assert_ok(b->ops->write(two, "two", 3, err));
    assert_ok(b->ops->finish(two, false, err));
    assert_fails(CS_EXISTS, b->ops->finish(one, false, err));
    assert_content(b, "log/0000000000000/000", "two");
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
    b->ops->close(b);
}

static void test_reading(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    char buf[10];
    uint8_t *data = NULL;
    size_t got = 0, len = 0;
    uint64_t size = 0;
    assert_ok(cs_backend_put(b, "packs/a", "0123456789", 10, false, err));
    assert_ok(b->ops->size(b, "packs/a", &size, err));
    assert_int_equal(size, 10);
    assert_ok(b->ops->read(b, "packs/a", 8, buf, 10, &got, err));
    assert_int_equal(got, 2);
    assert_ok(b->ops->read(b, "packs/a", 100, buf, 10, &got, err));
    assert_int_equal(got, 0);
    assert_ok(cs_backend_read_exact(b, "packs/a", 5, buf, 5, err));
    assert_memory_equal(buf, "56789", 5);
    assert_fails(CS_CORRUPT, cs_backend_read_exact(b, "packs/a", 6, buf, 5, err));
    assert_fails(CS_CORRUPT, cs_backend_read_all(b, "packs/a", 9, &data, &len, err));
    assert_fails(CS_NOT_FOUND, cs_backend_read_all(b, "packs/b", 9, &data, &len, err));
    assert_fails(CS_NOT_FOUND, b->ops->read(b, "packs/b", 0, buf, 1, &got, err));
    assert_fails(CS_NOT_FOUND, b->ops->remove(b, "packs/b", err));
    assert_ok(b->ops->remove(b, "packs/a", err));
    assert_fails(CS_NOT_FOUND, b->ops->read(b, "packs/a", 0, buf, 1, &got, err));
    b->ops->close(b);
}

static void test_what_is_no_file_is_not_read(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    char path[2 * FIXTURE_PATH], buf[1];
    size_t got;
    uint64_t size;
    snprintf(path, sizeof path, "%s/packs/fifo", repo->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(CS_CORRUPT,
                 b->ops->read(b, "packs/fifo", 0, buf, 1, &got, err)); /* nor waited for */
    assert_fails(CS_CORRUPT, b->ops->size(b, "packs/fifo", &size, err));
    snprintf(path, sizeof path, "%s/packs/link", repo->path);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_true(b->ops->read(b, "packs/link", 0, buf, 1, &got, NULL) < 0);
    assert_fails(CS_CORRUPT, b->ops->size(b, "packs/link", &size, err));
    b->ops->close(b);
}

static void test_more_files_than_are_kept_open(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    char name[32];
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "packs/%u", i);
        assert_ok(cs_backend_put(b, name, name, strlen(name), false, err));
    }
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "packs/%u", i * 7 % 60);
        assert_content(b, name, name);
    }
    b->ops->close(b);
}

static int count_name(void *arg, const char *name, struct cs_error *err)
{
    unsigned *n = arg;
    if (strcmp(name, "stop") == 0)
        return cs_fail(err, CS_CANCELLED, "stopped");
    ++*n;
    return 0;
}

static void test_listing(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    unsigned n = 0;
    assert_ok(b->ops->list(b, "nowhere", count_name, &n, err));
    assert_ok(b->ops->list(b, "packs", count_name, &n, err));
    assert_int_equal(n, 0);
    assert_ok(cs_backend_put(b, "packs/a", "", 0, false, err));
    assert_ok(cs_backend_put(b, "packs/.hidden", "", 0, false, err));
    assert_ok(b->ops->list(b, "packs", count_name, &n, err));
    assert_int_equal(n, 1);
    assert_ok(cs_backend_put(b, "packs/stop", "", 0, false, err));
    assert_fails(CS_CANCELLED, b->ops->list(b, "packs", count_name, &n, err));
    b->ops->close(b);
}

/* ---- where a repository is made ---- */

static int init(const char *path, int64_t reserve, struct cs_error *err)
{
    char code[CS_RECOVERY_CODE_SIZE];
    struct cs_id id;
    struct cs_init_options options = {.secret = key_file(0), .reserve = reserve};
    return cs_init(path, &options, code, &id, err);
}

static void test_init_in_an_empty_folder_only(void **state)
{
    struct repo *repo = *state;
    assert_int_equal(mkdir(repo->path, 0755), 0);
    assert_ok(init(repo->path, 0, err));
    assert_fails(CS_EXISTS, init(repo->path, 0, err));
    assert_fails(CS_EXISTS, init(repo->dir, 0, err));
    assert_fails(CS_NOT_FOUND, init("/nowhere/at/all", 0, err));
    struct cs_store *store = open_store(repo); /* nothing of it was touched */
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
    assert_int_equal(files_in(repo, "tmp", NULL), 0);
}

static void test_the_reserve(void **state)
{
    struct repo *repo = *state;
    size_t len;
    assert_ok(init(repo->path, 3000000, err));
    free(file_read(repo, "reserve", &len));
    assert_int_equal(len, 3000000);
}

static void test_no_repository(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store;
    assert_fails(CS_NO_REPOSITORY, try_open(&store, repo, 0, err));
    assert_int_equal(mkdir(repo->path, 0700), 0);
    assert_fails(CS_NO_REPOSITORY, try_open(&store, repo, 0, err));
}

/* ${name} was last written to ${age} seconds ago. */
static void leave(const struct repo *repo, const char *name, time_t age)
{
    char path[2 * FIXTURE_PATH];
    struct timespec times[2];
    file_write(repo, name, "half", 4);
    snprintf(path, sizeof path, "%s/%s", repo->path, name);
    times[0].tv_sec = times[1].tv_sec = time(NULL) - age;
    times[0].tv_nsec = times[1].tv_nsec = 0;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_what_was_left_long_ago_is_swept_by_the_next_writer(void **state)
{
    static const char old[] = "tmp/00112233445566778899aabbccddeeff";
    static const char fresh[] = "tmp/10112233445566778899aabbccddeeff";
    static const char future[] = "tmp/20112233445566778899aabbccddeeff";
    static const char foreign[] = "tmp/something";
    enum { DAY = 24 * 3600 };
    struct repo *repo = *state;
    struct cs_backend *b = make(repo);
    leave(repo, old, DAY + 60);
    leave(repo, fresh, DAY - 60);
    leave(repo, future, -2 * DAY);
    leave(repo, foreign, 2 * DAY);
    leave(repo, "packs/00112233445566778899aabbccddeeff", 2 * DAY);
    uint8_t data[4];
    assert_ok(cs_backend_read_exact(b, old, 0, data, sizeof data, err));
    assert_true(file_exists(repo, old)); /* reading deletes nothing */
    assert_ok(cs_backend_put(b, "packs/a", "whole", 5, false, err));
    assert_false(file_exists(repo, old));
    assert_true(file_exists(repo, fresh));
    assert_true(file_exists(repo, future));
    assert_true(file_exists(repo, foreign));
    assert_true(file_exists(repo, "packs/00112233445566778899aabbccddeeff"));
    b->ops->close(b);
}

/* A machine that slept for two days goes on: its file is gone, and it says so. */
static void test_a_writer_whose_file_was_swept_fails(void **state)
{
    struct repo *repo = *state;
    struct cs_backend *sleeper = make(repo), *other = NULL;
    struct cs_put *put = NULL;
    char name[FIXTURE_PATH], path[2 * FIXTURE_PATH];
    struct timespec times[2] = {{.tv_sec = time(NULL) - 200000}, {.tv_sec = time(NULL) - 200000}};
    assert_ok(sleeper->ops->create(sleeper, "packs/a", &put, err));
    assert_ok(sleeper->ops->write(put, "half", 4, err));
    files_in(repo, "tmp", name);
    snprintf(path, sizeof path, "%s/%s", repo->path, name);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_ok(cs_backend_local(&other, repo->path, false, err));
    assert_ok(cs_backend_put(other, "packs/b", "whole", 5, false, err));
    assert_false(file_exists(repo, name));
    assert_fails(CS_NOT_FOUND, sleeper->ops->finish(put, false, err));
    assert_false(file_exists(repo, "packs/a"));
    other->ops->close(other);
    sleeper->ops->close(sleeper);
}

static int setup(void **state)
{
    (void)state;
    return cs_crypt_init(NULL);
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(test_create_only_if_absent),
        with_folder(test_replace),
        with_folder(test_a_file_appears_only_when_it_is_finished),
        with_folder(test_flushing_beside_the_caller),
        with_folder(test_two_writers_of_one_name),
        with_folder(test_reading),
        with_folder(test_what_is_no_file_is_not_read),
        with_folder(test_more_files_than_are_kept_open),
        with_folder(test_listing),
        with_folder(test_init_in_an_empty_folder_only),
        with_folder(test_the_reserve),
        with_folder(test_no_repository),
        with_folder(test_what_was_left_long_ago_is_swept_by_the_next_writer),
        with_folder(test_a_writer_whose_file_was_swept_fails),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
