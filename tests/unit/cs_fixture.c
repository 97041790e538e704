/* SPDX-License-Identifier: BSD-2-Clause */
#include "cs_fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYS = 8, KEY_BYTES = 64 };

int folder_setup(void **state)
{
    struct repo *repo = calloc(1, sizeof *repo);
    const char *tmp = getenv("TMPDIR");
    if (repo == NULL)
        return -1;
    snprintf(repo->dir, sizeof repo->dir, "%s/byre-cs-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(repo->dir) == NULL)
        return -1;
    snprintf(repo->path, sizeof repo->path, "%.400s/repo", repo->dir);
    snprintf(repo->cache, sizeof repo->cache, "%.400s/cache", repo->dir);
    snprintf(repo->heads, sizeof repo->heads, "%.400s/heads", repo->dir);
    *state = repo;
    return 0;
}

int repo_setup(void **state)
{
    if (folder_setup(state) < 0)
        return -1;
    struct repo *repo = *state;
    struct cs_init_options options = {.secret = key_file(0), .reserve = 0};
    struct cs_error err = {0};
    if (cs_init(repo->path, &options, repo->code, &repo->id, &err) < 0) {
        print_error("init: %s\n", err.message);
        return -1;
    }
    return 0;
}

static int delete_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void delete_tree(const char *path)
{
    nftw(path, delete_one, 16, FTW_DEPTH | FTW_PHYS);
}

int repo_teardown(void **state)
{
    struct repo *repo = *state;
    delete_tree(repo->dir);
    free(repo);
    return 0;
}

struct cs_secret key_file(unsigned n)
{
    static uint8_t keys[KEYS][KEY_BYTES];
    assert_true(n < KEYS);
    noise(keys[n], KEY_BYTES, 1000 + n);
    return (struct cs_secret){.kind = CS_SLOT_KEY_FILE, .data = keys[n], .len = KEY_BYTES};
}

struct cs_store *open_with(const struct repo *repo, const struct cs_open_options *options)
{
    struct cs_store *store = NULL;
    assert_ok(cs_open(&store, repo->path, options, err));
    return store;
}

int try_open(struct cs_store **store, const struct repo *repo, unsigned key, struct cs_error *err)
{
    struct cs_open_options options = {.secret = key_file(key), .threads = 1};
    *store = NULL;
    return cs_open(store, repo->path, &options, err);
}

struct cs_store *open_as(const struct repo *repo, unsigned key)
{
    struct cs_store *store = NULL;
    assert_ok(try_open(&store, repo, key, err));
    return store;
}

struct cs_store *open_store(const struct repo *repo)
{
    return open_as(repo, 0);
}

void add_key(struct cs_store *store, unsigned key, enum cs_role role, struct cs_name *slot)
{
    struct cs_secret secret = key_file(key);
    struct cs_name name;
    assert_ok(cs_key_add(store, &secret, role, "another key", &name, err));
    if (slot != NULL)
        *slot = name;
}

void noise(void *buf, size_t len, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15 + 0x123456789;
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) { /* xorshift64* */
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        p[i] = (uint8_t)((x * 0x2545f4914f6cdd1d) >> 56);
    }
}

static uint8_t *new_noise(uint64_t seed, size_t len)
{
    uint8_t *data = malloc(len > 0 ? len : 1);
    assert_non_null(data);
    noise(data, len, seed);
    return data;
}

struct cs_writer *begin(struct cs_store *store)
{
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {0};
    assert_ok(cs_writer_begin(&writer, store, &options, err));
    return writer;
}

struct cs_id put_chunk(struct cs_writer *writer, uint64_t seed, size_t len)
{
    struct cs_id id;
    uint8_t *data = new_noise(seed, len);
    assert_ok(cs_write_chunk(writer, data, len, &id, err));
    free(data);
    return id;
}

struct cs_id put_object(struct cs_writer *writer, uint64_t seed, size_t len)
{
    struct cs_id id;
    uint8_t *data = new_noise(seed, len);
    assert_ok(cs_write_object(writer, CS_LAYER_RECORD, data, len, &id, err));
    free(data);
    return id;
}

void expect_chunk(struct cs_store *store, const struct cs_id *id, uint64_t seed, size_t len)
{
    uint8_t *expected = new_noise(seed, len), *found = malloc(len);
    assert_non_null(found);
    assert_ok(cs_read_chunk(store, id, found, len, err));
    assert_memory_equal(found, expected, len);
    free(expected);
    free(found);
}

void expect_object(struct cs_store *store, const struct cs_id *id, uint64_t seed, size_t len)
{
    uint8_t *expected = new_noise(seed, len);
    void *found = NULL;
    size_t n = 0;
    assert_ok(cs_read_object(store, CS_LAYER_RECORD, id, &found, &n, err));
    assert_int_equal(n, len);
    assert_memory_equal(found, expected, len);
    free(expected);
    free(found);
}

int try_commit(struct cs_writer *writer, const struct cs_id *record, const char *name,
               struct cs_counters *counters, struct cs_error *err)
{
    static const char *const tags[] = {"nightly", "test"};
    struct cs_commit commit = {
        .archive = *record,
        .time = 1700000000,
        .name = name,
        .host = "host.example",
        .tags = tags,
        .tag_count = 2,
        .summary = "{}",
        .summary_len = 2,
    };
    return cs_writer_commit(writer, &commit, counters, err);
}

struct cs_id commit_one(struct cs_store *store, const char *name, uint64_t seed)
{
    struct cs_writer *writer = begin(store);
    struct cs_id chunk = put_chunk(writer, seed, 5000);
    struct cs_id record = put_object(writer, seed, 700);
    (void)chunk;
    assert_ok(try_commit(writer, &record, name, NULL, err));
    cs_writer_end(writer);
    return record;
}

bool has_object(struct cs_store *store, const struct cs_id *id)
{
    bool found = false;
    assert_ok(cs_has_object(store, id, &found, err));
    return found;
}

static void keep_message(void *arg, const char *message)
{
    snprintf(arg, CHECK_MESSAGE, "%s", message);
}

uint64_t check_errors(struct cs_store *store, char message[CHECK_MESSAGE])
{
    char ignored[CHECK_MESSAGE];
    char *last = message != NULL ? message : ignored;
    struct cs_check_options options = {.read_data = 1, .report = keep_message, .arg = last};
    struct cs_check_result result;
    last[0] = 0;
    assert_ok(cs_check(store, &options, &result, err));
    return result.errors;
}

/* ---- files ---- */

static void full_name(char out[2 * FIXTURE_PATH], const struct repo *repo, const char *name)
{
    snprintf(out, 2 * FIXTURE_PATH, "%s/%s", repo->path, name);
}

uint8_t *file_read(const struct repo *repo, const char *name, size_t *len)
{
    char path[2 * FIXTURE_PATH];
    struct stat st;
    full_name(path, repo, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *len = (size_t)st.st_size;
    uint8_t *data = malloc(*len + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *len, f), *len);
    fclose(f);
    return data;
}

void file_write(const struct repo *repo, const char *name, const void *data, size_t len)
{
    char path[2 * FIXTURE_PATH];
    full_name(path, repo, name);
    unlink(path); /* open descriptors keep the old bytes, as they would after a restore */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

void file_flip(const struct repo *repo, const char *name, size_t at)
{
    size_t len;
    uint8_t *data = file_read(repo, name, &len);
    assert_true(at < len);
    data[at] ^= 0x20;
    file_write(repo, name, data, len);
    free(data);
}

void file_remove(const struct repo *repo, const char *name)
{
    char path[2 * FIXTURE_PATH];
    full_name(path, repo, name);
    assert_int_equal(unlink(path), 0);
}

bool file_exists(const struct repo *repo, const char *name)
{
    char path[2 * FIXTURE_PATH];
    full_name(path, repo, name);
    return access(path, F_OK) == 0;
}

void file_copy(const struct repo *repo, const char *from, const char *to)
{
    size_t len;
    uint8_t *data = file_read(repo, from, &len);
    file_write(repo, to, data, len);
    free(data);
}

size_t files_in(const struct repo *repo, const char *folder, char first[FIXTURE_PATH])
{
    char path[2 * FIXTURE_PATH], lowest[256] = "";
    size_t n = 0;
    full_name(path, repo, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.')
            continue;
        if (n++ == 0 || strcmp(e->d_name, lowest) < 0)
            snprintf(lowest, sizeof lowest, "%s", e->d_name);
    }
    closedir(dir);
    if (first != NULL)
        snprintf(first, FIXTURE_PATH, "%.100s/%s", folder, lowest);
    return n;
}

uint64_t bytes_in(const struct repo *repo, const char *folder)
{
    char path[2 * FIXTURE_PATH], name[4 * FIXTURE_PATH];
    uint64_t sum = 0;
    struct stat st;
    full_name(path, repo, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && stat(name, &st) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    }
    closedir(dir);
    return sum;
}

static void copy_tree(const char *from, const char *to)
{
    char command[3 * FIXTURE_PATH];
    delete_tree(to);
    snprintf(command, sizeof command, "cp -a '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

void repo_save(const struct repo *repo)
{
    char saved[FIXTURE_PATH];
    snprintf(saved, sizeof saved, "%.400s/saved", repo->dir);
    copy_tree(repo->path, saved);
}

void repo_restore(const struct repo *repo)
{
    char saved[FIXTURE_PATH];
    snprintf(saved, sizeof saved, "%.400s/saved", repo->dir);
    copy_tree(saved, repo->path);
}

unsigned log_length(const struct repo *repo)
{
    return (unsigned)files_in(repo, "log/0000000000000", NULL);
}

void entry_name(char out[FIXTURE_PATH], unsigned number)
{
    snprintf(out, FIXTURE_PATH, "log/0000000000000/%03x", number);
}
