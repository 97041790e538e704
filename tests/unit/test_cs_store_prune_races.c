/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A prune that is stopped at every single call of the backend, and one that others come between at
 * the worst moment: two stores of one process, of which one is hooked.
 */
#include "cs_prune_fixture.h"

#include <stdio.h>

#include "log.h"
#include "reserve.h"
#include "store.h"
#include "stream.h"
#include "writer.h"

/* ---- a backend that stops, fills up, or lets somebody in ---- */

static struct cs_backend_ops hooked;
static const struct cs_backend_ops *plain;
static long calls_left;                /* of those that change something; below 0: no limit */
static void (*before_log_entry)(void); /* called once, before an entry is put, */
static unsigned pass_over;             /* after so many others */
static const struct repo *hooked_repo;
static bool full; /* no space as long as the reserve is there */

static int stopped(struct cs_error *err)
{
    if (calls_left == 0)
        return cs_fail(err, CS_IO, "stopped");
    if (calls_left > 0)
        calls_left--;
    return 0;
}

static int hooked_create(struct cs_backend *backend, const char *name, struct cs_put **put,
                         struct cs_error *err)
{
    int rc = stopped(err);
    void (*call)(void) = before_log_entry;
    if (rc == 0 && call != NULL && strncmp(name, "log/", 4) == 0 && pass_over-- == 0) {
        before_log_entry = NULL;
        call();
    }
    return rc < 0 ? rc : plain->create(backend, name, put, err);
}

static int hooked_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    int rc = stopped(err);
    if (rc == 0 && full && file_exists(hooked_repo, "reserve"))
        rc = cs_fail(err, CS_NO_SPACE, "no space left on device");
    return rc < 0 ? rc : plain->write(put, data, len, err);
}

static int hooked_finish(struct cs_put *put, bool replace, struct cs_error *err)
{
    int rc = stopped(err);
    if (rc < 0)
        plain->abandon(put);
    return rc < 0 ? rc : plain->finish(put, replace, err);
}

static int hooked_sync(struct cs_backend *backend, const char *folder, struct cs_error *err)
{
    int rc = stopped(err);
    return rc < 0 ? rc : plain->sync(backend, folder, err);
}

static int hooked_remove(struct cs_backend *backend, const char *name, struct cs_error *err)
{
    int rc = stopped(err);
    return rc < 0 ? rc : plain->remove(backend, name, err);
}

static void hook(const struct repo *repo, struct cs_store *store)
{
    plain = store->backend->ops;
    hooked = *plain;
    hooked.create = hooked_create;
    hooked.write = hooked_write;
    hooked.finish = hooked_finish;
    hooked.sync = hooked_sync;
    hooked.remove = hooked_remove;
    calls_left = -1;
    before_log_entry = NULL;
    pass_over = 0;
    full = false;
    hooked_repo = repo;
    store->backend->ops = &hooked;
}

static void unhook(struct cs_store *store)
{
    store->backend->ops = plain;
}

/* ---- stopped ---- */

static void test_stopped_at_every_call(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    for (uint64_t i = 0; i < 6; i++)
        commit_some(store, i, i * 7, 12, 1);
    for (size_t i = 0; i < 6; i += 2)
        forget(store, &table[i]);
    file_write(repo, "packs/00000000000000000000000000000001", "abc", 3);
    cs_close(store);
    repo_save(repo);
    store = open_store(repo);
    uint64_t end = prune(store, (struct cs_prune_options){.no_grace = true}).bytes_after;
    cs_close(store);
    int rc = -1;
    long calls = 0;
    for (; rc < 0; calls++) {
        repo_restore(repo);
        store = open_store(repo);
        hook(repo, store);
        calls_left = calls;
        rc = try_prune(store, (struct cs_prune_options){.no_grace = true}, NULL, NULL);
        unhook(store);
        cs_close(store);
        assert_whole(repo);
        /* and the next one does the rest; what a stopped one leaves may be a few bytes of index */
        store = open_store(repo);
        uint64_t after = prune(store, (struct cs_prune_options){.no_grace = true}).bytes_after;
        assert_true(after <= end + 2000);
        assert_int_equal(after, stored_bytes(repo));
        cs_close(store);
        assert_whole(repo);
    }
    print_message("stopped at %ld calls\n", calls);
    assert_true(calls > 20);
}

/* ---- a full disk ---- */

static void test_a_full_disk_is_freed_with_the_reserve(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    commit_some(store, 1, 0, 20, 1);
    commit_some(store, 2, 0, 10, 1);
    commit_some(store, 3, 100, 10, 1);
    forget(store, &table[0]);
    forget(store, &table[2]);
    assert_ok(cs_reserve_write(store, 1 << 20, 1 << 20, err));
    hook(repo, store);
    full = true;
    struct cs_prune_result r = prune(store, (struct cs_prune_options){0});
    unhook(store);
    assert_int_equal(r.packs_rewritten, 1);
    assert_true(file_exists(repo, "reserve")); /* again */
    cs_close(store);
    assert_whole(repo);
}

/* ---- a backup beside ---- */

static struct cs_store *other;
static struct cs_writer *other_writer;
static struct made *other_made;

static void prune_by_other(void)
{
    other = open_store(hooked_repo);
    prune(other, (struct cs_prune_options){.no_grace = true});
    cs_close(other);
}

/* What a run found is forgotten and gone before it commits: it says so, and a new run does it. */
static void test_what_a_run_relies_on_is_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b = open_store(repo);
    commit_some(a, 1, 0, 10, 1);
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 2, 5, 10, 1); /* finds 5 to 9 */
    assert_ok(cs_log_catch_up(b, err));
    forget(b, &table[0]);
    prune(b, (struct cs_prune_options){0});
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    assert_int_equal(cs_archive_count(a), 0);
    made_count--;
    commit_some(a, 2, 5, 10, 1);
    cs_close(a);
    cs_close(b);
    assert_whole(repo);
}

/* The same where the segment that says so stays, for most of it is needed. */
static void test_what_a_run_relies_on_is_freed_and_its_segment_stays(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b;
    for (uint64_t i = 0; i < 12; i++)
        commit_some(a, i, i * 10, 2, 1);
    prune(a, (struct cs_prune_options){0});
    assert_int_equal(a->state.segment_count, 1);
    struct cs_name segment = a->state.segments[0].id;
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 100, 0, 3, 1); /* finds 0 and 1 */
    b = open_store(repo);
    forget(b, &table[0]);
    assert_int_equal(prune(b, (struct cs_prune_options){0}).packs_deleted, 2);
    assert_non_null(cs_state_segment(&b->state, &segment));
    cs_close(b);
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    made_count--;
    cs_close(a);
    assert_whole(repo);
}

/* It has only moved: the run does not mind. */
static void test_what_a_run_relies_on_has_moved(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b = open_store(repo);
    commit_some(a, 1, 0, 20, 1);
    commit_some(a, 2, 10, 10, 1);
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 3, 10, 12, 1); /* finds 10 to 19 */
    assert_ok(cs_log_catch_up(b, err));
    forget(b, &table[0]);
    assert_int_equal(prune(b, (struct cs_prune_options){0}).packs_rewritten, 1);
    assert_ok(try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    expect_made(a, m);
    cs_close(a);
    cs_close(b);
    assert_whole(repo);
}

/* The run's own packs lie there, and no entry knows them yet: a prune without grace takes them. */
static void test_new_packs_of_a_run_are_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 10, 1);
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 2, 100, 5, 1);
    hook(repo, a);
    before_log_entry = prune_by_other;
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err)); /* nor later */
    unhook(a);
    cs_writer_end(w);
    made_count--;
    commit_some(a, 2, 100, 5, 1);
    cs_close(a);
    assert_whole(repo);
}

/* A prune that listed the folders while the run was writing may have seen its segment alone. */
static int condemn_if_orphan(void *arg, const char *text, struct cs_error *err)
{
    struct cs_store *b = arg;
    struct cs_buf payload = {0};
    struct cs_name name;
    assert_true(cs_name_parse(&name, text));
    if (cs_state_segment(&b->state, &name) != NULL)
        return 0;
    cs_entry_begin(&payload, CS_ENTRY_CONDEMN, 1);
    cs_entry_put_names(&payload, NULL, 0);
    cs_entry_put_names(&payload, &name, 1);
    cs_put_zeros(&payload, 2 * 4 + 8);
    int rc = cs_log_append(b, &payload, NULL, err);
    cs_buf_clear(&payload);
    return rc;
}

static void condemn_new_segment(void)
{
    struct cs_store *b = open_store(hooked_repo);
    assert_ok(b->backend->ops->list(b->backend, "segments", condemn_if_orphan, b, err));
    cs_close(b);
}

static void test_a_new_segment_of_a_run_is_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    for (unsigned merged = 0; merged < 2; merged++) {
        for (uint64_t i = 0; merged && i < 8; i++)
            commit_one(a, "small", 300 + i);
        struct cs_writer *w = begin(a);
        struct made *m = store_some(w, 1, 0, 5, 1);
        hook(repo, a);
        before_log_entry = condemn_new_segment;
        assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
        unhook(a);
        cs_writer_end(w);
        made_count--;
        assert_whole(repo);
    }
    cs_close(a);
}

/* With the grace they are left alone. */
static void prune_politely(void)
{
    other = open_store(hooked_repo);
    prune(other, (struct cs_prune_options){0});
    cs_close(other);
}

static void test_the_grace_leaves_a_run_alone(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 10, 1);
    forget(a, &table[0]);
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 2, 100, 5, 1);
    assert_ok(cs_writer_publish(w, err));
    put_chunk(w, 200, CHUNK);
    hook(repo, a);
    before_log_entry = prune_politely;
    assert_ok(try_commit(w, &m->record, "x", NULL, err));
    unhook(a);
    cs_writer_end(w);
    cs_close(a);
    assert_whole(repo);
}

/* Packs that a run has published itself count like what it found. */
static void test_published_packs_of_a_run_are_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b;
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 1, 0, 5, 1);
    assert_ok(cs_writer_publish(w, err));
    b = open_store(repo);
    prune(b, (struct cs_prune_options){.no_grace = true});
    cs_close(b);
    assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
    cs_writer_end(w);
    cs_close(a);
    made_count--;
    assert_whole(repo);
}

static void test_an_archive_that_a_run_builds_on_is_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b;
    commit_some(a, 1, 0, 10, 1);
    commit_some(a, 2, 100, 10, 1);
    for (unsigned pass = 0; pass < 2; pass++) {
        struct cs_writer *w = begin(a);
        struct made *m = store_some(w, 3 + pass, 200 + 10 * pass, 3, 1);
        assert_ok(cs_writer_uses_archive(w, &table[1].record, err));
        if (pass == 0)
            assert_ok(cs_writer_uses_archive(w, &table[0].record, err));
        b = open_store(repo);
        forget(b, &table[pass]);
        if (pass == 1) /* before, it was forgotten, and nothing freed: all is still there */
            prune(b, (struct cs_prune_options){0});
        cs_close(b);
        if (pass == 0)
            assert_ok(try_commit(w, &m->record, "x", NULL, err));
        else
            assert_fails(CS_CONFLICT, try_commit(w, &m->record, "x", NULL, err));
        cs_writer_end(w);
    }
    made_count--;
    cs_close(a);
    assert_whole(repo);
}

/* It was freed before the run began, and the store has read so since the archive was chosen. */
static void test_an_archive_that_a_run_builds_on_was_freed(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo), *b = open_store(repo);
    commit_some(a, 1, 0, 10, 1);
    assert_ok(cs_log_catch_up(b, err));
    forget(b, &table[0]);
    prune(b, (struct cs_prune_options){0});
    cs_close(b);
    assert_ok(cs_log_catch_up(a, err));
    struct cs_writer *w = begin(a);
    assert_fails(CS_CONFLICT, cs_writer_uses_archive(w, &table[0].record, err));
    cs_writer_end(w);
    cs_close(a);
}

/* A run has put one segment in the place of many, with entries of its own packs in it, which its
 * next entry makes live: a prune between the two must not take them for dead. */
static void commit_and_prune(void)
{
    struct cs_store *b = open_store(hooked_repo);
    for (uint64_t i = 0; i < 5; i++)
        commit_one(b, "small", 300 + i);
    prune(b, (struct cs_prune_options){0});
    assert_int_equal(b->state.segment_count, 1);
    cs_close(b);
}

static void test_a_prune_between_replace_and_archive(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    for (uint64_t i = 0; i < 8; i++)
        commit_some(a, i, i * 10, 2, 1);
    struct cs_writer *w = begin(a);
    struct made *m = store_some(w, 100, 500, 10, 1);
    hook(repo, a);
    before_log_entry = commit_and_prune;
    pass_over = 1;
    assert_ok(try_commit(w, &m->record, "x", NULL, err));
    assert_null(before_log_entry);
    unhook(a);
    cs_writer_end(w);
    cs_close(a);
    assert_whole(repo);
}

/* ---- a commit comes between the decision and its entry ---- */

static void commit_other(void)
{
    assert_ok(try_commit(other_writer, &other_made->record, "x", NULL, err));
    cs_writer_end(other_writer);
    cs_close(other);
}

/* An archive needs again what was about to go: from packs to drop, and from packs to rewrite. */
static void test_an_archive_comes_before_the_entry(void **state)
{
    struct repo *repo = *state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct cs_store *a = open_store(repo);
        uint64_t first = 1000 * kind;
        struct made *old = commit_some(a, 10 * kind + 1, first, 20, 1);
        if (kind == 1)
            commit_some(a, 10 * kind + 2, first + 10, 10, 1);
        other = open_store(repo);
        other_writer = begin(other);
        other_made = store_some(other_writer, 10 * kind + 3, first + 2, 10, 1);
        assert_ok(cs_log_catch_up(a, err));
        forget(a, old);
        hook(repo, a);
        before_log_entry = commit_other;
        prune(a, (struct cs_prune_options){0});
        assert_null(before_log_entry);
        unhook(a);
        expect_made(a, other_made);
        cs_close(a);
        assert_whole(repo);
    }
}

/* Files of nobody's become somebody's. */
static void prune_between(void)
{
    struct cs_store *b = open_store(hooked_repo);
    struct cs_store *a = other;
    hook(hooked_repo, b);
    other = a;
    before_log_entry = commit_other;
    prune(b, (struct cs_prune_options){.no_grace = true});
    unhook(b);
    cs_close(b);
}

static void test_orphans_become_live_before_the_entry(void **state)
{
    struct repo *repo = *state;
    for (unsigned kind = 0; kind < 2; kind++) { /* beside others that go; they alone */
        struct cs_store *a = open_store(repo);
        commit_some(a, 10 * kind + 1, 0, 5, 1);
        commit_some(a, 10 * kind + 2, 50, 5, 1);
        if (kind == 0)
            forget(a, &table[0]);
        size_t live = cs_archive_count(a);
        /* packs of a run that are written, and whose entry is about to come */
        other = open_store(repo);
        other_writer = begin(other);
        other_made = store_some(other_writer, 10 * kind + 3, 1000 * kind + 100, 5, 1);
        assert_ok(cs_stream_finish(other_writer->data, err));
        assert_ok(cs_stream_finish(other_writer->meta, err));
        cs_close(a);
        hooked_repo = repo;
        prune_between();
        assert_whole(repo);
        a = open_store(repo);
        assert_int_equal(cs_archive_count(a), live + 1);
        expect_made(a, other_made);
        cs_close(a);
    }
}

/* ---- two prunes ---- */

static void test_another_prune_comes_before_the_entry(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 20, 1);
    commit_some(a, 2, 10, 10, 1);
    commit_some(a, 3, 100, 5, 1);
    forget(a, &table[0]);
    hook(repo, a);
    before_log_entry = prune_politely;
    /* the packs to drop are the same; what one rewrites the other must leave */
    int rc = try_prune(a, (struct cs_prune_options){0}, NULL, NULL);
    unhook(a);
    assert_true(rc == 0 || rc == CS_CONFLICT);
    cs_close(a);
    assert_whole(repo);
    a = open_store(repo);
    prune(a, (struct cs_prune_options){.no_grace = true});
    assert_int_equal(files_in(repo, "packs", NULL), a->state.pack_count);
    cs_close(a);
    assert_whole(repo);
}

/* ---- readers ---- */

static void test_a_reader_follows_what_has_moved(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    commit_some(a, 1, 0, 20, 1);
    commit_some(a, 2, 10, 10, 1);
    struct cs_store *reader = open_store(repo), *fresh = open_store(repo);
    const struct cs_archive *lent = cs_archive_at(reader, 0);
    assert_true(has_object(reader, &table[1].chunks[0])); /* its index is loaded, */
    forget(a, &table[0]);
    assert_int_equal(prune(a, (struct cs_prune_options){0}).packs_rewritten, 1);
    cs_close(a);
    expect_made(reader, &table[1]); /* and its packs are gone */
    expect_made(fresh, &table[1]);  /* here the segments are gone, too */
    assert_memory_equal(&lent->id, &table[0].record, sizeof lent->id);
    assert_int_equal(check_errors(fresh, NULL), 0);
    cs_close(reader);
    cs_close(fresh);
}

static void test_a_check_beside_a_prune_finds_no_damage(void **state)
{
    struct repo *repo = *state;
    struct cs_store *a = open_store(repo);
    char message[CHECK_MESSAGE];
    commit_some(a, 1, 0, 20, 1);
    commit_some(a, 2, 10, 10, 1);
    struct cs_store *checker = open_store(repo); /* knows the log as it was */
    forget(a, &table[0]);
    prune(a, (struct cs_prune_options){0});
    cs_close(a);
    if (check_errors(checker, message) != 0)
        fail_msg("check: %s", message);
    cs_close(checker);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, table_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_stopped_at_every_call),
        with_repo(test_a_full_disk_is_freed_with_the_reserve),
        with_repo(test_what_a_run_relies_on_is_freed),
        with_repo(test_what_a_run_relies_on_is_freed_and_its_segment_stays),
        with_repo(test_what_a_run_relies_on_has_moved),
        with_repo(test_new_packs_of_a_run_are_freed),
        with_repo(test_a_new_segment_of_a_run_is_freed),
        with_repo(test_the_grace_leaves_a_run_alone),
        with_repo(test_published_packs_of_a_run_are_freed),
        with_repo(test_an_archive_that_a_run_builds_on_is_freed),
        with_repo(test_an_archive_that_a_run_builds_on_was_freed),
        with_repo(test_a_prune_between_replace_and_archive),
        with_repo(test_an_archive_comes_before_the_entry),
        with_repo(test_orphans_become_live_before_the_entry),
        with_repo(test_another_prune_comes_before_the_entry),
        with_repo(test_a_reader_follows_what_has_moved),
        with_repo(test_a_check_beside_a_prune_finds_no_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
