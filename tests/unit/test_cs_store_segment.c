/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments: hits, misses, crowded prefixes; and a cache that is missing, damaged, foreign or not
 * there at all. */
#include "cs_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segment.h"
#include "store.h"

enum { ENTRIES = 100000, PACKS = 5 };

static struct cs_entry *entries_of(uint64_t seed, size_t n)
{
    struct cs_entry *e = calloc(n, sizeof *e);
    assert_non_null(e);
    for (size_t i = 0; i < n; i++) {
        noise(e[i].prefix, 16, seed + i);
        e[i].pack = (uint32_t)(i % PACKS);
        e[i].frame = (uint16_t)(i % 999);
        e[i].slot = (uint16_t)i;
    }
    qsort(e, n, sizeof *e, cs_entry_compare);
    return e;
}

static struct cs_state_segment write_segment(struct cs_store *store, const struct cs_entry *e,
                                             size_t n)
{
    struct cs_name packs[PACKS];
    struct cs_state_segment which;
    noise(packs, sizeof packs, 5);
    assert_ok(cs_segment_write(store, e, n, packs, PACKS, &which, err));
    return which;
}

/* Position of the first entry with ${prefix}; entry_count: none. */
static uint64_t find(const struct cs_segment *s, const uint8_t prefix[16])
{
    struct cs_entry e;
    uint64_t at = 0;
    int rc = cs_segment_next(s, prefix, &at, &e, NULL);
    assert_true(rc == 0 || rc == 1);
    if (rc == 1)
        assert_memory_equal(e.prefix, prefix, 16);
    return rc == 1 ? at : s->entry_count;
}

static void assert_segment(const struct cs_segment *s, const struct cs_entry *e, size_t n)
{
    assert_int_equal(s->entry_count, n);
    for (size_t i = 0; i < n; i++) {
        struct cs_entry found;
        assert_true(find(s, e[i].prefix) < n);
        assert_ok(cs_segment_entry(s, i, &found, err));
        assert_int_equal(cs_entry_compare(&found, &e[i]), 0);
    }
    for (uint64_t i = 0; i < 20000; i++) {
        uint8_t prefix[16];
        noise(prefix, 16, 77000000 + i);
        assert_int_equal(find(s, prefix), n);
    }
}

static struct cs_store *open_cached(const struct repo *repo)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    return open_with(repo, &options);
}

static void round_trip(const struct repo *repo, size_t n)
{
    struct cs_store *store = open_store(repo);
    struct cs_entry *e = entries_of(1000, n);
    struct cs_state_segment which = write_segment(store, e, n);
    struct cs_segment s;
    assert_int_equal(which.entries, n);
    assert_ok(cs_segment_load(&s, store, &which, err));
    assert_segment(&s, e, n);
    cs_segment_clear(&s);
    free(e);
    cs_close(store);
}

static void test_sizes(void **state)
{
    round_trip(*state, 1);
    round_trip(*state, 2);
    round_trip(*state, 64);
    round_trip(*state, 65);
    round_trip(*state, ENTRIES); /* of three blocks */
}

/* The same from the cache: when it is made, and when it is there. */
static void test_sizes_in_the_cache(void **state)
{
    static const size_t sizes[] = {1, 2, 64, 65, 1023, 1024, 1025, ENTRIES};
    struct repo *repo = *state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct cs_store *store = open_cached(repo);
        struct cs_entry *e = entries_of(1000, sizes[i]);
        struct cs_state_segment which = write_segment(store, e, sizes[i]);
        for (unsigned round = 0; round < 2; round++) {
            struct cs_segment s;
            assert_ok(cs_segment_load(&s, store, &which, err));
            assert_null(s.entries); /* which are in the file */
            assert_segment(&s, e, sizes[i]);
            cs_segment_clear(&s);
        }
        free(e);
        cs_close(store);
    }
}

static void test_equal_prefixes_are_found_from_the_first(void **state)
{
    struct cs_store *store = open_store(*state);
    enum { N = 300 };
    struct cs_entry e[N] = {0};
    struct cs_segment s;
    for (unsigned i = 0; i < N; i++) {
        memset(e[i].prefix, i < 100 ? 0 : i < 200 ? 0x7f : 0xff, 16);
        e[i].slot = (uint16_t)i;
    }
    struct cs_state_segment which = write_segment(store, e, N);
    assert_ok(cs_segment_load(&s, store, &which, err));
    assert_int_equal(find(&s, e[0].prefix), 0);
    assert_int_equal(find(&s, e[150].prefix), 100);
    assert_int_equal(find(&s, e[299].prefix), 200);
    cs_segment_clear(&s);
    cs_close(store);
}

static void test_entries_out_of_order_are_refused(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_entry *e = entries_of(1, 100);
    struct cs_segment s;
    struct cs_entry kept = e[50];
    e[50] = e[51];
    struct cs_state_segment which = write_segment(store, e, 100); /* one of them twice */
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &which, err));
    e[50] = kept;
    e[99].pack = PACKS; /* names no pack */
    which = write_segment(store, e, 100);
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &which, err));
    free(e);
    cs_close(store);
}

static void test_damage_to_the_file(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_entry *e = entries_of(1, 100);
    struct cs_state_segment which = write_segment(store, e, 100), lie;
    struct cs_segment s;
    char name[FIXTURE_PATH];
    size_t len;
    files_in(repo, "segments", name);
    uint8_t *data = file_read(repo, name, &len);
    assert_int_equal(len, which.size);
    cs_close(store);
    for (size_t i = 0; i < len; i += i < 64 ? 1 : 13) {
        file_flip(repo, name, i);
        store = open_store(repo);
        assert_true(cs_segment_load(&s, store, &which, NULL) < 0);
        cs_close(store);
        file_write(repo, name, data, len);
    }
    store = open_store(repo);
    file_write(repo, name, data, len - 1);
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &which, err));
    file_write(repo, name, data, len);
    lie = which;
    lie.entries--;
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &lie, err));
    lie.entries = UINT64_MAX / 24;
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &lie, err));
    file_remove(repo, name);
    lie = which;
    cs_close(store);
    store = open_store(repo);
    assert_fails(CS_CORRUPT, cs_segment_load(&s, store, &lie, err));
    cs_close(store);
    free(data);
    free(e);
}

/* ---- the cache ---- */

static void cached_file(const struct repo *repo, char out[4 * FIXTURE_PATH], unsigned nth)
{
    char folder[2 * FIXTURE_PATH], hex[CS_ID_HEX], names[8][64];
    unsigned n = 0;
    snprintf(folder, sizeof folder, "%s/%s/segments", repo->cache, cs_id_hex(&repo->id, hex));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL && n < 8; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            snprintf(names[n++], sizeof names[0], "%.60s", entry->d_name);
    closedir(dir);
    assert_true(nth < n);
    snprintf(out, 4 * FIXTURE_PATH, "%s/%s", folder, names[nth]);
}

/* Prefixes that all begin alike, and such as are equal, more of them than are read at a time. */
static void test_crowds_are_found_in_the_cache(void **state)
{
    enum { ALIKE = 5000, EQUAL = 3000, N = ALIKE + EQUAL };
    struct cs_store *store = open_cached(*state);
    struct cs_entry *e = calloc(N, sizeof *e);
    struct cs_entry found;
    struct cs_segment s;
    uint8_t prefix[16];
    uint64_t at = 0, n = 0;
    assert_non_null(e);
    for (unsigned i = 0; i < N; i++) {
        memset(e[i].prefix, i < ALIKE ? 0x7f : 0xff, 16);
        if (i < ALIKE) {
            e[i].prefix[14] = (uint8_t)(i >> 7);
            e[i].prefix[15] = (uint8_t)(i << 1);
        }
        e[i].slot = (uint16_t)i;
    }
    struct cs_state_segment which = write_segment(store, e, N);
    assert_ok(cs_segment_load(&s, store, &which, err));
    for (unsigned i = 0; i < ALIKE; i += 7) {
        memcpy(prefix, e[i].prefix, 16);
        assert_int_equal(find(&s, prefix), i);
        prefix[15] |= 1; /* between this one and the next */
        assert_int_equal(find(&s, prefix), N);
    }
    for (; cs_segment_next(&s, e[ALIKE].prefix, &at, &found, NULL) > 0; at++)
        assert_int_equal(at, ALIKE + n++);
    assert_int_equal(n, EQUAL);
    cs_segment_clear(&s);
    free(e);
    cs_close(store);
}

/* Fails, and ends nobody. */
static void test_a_cache_that_cannot_be_read_any_more(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_cached(repo);
    struct cs_entry *e = entries_of(1, ENTRIES);
    struct cs_state_segment which = write_segment(store, e, ENTRIES);
    struct cs_segment s;
    struct cs_entry found;
    uint64_t at = 0;
    char path[4 * FIXTURE_PATH];
    assert_ok(cs_segment_load(&s, store, &which, err));
    cached_file(repo, path, 0);
    assert_int_equal(truncate(path, 5000), 0);
    assert_fails(CS_IO, cs_segment_next(&s, e[0].prefix, &at, &found, err));
    assert_fails(CS_IO, cs_segment_entry(&s, ENTRIES - 1, &found, err));
    cs_segment_clear(&s);
    assert_ok(cs_segment_load(&s, store, &which, err)); /* made again */
    assert_segment(&s, e, ENTRIES);
    cs_segment_clear(&s);
    free(e);
    cs_close(store);
}

static void test_the_cache_is_never_needed_and_never_believed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_cached(repo);
    struct cs_id one = commit_one(store, "x", 1), two = commit_one(store, "y", 2);
    char a[4 * FIXTURE_PATH], b[4 * FIXTURE_PATH];
    struct stat st;
    assert_true(has_object(store, &one) && has_object(store, &two));
    cs_close(store);
    cached_file(repo, a, 0);
    cached_file(repo, b, 1);
    assert_int_equal(stat(a, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (unsigned damage = 0; damage < 40; damage++) {
        if (damage == 0) {
            assert_int_equal(unlink(a), 0);
        } else if (damage == 1) { /* of another segment */
            char command[16 * FIXTURE_PATH];
            snprintf(command, sizeof command, "cp '%s' '%s'", b, a);
            assert_int_equal(system(command), 0);
        } else if (damage == 2) {
            assert_int_equal(truncate(a, 0), 0);
        } else if (damage == 3) {
            assert_int_equal(truncate(a, st.st_size - 1), 0);
        } else { /* a byte somewhere */
            FILE *f = fopen(a, "r+b");
            assert_non_null(f);
            long at = (long)(damage - 4) * (long)(st.st_size - 1) / 35;
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            int c = fgetc(f);
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            fputc(c ^ 0x11, f);
            fclose(f);
        }
        store = open_cached(repo);
        assert_true(has_object(store, &one) && has_object(store, &two));
        expect_object(store, &one, 1, 700);
        expect_object(store, &two, 2, 700);
        cs_close(store);
    }
}

static void test_no_cache_and_one_that_cannot_be_written(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_id one = commit_one(store, "x", 1);
    cs_close(store);
    store = open_store(repo);
    assert_true(has_object(store, &one));
    cs_close(store);
    FILE *f = fopen(repo->cache, "w"); /* a file where the folder should be */
    assert_non_null(f);
    fclose(f);
    store = open_cached(repo);
    assert_true(has_object(store, &one));
    cs_close(store);
}

static unsigned cached_files(const struct repo *repo)
{
    char folder[2 * FIXTURE_PATH], hex[CS_ID_HEX];
    unsigned n = 0;
    snprintf(folder, sizeof folder, "%s/%s/segments", repo->cache, cs_id_hex(&repo->id, hex));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Neither what this process has merged, nor what others have while it was away. */
static void test_the_cache_does_not_grow_for_ever(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_cached(repo);
    struct cs_id ids[18];
    char path[4 * FIXTURE_PATH];
    for (uint64_t i = 0; i < 12; i++) {
        ids[i] = commit_one(store, "x", i);
        assert_int_equal(cached_files(repo), store->state.segment_count);
    }
    assert_in_range(store->state.segment_count, 1, 6);
    cs_close(store);
    store = open_store(repo);
    for (uint64_t i = 12; i < 18; i++)
        ids[i] = commit_one(store, "x", i);
    cs_close(store);
    for (unsigned i = 0; i < cached_files(repo); i++) {
        cached_file(repo, path, i);
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[2]){{0}, {0}}, 0), 0);
    }
    store = open_cached(repo);
    for (uint64_t i = 0; i < 18; i++)
        expect_object(store, &ids[i], i, 700);
    assert_int_equal(cached_files(repo), store->state.segment_count);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_sizes),
        with_repo(test_sizes_in_the_cache),
        with_repo(test_crowds_are_found_in_the_cache),
        with_repo(test_a_cache_that_cannot_be_read_any_more),
        with_repo(test_equal_prefixes_are_found_from_the_first),
        with_repo(test_entries_out_of_order_are_refused),
        with_repo(test_damage_to_the_file),
        with_repo(test_the_cache_is_never_needed_and_never_believed),
        with_repo(test_the_cache_does_not_grow_for_ever),
        with_repo(test_no_cache_and_one_that_cannot_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
