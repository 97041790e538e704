/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The workload of the crash tests, and the judge of what is left after a crash.
 * But for filling the log, both use the store's public interface only.
 */
#include "world.h"

#include <stdio.h>

#include "cs_fixture.h"
#include "log.h"
#include "store.h"

enum { SHARED = 7, SMALL = 3000, LARGE = 1 << 20, CHECKPOINT_AFTER = 64 };

static int open_key(struct cs_store **store, const char *repo, const char *heads, unsigned key,
                    struct cs_error *err)
{
    struct cs_open_options options = {
        .secret = key_file(key), .threads = 1, .state_dir = heads[0] != 0 ? heads : NULL};
    *store = NULL;
    return cs_open(store, repo, &options, err);
}

/* With the key that has all rights. */
static int open_full(struct cs_store **store, const struct world *w, struct cs_error *err)
{
    return open_key(store, w->repo, w->heads, w->opens[2] == SURE ? 2 : 0, err);
}

/* ---- steps ---- */

static int put_noise_chunk(struct cs_writer *writer, struct stored *out, uint64_t seed, size_t len,
                           struct cs_error *err)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    noise(data, len, seed);
    *out = (struct stored){.seed = seed, .len = len};
    int rc = cs_write_chunk(writer, data, len, &out->id, err);
    free(data);
    return rc;
}

static int put_noise_record(struct cs_writer *writer, struct stored *out, uint64_t seed, size_t len,
                            struct cs_error *err)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    noise(data, len, seed);
    *out = (struct stored){.seed = seed, .len = len};
    int rc = cs_write_object(writer, CS_LAYER_RECORD, data, len, &out->id, err);
    free(data);
    return rc;
}

enum { NAME = 32 };

static void archive_name(char out[NAME], size_t n)
{
    snprintf(out, NAME, "archive-%zu", n);
}

/* The next one, for the caller to describe. */
static struct world_archive *new_archive(struct world *w)
{
    assert_true(w->archive_count < WORLD_ARCHIVES);
    struct world_archive *a = &w->archives[w->archive_count++];
    *a = (struct world_archive){.there = NO};
    return a;
}

static int commit(struct world *w, struct world_archive *a, struct cs_writer *writer,
                  struct cs_error *err)
{
    char name[NAME];
    archive_name(name, (size_t)(a - w->archives));
    a->there = MAYBE;
    int rc = try_commit(writer, &a->record.id, name, NULL, err);
    if (rc == 0)
        a->there = SURE;
    return rc;
}

/* An archive of a record, a chunk of its own of ${len} bytes, and one that all share. */
static int back_up(struct world *w, size_t len, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {0};
    uint64_t seed = 1000 + w->archive_count;
    struct world_archive *a = new_archive(w);
    a->chunk_count = 2;
    int rc = open_full(&store, w, err);
    if (rc == 0)
        rc = cs_writer_begin(&writer, store, &options, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, &a->chunks[0], SHARED, SMALL, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, &a->chunks[1], seed, len, err);
    if (rc == 0 && w->has_published == SURE) {
        rc = put_noise_chunk(writer, &a->chunks[2], w->published.seed, w->published.len, err);
        a->chunk_count = 3;
    }
    if (rc == 0)
        rc = put_noise_record(writer, &a->record, seed, 700, err);
    if (rc == 0)
        rc = commit(w, a, writer, err);
    cs_writer_end(writer);
    cs_close(store);
    return rc;
}

static int step_init(struct world *w, struct cs_error *err)
{
    struct cs_init_options options = {.secret = key_file(0), .reserve = 3000};
    char code[CS_RECOVERY_CODE_SIZE];
    struct cs_id id;
    w->founded = w->opens[0] = MAYBE;
    int rc = cs_init(w->repo, &options, code, &id, err);
    if (rc == 0)
        w->founded = w->opens[0] = SURE;
    return rc;
}

static int step_commit(struct world *w, struct cs_error *err)
{
    return back_up(w, SMALL, err);
}

static int step_large_commit(struct world *w, struct cs_error *err)
{
    return back_up(w, LARGE, err); /* more than a frame */
}

static int step_publish(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {0};
    int rc = open_full(&store, w, err);
    if (rc == 0)
        rc = cs_writer_begin(&writer, store, &options, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, &w->published, 500, SMALL, err);
    w->has_published = MAYBE;
    if (rc == 0)
        rc = cs_writer_publish(writer, err);
    if (rc == 0)
        w->has_published = SURE;
    cs_writer_end(writer);
    cs_close(store);
    return rc;
}

static int step_add_key(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_secret secret = key_file(1);
    int rc = open_full(&store, w, err);
    w->opens[1] = MAYBE;
    if (rc == 0)
        rc = cs_key_add(store, &secret, CS_ROLE_APPEND, "a host", &w->slots[1], err);
    if (rc == 0)
        w->opens[1] = SURE;
    cs_close(store);
    return rc;
}

static int step_change_key(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_secret secret = key_file(2);
    int rc = open_full(&store, w, err);
    w->opens[0] = w->opens[2] = MAYBE;
    if (rc == 0)
        rc = cs_key_change(store, &secret, err);
    if (rc == 0) {
        w->opens[0] = NO;
        w->opens[2] = SURE;
    }
    cs_close(store);
    return rc;
}

/* With a new epoch. That the key was removed before, by a try that was cut short, is good too. */
static int step_remove_key(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_error e = {0};
    int rc = open_full(&store, w, &e);
    w->opens[1] = MAYBE;
    if (rc == 0)
        rc = cs_key_remove(store, &w->slots[1], true, &e);
    if (rc == CS_NOT_FOUND && e.sys == 0)
        rc = 0;
    if (rc == 0)
        w->opens[1] = NO;
    cs_close(store);
    return rc < 0 ? cs_fail(err, rc, "%s", e.message) : 0;
}

static int step_more_commits(struct world *w, struct cs_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < 3; i++) /* so that there are segments to merge */
        rc = back_up(w, SMALL, err);
    return rc;
}

int world_fill_log(struct world *w, uint64_t length, struct cs_error *err)
{
    struct cs_store *store = NULL;
    int rc = open_full(&store, w, err);
    while (rc == 0 && store->position.next < length) {
        struct cs_buf payload = {0};
        cs_entry_begin(&payload, CS_ENTRY_REPLACE, 0); /* of nothing, by nothing */
        cs_put_u32(&payload, 0);
        cs_entry_put_added(&payload, &(struct cs_added){0});
        rc = cs_log_append(store, &payload, NULL, err);
        cs_buf_clear(&payload);
    }
    cs_close(store);
    return rc;
}

static int step_more_entries(struct world *w, struct cs_error *err)
{
    return world_fill_log(w, CHECKPOINT_AFTER + 20, err);
}

const struct world_step world_steps[] = {
    {.name = "init", .run = step_init},
    {.name = "first commit", .run = step_large_commit},
    {.name = "publish", .run = step_publish},
    {.name = "second commit", .run = step_commit},
    {.name = "key add", .run = step_add_key, .again = true},
    {.name = "key passwd", .run = step_change_key},
    {.name = "third commit", .run = step_commit, .usual = true},
    {.name = "key remove", .run = step_remove_key, .again = true},
    {.name = "commit in a new epoch", .run = step_commit},
    {.name = "more segments", .run = step_more_commits, .quiet = true},
    {.name = "commit that merges segments", .run = step_commit},
    {.name = "more entries", .run = step_more_entries, .quiet = true},
    {.name = "commit with a checkpoint", .run = step_commit},
    {.name = "last commit", .run = step_commit, .usual = true},
};
const size_t world_step_count = sizeof world_steps / sizeof *world_steps;

const struct world_step *world_step_named(const char *name)
{
    for (size_t i = 0; i < world_step_count; i++)
        if (strcmp(world_steps[i].name, name) == 0)
            return &world_steps[i];
    fail_msg("there is no step %s", name);
    return NULL;
}

/* ---- the judge ---- */

struct verdict {
    char *why;
    bool good;
    int code; /* of what failed, if the first thing found was a failure */
};

static void __attribute__((format(printf, 2, 3))) find(struct verdict *v, const char *fmt, ...)
{
    va_list ap;
    if (!v->good)
        return; /* the first tells most */
    v->good = false;
    va_start(ap, fmt);
    vsnprintf(v->why, WORLD_WHY, fmt, ap);
    va_end(ap);
}

static void find_failure(struct verdict *v, const char *what, const struct cs_error *err)
{
    if (v->good)
        v->code = err->code;
    find(v, "%s: %s", what, err->message);
}

static void keep_first(void *arg, const char *message)
{
    find(arg, "check: %s", message);
}

static void check_all(struct verdict *v, struct cs_store *store)
{
    struct cs_error err = {0};
    struct cs_check_options options = {.read_data = 1, .report = keep_first, .arg = v};
    struct cs_check_result result;
    if (cs_check(store, &options, &result, &err) < 0)
        find_failure(v, "check", &err);
}

static void expect_bytes(struct verdict *v, struct cs_store *store, const struct stored *s,
                         bool is_chunk, const char *what)
{
    struct cs_error err = {0};
    uint8_t *expected = malloc(s->len);
    void *found = is_chunk ? malloc(s->len) : NULL;
    size_t len = s->len;
    int rc = is_chunk ? cs_read_chunk(store, &s->id, found, len, &err)
                      : cs_read_object(store, CS_LAYER_RECORD, &s->id, &found, &len, &err);
    assert_non_null(expected);
    noise(expected, s->len, s->seed);
    if (rc < 0)
        find_failure(v, what, &err);
    else if (len != s->len || memcmp(found, expected, len) != 0)
        find(v, "%s: has other bytes", what);
    free(expected);
    free(found);
}

static void expect_content(struct verdict *v, struct cs_store *store, const struct world_archive *a,
                           const char *name)
{
    expect_bytes(v, store, &a->record, false, name);
    for (size_t c = 0; c < a->chunk_count; c++)
        expect_bytes(v, store, &a->chunks[c], true, name);
}

/* Says of each archive whether it is there, where that was open; reads those from ${from} on. */
static void expect_archives(struct verdict *v, struct world *w, struct cs_store *store, size_t from)
{
    size_t n = cs_archive_count(store), at = 0;
    for (size_t i = 0; v->good && i < w->archive_count; i++) {
        struct world_archive *a = &w->archives[i];
        char name[NAME];
        archive_name(name, i);
        bool there = at < n && memcmp(&cs_archive_at(store, at)->id, &a->record.id,
                                      sizeof(struct cs_id)) == 0;
        if (there != (a->there == SURE) && a->there != MAYBE)
            find(v, "%s: %s", name, there ? "is there" : "was committed, and is missing");
        a->there = there ? SURE : NO;
        if (there && i >= from)
            expect_content(v, store, a, name);
        at += there;
    }
    if (at < n)
        find(v, "there are %zu archives that nobody knows", n - at);
    if (w->has_published == SURE)
        expect_bytes(v, store, &w->published, true, "what was published");
}

int world_read(struct world *world, struct cs_error *err)
{
    struct cs_store *store = NULL;
    char why[WORLD_WHY];
    struct verdict v = {.why = why, .good = true};
    int rc = open_full(&store, world, err);
    if (rc < 0)
        return rc;
    expect_archives(&v, world, store, 0);
    check_all(&v, store);
    cs_close(store);
    return v.good ? 0 : cs_fail(err, v.code != 0 ? v.code : CS_CORRUPT, "%s", why);
}

/* Which keys open it. The store by the first of role full; NULL where there is no repository. */
static struct cs_store *open_as_promised(struct verdict *v, const struct world *w, const char *repo,
                                         const char *heads)
{
    struct cs_store *found = NULL;
    for (unsigned key = 0; key < WORLD_KEYS && v->good; key++) {
        struct cs_store *store = NULL;
        struct cs_error err = {0};
        int rc = open_key(&store, repo, heads, key, &err);
        if (rc == CS_NO_REPOSITORY && w->founded != SURE)
            return NULL;
        if (rc < 0 && (rc != CS_AUTH || w->opens[key] == SURE))
            find(v, "opening with key %u: %s", key, err.message);
        if (rc == 0 && w->opens[key] == NO)
            find(v, "key %u opens it", key);
        if (rc == 0 && cs_rollback_warning(store) != NULL)
            find(v, "%s", cs_rollback_warning(store));
        if (rc == 0 && found == NULL && key != 1)
            found = store;
        else
            cs_close(store);
    }
    if (found == NULL)
        find(v, "no key opens it");
    return found;
}

/* Another backup, by which none of the others goes. */
static void expect_another_commit(struct verdict *v, struct world *w)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    if (back_up(w, SMALL, &err) < 0)
        find(v, "another commit: %s", err.message);
    if (!v->good)
        return;
    if (open_full(&store, w, &err) < 0) {
        find(v, "opening after another commit: %s", err.message);
        return;
    }
    expect_archives(v, w, store, w->archive_count - 1);
    cs_close(store);
}

bool world_holds(const struct world *world, const char *repo, const char *heads,
                 const struct world_step *step, char why[WORLD_WHY])
{
    struct verdict v = {.why = why, .good = true};
    struct world *w = malloc(sizeof *w);
    struct cs_error err = {0};
    assert_non_null(w);
    *w = *world;
    snprintf(w->repo, sizeof w->repo, "%s", repo);
    snprintf(w->heads, sizeof w->heads, "%s", heads);
    struct cs_store *store = open_as_promised(&v, w, repo, heads);
    if (store == NULL)
        goto out;
    expect_archives(&v, w, store, 0);
    check_all(&v, store);
    cs_close(store);
    if (!v.good)
        goto out;
    if (w->opens[2] == MAYBE) { /* either, and the world is to know which */
        w->opens[2] = open_key(&store, repo, heads, 2, &err) == 0 ? SURE : NO;
        cs_close(store);
    }
    if (step != NULL && step->again && step->run(w, &err) < 0)
        find(&v, "%s, once more: %s", step->name, err.message);
    for (unsigned key = 1; v.good && key < 2 && w->opens[key] == SURE; key++) {
        if (open_key(&store, repo, heads, key, &err) < 0)
            find(&v, "opening with key %u afterwards: %s", key, err.message);
        cs_close(store);
    }
    expect_another_commit(&v, w);
out:
    free(w);
    return v.good;
}
