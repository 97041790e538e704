/* SPDX-License-Identifier: BSD-2-Clause */
#include "cs_prune_fixture.h"

struct made table[MADE];
size_t made_count;

int table_setup(void **state)
{
    made_count = 0;
    return repo_setup(state);
}

struct made *store_some(struct cs_writer *w, uint64_t seed, uint64_t first, size_t n, uint64_t step)
{
    struct made *m = &table[made_count++];
    assert_true(made_count <= MADE && n <= CHUNKS);
    *m = (struct made){.seed = seed, .count = n};
    for (size_t i = 0; i < n; i++) {
        m->seeds[i] = first + i * step;
        m->chunks[i] = put_chunk(w, m->seeds[i], CHUNK);
    }
    m->record = put_object(w, seed, 300000); /* a large object, of pieces */
    return m;
}

struct made *commit_some(struct cs_store *store, uint64_t seed, uint64_t first, size_t n,
                         uint64_t step)
{
    struct cs_writer *w = begin(store);
    struct made *m = store_some(w, seed, first, n, step);
    assert_ok(try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    return m;
}

static int mark_made(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                     struct cs_error *err)
{
    (void)arg;
    for (size_t i = 0; i < made_count; i++) {
        bool fresh;
        if (memcmp(&table[i].record, &archive->id, sizeof archive->id) != 0)
            continue;
        int rc = cs_mark(marker, &table[i].record, &fresh, err);
        for (size_t k = 0; rc == 0 && k < table[i].count; k++)
            rc = cs_mark(marker, &table[i].chunks[k], &fresh, err);
        return rc;
    }
    return 0; /* not one of ours: needs nothing */
}

int try_prune(struct cs_store *store, struct cs_prune_options options,
              struct cs_prune_result *result, struct cs_error *err)
{
    struct cs_prune_result ignored;
    options.mark = mark_made;
    return cs_prune(store, &options, result != NULL ? result : &ignored, err);
}

struct cs_prune_result prune(struct cs_store *store, struct cs_prune_options options)
{
    struct cs_prune_result result;
    assert_ok(try_prune(store, options, &result, err));
    return result;
}

void forget(struct cs_store *store, const struct made *m)
{
    assert_ok(cs_forget(store, &m->record, 1, err));
}

void expect_made(struct cs_store *store, const struct made *m)
{
    expect_object(store, &m->record, m->seed, 300000);
    for (size_t i = 0; i < m->count; i++)
        expect_chunk(store, &m->chunks[i], m->seeds[i], CHUNK);
}

void assert_whole(const struct repo *repo)
{
    char message[CHECK_MESSAGE];
    struct cs_store *store = open_store(repo);
    if (check_errors(store, message) != 0)
        fail_msg("check: %s", message);
    for (size_t i = 0; i < cs_archive_count(store); i++)
        for (size_t k = 0; k < made_count; k++)
            if (memcmp(&table[k].record, &cs_archive_at(store, i)->id, CS_ID_SIZE) == 0)
                expect_made(store, &table[k]);
    cs_close(store);
}

uint64_t stored_bytes(const struct repo *repo)
{
    return bytes_in(repo, "packs") + bytes_in(repo, "segments");
}
