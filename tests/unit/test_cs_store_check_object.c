/* SPDX-License-Identifier: BSD-2-Clause */
/* Which objects are to be had after a check: by what is missing, damaged, or cannot be read. */
#include "cs_fixture.h"

#include <stdio.h>

#include "backend.h"
#include "pack.h"
#include "store.h"

enum { CHUNK = 200000, CHUNKS = 12 }; /* more than two frames */

static void ignore(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static void check(struct cs_store *store, struct cs_damage *damage)
{
    struct cs_check_options options = {.read_data = 1, .report = ignore, .damage = damage};
    struct cs_check_result result;
    assert_ok(cs_check(store, &options, &result, err));
}

/* Commits an archive of the same chunks as ever, with a record of its own. */
static void store_chunks(struct cs_writer *w, struct cs_id ids[CHUNKS], uint64_t seed)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        ids[i] = put_chunk(w, i, CHUNK);
    struct cs_id record = put_object(w, seed, 700);
    assert_ok(try_commit(w, &record, "x", NULL, err));
    cs_writer_end(w);
}

/* The first data pack of the repository, as a file. */
static void data_pack(const struct cs_store *store, char name[64])
{
    for (size_t i = 0; i < store->state.pack_count; i++)
        if (store->state.packs[i].class == CS_DATA) {
            cs_pack_file(name, &store->state.packs[i].id);
            return;
        }
    fail_msg("no data pack");
}

/* Of ${ids}, those that are to be had, one bit each; what is wrong with the others has to be
 * ${why}. */
static unsigned sound(struct cs_store *store, const struct cs_damage *damage,
                      const struct cs_id ids[CHUNKS], const char *why)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cs_error err = {0};
        int rc = cs_check_object(store, damage, &ids[i], &err);
        if (rc == 0) {
            bits |= 1U << i;
            continue;
        }
        assert_int_equal(rc, CS_CORRUPT);
        if (strstr(err.message, why) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    }
    return bits;
}

/* Those that can be read, one bit each. */
static unsigned read_back(struct cs_store *store, const struct cs_id ids[CHUNKS])
{
    uint8_t *buf = malloc(CHUNK);
    unsigned bits = 0;
    assert_non_null(buf);
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cs_error err;
        bits |= (cs_read_chunk(store, &ids[i], buf, CHUNK, &err) == 0 ? 1U : 0) << i;
    }
    free(buf);
    return bits;
}

enum { ALL = (1 << CHUNKS) - 1 };

static void test_what_is_whole_is_there(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_damage damage = {0};
    struct cs_id ids[CHUNKS], absent;
    store_chunks(begin(store), ids, 0);
    check(store, &damage);
    assert_int_equal(sound(store, &damage, ids, ""), ALL);
    noise(&absent, sizeof absent, 99);
    assert_fails(CS_CORRUPT, cs_check_object(store, &damage, &absent, err));
    cs_damage_clear(&damage);
    cs_close(store);
}

/* Exactly what cannot be read any more is what a check calls damaged. */
static void test_frames_packs_and_trailers(void **state)
{
    struct repo *repo = *state;
    struct cs_damage damage = {0};
    struct cs_id ids[CHUNKS];
    char name[64];
    size_t len;
    struct cs_store *store = open_store(repo);
    store_chunks(begin(store), ids, 0);
    data_pack(store, name);
    cs_close(store);
    uint8_t *data = file_read(repo, name, &len);
    for (size_t at = 100; at < CHUNKS * CHUNK; at += 500000) {
        file_flip(repo, name, at);
        store = open_store(repo);
        check(store, &damage);
        unsigned bits = sound(store, &damage, ids, "has it damaged");
        assert_true(bits != 0 && bits != ALL);
        assert_int_equal(bits, read_back(store, ids));
        cs_damage_clear(&damage);
        cs_close(store);
        file_write(repo, name, data, len);
    }
    file_flip(repo, name, len - 100);
    store = open_store(repo);
    check(store, &damage);
    assert_int_equal(sound(store, &damage, ids, "is damaged"), 0);
    cs_damage_clear(&damage);
    file_remove(repo, name);
    check(store, &damage);
    assert_int_equal(sound(store, &damage, ids, "is missing"), 0);
    cs_damage_clear(&damage);
    cs_close(store);
    free(data);
}

/* Two runs beside each other have stored the same. */
static void test_a_copy_elsewhere(void **state)
{
    struct repo *repo = *state;
    struct cs_store *one = open_store(repo), *two = open_store(repo);
    struct cs_writer *first = begin(one), *second = begin(two);
    struct cs_damage damage = {0};
    struct cs_id ids[CHUNKS], same[CHUNKS];
    char name[64];
    store_chunks(first, ids, 0);
    store_chunks(second, same, 1);
    assert_memory_equal(ids, same, sizeof ids);
    cs_close(one);
    cs_close(two);
    one = open_store(repo);
    data_pack(one, name);
    file_flip(repo, name, 1000);
    check(one, &damage);
    assert_true(damage.object_count > 0 && cs_damage_has(&damage, &damage.objects[0].id));
    assert_int_equal(sound(one, &damage, ids, ""), ALL);
    assert_int_equal(read_back(one, ids), ALL);
    cs_damage_clear(&damage);
    file_remove(repo, name);
    check(one, &damage);
    assert_int_equal(damage.gone_count, 1);
    assert_int_equal(sound(one, &damage, ids, ""), ALL);
    cs_damage_clear(&damage);
    cs_close(one);
}

/* ---- a disk that does not read everything ---- */

static const struct cs_backend_ops *real;
static const char *bad_file;
static uint64_t bad_begin, bad_end;

static int bad_read(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                    size_t len, size_t *got, struct cs_error *err)
{
    if (strcmp(name, bad_file) == 0 && offset < bad_end && offset + len > bad_begin)
        return cs_fail(err, CS_IO, "%s: input/output error at %llu", name,
                       (unsigned long long)offset);
    return real->read(backend, name, offset, buf, len, got, err);
}

static void test_what_the_disk_does_not_give(void **state)
{
    struct repo *repo = *state;
    struct cs_damage damage = {0};
    struct cs_id ids[CHUNKS];
    char name[64];
    struct cs_backend_ops ops;
    struct cs_store *store = open_store(repo);
    store_chunks(begin(store), ids, 0);
    data_pack(store, name);
    cs_close(store);
    store = open_store(repo);
    real = store->backend->ops;
    ops = *real;
    ops.read = bad_read;
    store->backend->ops = &ops;

    /* a sector of a frame: what is in other frames is there */
    bad_file = name;
    bad_begin = 1500000;
    bad_end = bad_begin + 512;
    check(store, &damage);
    unsigned bits = sound(store, &damage, ids, "cannot be read");
    assert_true(bits != 0 && bits != ALL);
    assert_int_equal(bits, read_back(store, ids));
    assert_int_equal(damage.unread_count, 1);
    assert_int_equal(damage.unopened_count, 0);
    assert_int_equal(damage.object_count, 0); /* nothing was proven */
    cs_damage_clear(&damage);
    store->backend->ops = real;
    cs_close(store);

    /* a sector of the header: nothing is */
    store = open_store(repo);
    store->backend->ops = &ops;
    bad_begin = 0;
    bad_end = 64;
    check(store, &damage);
    assert_int_equal(sound(store, &damage, ids, "cannot be read"), 0);
    assert_int_equal(read_back(store, ids), 0);
    assert_int_equal(damage.unread_count, 1);
    assert_int_equal(damage.unopened_count, 1);
    cs_damage_clear(&damage);
    store->backend->ops = real;
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_what_is_whole_is_there),
        with_repo(test_frames_packs_and_trailers),
        with_repo(test_a_copy_elsewhere),
        with_repo(test_what_the_disk_does_not_give),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
