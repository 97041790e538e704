/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many chunks at once: each frame once, each chunk as often as it is wanted, by one thread or
 * several; around what is damaged, and after what has moved.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "cs_prune_fixture.h"
#include "store.h"

enum { MANY = 1500, BY_FRAME = 5 /* chunks of a frame, of CHUNK bytes each */ };

static const unsigned thread_counts[] = {1, 2, 4, 7};

struct seen {
    atomic_uint times[MANY]; /* by tag */
    atomic_uint calls;
    const uint64_t *seeds; /* of what is wanted; by tag */
    unsigned used;
    unsigned stop_after; /* calls of used(); 0: none */
};

static int use(void *arg, const struct cs_fetched *chunks, size_t n, uint64_t done[2],
               struct cs_error *err)
{
    struct seen *seen = arg;
    uint8_t *want = malloc(CHUNK);
    int rc = want == NULL ? cs_fail_memory(err) : 0;
    atomic_fetch_add(&seen->calls, 1);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct cs_wanted *w = chunks[i].wanted;
        noise(want, CHUNK, seen->seeds[w->tag]);
        if (memcmp(want, chunks[i].data, w->length) != 0)
            rc = cs_fail(err, CS_USAGE, "other bytes");
        if (i > 0 && chunks[i].data != chunks[i - 1].data &&
            chunks[i].data < chunks[i - 1].data + CHUNK)
            rc = cs_fail(err, CS_USAGE, "not in the order of the frame");
        atomic_fetch_add(&seen->times[w->tag], 1);
        done[0] += w->length;
        done[1]++;
    }
    free(want);
    return rc;
}

static int used(void *arg, const uint64_t done[2], struct cs_error *err)
{
    struct seen *seen = arg;
    assert_true(done[0] == done[1] * CHUNK);
    if (++seen->used == seen->stop_after)
        return cs_fail(err, CS_CANCELLED, "stopped");
    return 0;
}

static int try_fetch(struct cs_fetch *fetch, struct seen *seen, const struct cs_wanted *wanted,
                     size_t n, bool wait, struct cs_error *err)
{
    struct cs_fetch_user user = {.use = use, .used = used, .arg = seen};
    bool more = true;
    int rc = cs_fetch_begin(fetch, &user, wanted, n, err);
    while (rc == 0 && more)
        rc = cs_fetch_step(fetch, wait, &more, err);
    return rc;
}

static struct cs_store *open_threads(const struct repo *repo, unsigned threads)
{
    struct cs_open_options options = {.secret = key_file(0), .threads = threads};
    return open_with(repo, &options);
}

/* ${n} times a chunk of ${made}, in an order of its own. */
static void want(const struct made *made, struct cs_wanted *wanted, uint64_t *seeds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i * 7 % made->count;
        wanted[i] = (struct cs_wanted){.id = made->chunks[k], .length = CHUNK, .tag = (uint32_t)i};
        seeds[i] = made->seeds[k];
    }
}

/* Everything in ${made}, ${n} times in all, each time once. */
static unsigned expect_fetch(struct cs_fetch *fetch, const struct made *made, size_t n, bool wait)
{
    struct cs_wanted wanted[MANY] = {0};
    uint64_t seeds[MANY];
    struct seen seen = {.seeds = seeds};
    want(made, wanted, seeds, n);
    assert_ok(try_fetch(fetch, &seen, wanted, n, wait, err));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(seen.times[i], 1);
    return seen.calls;
}

static void test_each_frame_once(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 20, 1);
    cs_close(a);
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        struct cs_store *store = open_threads(repo, thread_counts[i]);
        struct cs_fetch *fetch = NULL;
        assert_ok(cs_fetch_new(&fetch, store, err));
        assert_true(cs_fetch_threads(fetch) >= thread_counts[i]);
        assert_true(cs_fetch_threads(fetch) == 1 || thread_counts[i] > 1);
        assert_int_equal(expect_fetch(fetch, &table[0], 20, true), 20 / BY_FRAME);
        assert_int_equal(expect_fetch(fetch, &table[0], MANY, true), 20 / BY_FRAME);
        assert_int_equal(expect_fetch(fetch, &table[0], 20, false), 20 / BY_FRAME);
        assert_int_equal(expect_fetch(fetch, &table[0], 0, true), 0);
        cs_fetch_free(fetch);
        cs_close(store);
    }
}

static void test_damage_in_the_middle(void **state)
{
    struct repo *repo = *state;
    char pack[FIXTURE_PATH];
    struct cs_store *a = open_store(repo);
    struct cs_writer *w = begin(a);
    struct made *m = &table[made_count++];
    m->count = 20;
    for (size_t i = 0; i < m->count; i++)
        m->chunks[i] = put_chunk(w, m->seeds[i] = i, CHUNK);
    m->record = m->chunks[0];
    assert_ok(try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    cs_close(a);
    assert_int_equal(files_in(repo, "packs", pack), 1);
    file_flip(repo, pack, 2 * BY_FRAME * CHUNK + CHUNK); /* in the third frame */
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        struct cs_store *store = open_threads(repo, thread_counts[i]);
        struct cs_fetch *fetch = NULL;
        struct cs_wanted wanted[MANY];
        uint64_t seeds[MANY];
        struct seen seen = {.seeds = seeds};
        struct cs_error e = {0};
        assert_ok(cs_fetch_new(&fetch, store, err));
        want(m, wanted, seeds, 20);
        assert_int_equal(try_fetch(fetch, &seen, wanted, 20, true, &e), CS_CORRUPT);
        assert_non_null(strstr(e.message, pack));
        for (size_t k = 0; k < 20; k++) {
            uint64_t frame = seeds[k] / BY_FRAME;
            assert_true(seen.times[k] <= 1);
            assert_true(frame >= 2 || seen.times[k] == 1); /* what came before was used, */
            assert_true(frame != 2 || seen.times[k] == 0); /* and of this frame nothing */
        }
        /* It can be used again, for the rest. */
        m->count = 10;
        assert_int_equal(expect_fetch(fetch, m, 10, true), 2);
        m->count = 20;
        cs_fetch_free(fetch);
        cs_close(store);
    }
}

static void test_another_copy_helps(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b = open_store(repo);
    struct cs_writer *wa = begin(a), *wb = begin(b); /* neither knows of the other */
    struct made *ma = store_some(wa, 1, 0, 20, 1);
    struct made *mb = store_some(wb, 2, 0, 20, 1);
    assert_ok(try_commit(wa, &ma->record, "x", NULL, err));
    char pack[FIXTURE_PATH], data[FIXTURE_PATH] = "";
    assert_int_equal(files_in(repo, "packs", pack), 2); /* one of data, one of metadata */
    for (size_t i = 0; i < a->state.pack_count; i++)
        if (a->state.packs[i].class == CS_DATA) {
            char hex[CS_NAME_HEX];
            snprintf(data, sizeof data, "packs/%s", cs_name_hex(&a->state.packs[i].id, hex));
        }
    assert_ok(try_commit(wb, &mb->record, "x", NULL, err));
    cs_writer_end(wa);
    cs_writer_end(wb);
    cs_close(a);
    cs_close(b);
    for (unsigned bad = 0; bad < 2; bad++) { /* a frame, then the whole pack */
        struct cs_store *store = open_threads(repo, 4);
        struct cs_fetch *fetch = NULL;
        if (bad == 0)
            file_flip(repo, data, 1500000);
        else
            file_remove(repo, data);
        assert_ok(cs_fetch_new(&fetch, store, err));
        expect_fetch(fetch, ma, MANY, true);
        cs_fetch_free(fetch);
        cs_close(store);
    }
}

static void test_what_has_moved_is_planned_anew(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 24, 1);
    commit_some(a, 2, 10, 14, 1);
    struct cs_store *store = open_threads(repo, 3);
    struct cs_fetch *fetch = NULL;
    assert_ok(cs_fetch_new(&fetch, store, err));
    assert_true(has_object(store, &table[1].chunks[0])); /* its index is loaded, */
    forget(a, &table[0]);
    assert_int_equal(prune(a, (struct cs_prune_options){0}).packs_rewritten, 1);
    cs_close(a);
    /* and its packs are gone: a frame's chunks one by one, then the rest as it lies now */
    unsigned calls = expect_fetch(fetch, &table[1], 14, true);
    assert_in_range(calls, 3, 3 * BY_FRAME);
    cs_fetch_free(fetch);
    cs_close(store);
}

static void test_stopping(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 24, 1);
    cs_close(a);
    struct cs_store *store = open_threads(repo, 4);
    struct cs_fetch *fetch = NULL;
    struct cs_wanted wanted[MANY];
    uint64_t seeds[MANY];
    struct seen seen = {.seeds = seeds, .stop_after = 2};
    struct cs_fetch_user user = {.use = use, .used = used, .arg = &seen};
    bool more = false;
    assert_ok(cs_fetch_new(&fetch, store, err));
    want(&table[0], wanted, seeds, 24);
    assert_fails(CS_CANCELLED, try_fetch(fetch, &seen, wanted, 24, true, err));
    assert_int_equal(seen.used, 2);
    /* One at a time; and what is not waited for can be left. */
    seen.stop_after = 0;
    assert_ok(cs_fetch_begin(fetch, &user, wanted, 24, err));
    assert_ok(cs_fetch_step(fetch, false, &more, err));
    assert_true(more);
    assert_fails(CS_USAGE, cs_fetch_begin(fetch, &user, wanted, 24, err));
    cs_fetch_stop(fetch);
    assert_ok(cs_fetch_step(fetch, true, &more, err));
    assert_false(more);
    assert_ok(cs_fetch_begin(fetch, &user, wanted, 24, err));
    assert_ok(cs_fetch_step(fetch, false, &more, err));
    cs_fetch_free(fetch); /* in the middle */
    cs_close(store);
}

static void count_up(void *arg, size_t i, unsigned worker)
{
    atomic_uint *counts = arg;
    atomic_fetch_add(&counts[i], worker + 1);
}

static void test_other_work_of_the_workers(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_threads(repo, 3);
    struct cs_fetch *fetch = NULL;
    atomic_uint counts[MANY] = {0};
    assert_ok(cs_fetch_new(&fetch, store, err));
    cs_fetch_each(fetch, MANY, count_up, counts);
    for (size_t i = 0; i < MANY; i++)
        assert_in_range(counts[i], 1, cs_fetch_threads(fetch));
    cs_fetch_free(fetch);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, table_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_each_frame_once),    with_repo(test_damage_in_the_middle),
        with_repo(test_another_copy_helps), with_repo(test_what_has_moved_is_planned_anew),
        with_repo(test_stopping),           with_repo(test_other_work_of_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
