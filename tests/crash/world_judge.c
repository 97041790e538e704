/* SPDX-License-Identifier: BSD-2-Clause */
/* The judge of what is left of a world after a crash. It only uses the store's public interface. */
#include "world.h"

#include <stdio.h>

#include "cs_fixture.h"

enum { SMALL = 3000 };

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

static bool has_tag(const struct cs_archive *archive)
{
    for (size_t i = 0; i < archive->tag_count; i++)
        if (strcmp(archive->tags[i], WORLD_TAG) == 0)
            return true;
    return false;
}

/* Says of each archive whether it is there, where that was open; reads those from ${from} on. */
static void expect_archives(struct verdict *v, struct world *w, struct cs_store *store, size_t from)
{
    size_t n = cs_archive_count(store), at = 0;
    for (size_t i = 0; v->good && i < w->archive_count; i++) {
        struct world_archive *a = &w->archives[i];
        char name[WORLD_NAME];
        world_archive_name(name, i);
        bool there = at < n && memcmp(&cs_archive_at(store, at)->id, &a->record.id,
                                      sizeof(struct cs_id)) == 0;
        if (there != (a->there == SURE) && a->there != MAYBE)
            find(v, "%s: %s", name, there ? "is there" : "was committed, and is missing");
        a->there = there ? SURE : NO;
        if (there && has_tag(cs_archive_at(store, at)) != (a->tagged == SURE) && a->tagged != MAYBE)
            find(v, "%s: %s", name, a->tagged == SURE ? "has lost its tag" : "is tagged");
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
    int rc = world_open(&store, world, err);
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
        int rc = world_open_with(&store, repo, heads, key, &err);
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

/* Another backup, by which none of the others goes; with ${all} they are read again. */
static void expect_another_commit(struct verdict *v, struct world *w, bool all)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    if (world_back_up(w, SMALL, &err) < 0)
        find(v, "another commit: %s", err.message);
    if (!v->good)
        return;
    if (world_open(&store, w, &err) < 0) {
        find(v, "opening after another commit: %s", err.message);
        return;
    }
    expect_archives(v, w, store, all ? 0 : w->archive_count - 1);
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
        w->opens[2] = world_open_with(&store, repo, heads, 2, &err) == 0 ? SURE : NO;
        cs_close(store);
    }
    if (step != NULL && step->again && step->run(w, &err) < 0)
        find(&v, "%s, once more: %s", step->name, err.message);
    for (unsigned key = 1; v.good && key < 2 && w->opens[key] == SURE; key++) {
        if (world_open_with(&store, repo, heads, key, &err) < 0)
            find(&v, "opening with key %u afterwards: %s", key, err.message);
        cs_close(store);
    }
    expect_another_commit(&v, w, step != NULL && step->frees);
out:
    free(w);
    return v.good;
}
