/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The workload of the crash tests. But for filling the log, it uses the store's public interface
 * only. What is left of it after a crash is judged in world_judge.c.
 */
#include "world.h"

#include <stdio.h>

#include "cs_fixture.h"
#include "log.h"
#include "store.h"

enum { SHARED = 7, SMALL = 3000, LARGE = 1 << 20, CHECKPOINT_AFTER = 64, ARCHIVES_KEPT = 4 };

int world_open_with(struct cs_store **store, const char *repo, const char *heads, unsigned key,
                    struct cs_error *err)
{
    struct cs_open_options options = {
        .secret = key_file(key), .threads = 1, .state_dir = heads[0] != 0 ? heads : NULL};
    *store = NULL;
    return cs_open(store, repo, &options, err);
}

int world_open(struct cs_store **store, const struct world *w, struct cs_error *err)
{
    return world_open_with(store, w->repo, w->heads, w->opens[2] == SURE ? 2 : 0, err);
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

void world_archive_name(char out[WORLD_NAME], size_t n)
{
    snprintf(out, WORLD_NAME, "archive-%zu", n);
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
    char name[WORLD_NAME];
    world_archive_name(name, (size_t)(a - w->archives));
    a->there = MAYBE;
    int rc = try_commit(writer, &a->record.id, name, NULL, err);
    if (rc == 0)
        a->there = SURE;
    return rc;
}

int world_back_up(struct world *w, size_t len, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {0};
    uint64_t seed = 1000 + w->archive_count;
    struct world_archive *a = new_archive(w);
    a->chunk_count = 0;
    int rc = world_open(&store, w, err);
    if (rc == 0)
        rc = cs_writer_begin(&writer, store, &options, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, &a->chunks[a->chunk_count++], SHARED, SMALL, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, &a->chunks[a->chunk_count++], seed, len, err);
    if (rc == 0 && len == LARGE) /* two do not fit into a frame */
        rc = put_noise_chunk(writer, &a->chunks[a->chunk_count++], seed + 500, len, err);
    if (rc == 0 && w->has_published == SURE)
        rc = put_noise_chunk(writer, &a->chunks[a->chunk_count++], w->published.seed,
                             w->published.len, err);
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
    return world_back_up(w, SMALL, err);
}

static int step_large_commit(struct world *w, struct cs_error *err)
{
    return world_back_up(w, LARGE, err); /* more than a frame */
}

static int publish(struct world *w, struct stored *chunk, uint64_t seed, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {0};
    int rc = world_open(&store, w, err);
    if (rc == 0)
        rc = cs_writer_begin(&writer, store, &options, err);
    if (rc == 0)
        rc = put_noise_chunk(writer, chunk, seed, SMALL, err);
    if (rc == 0)
        rc = cs_writer_publish(writer, err);
    cs_writer_end(writer);
    cs_close(store);
    return rc;
}

static int step_publish(struct world *w, struct cs_error *err)
{
    w->has_published = MAYBE;
    int rc = publish(w, &w->published, 500, err);
    if (rc == 0)
        w->has_published = SURE;
    return rc;
}

static int step_add_key(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_secret secret = key_file(1);
    int rc = world_open(&store, w, err);
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
    int rc = world_open(&store, w, err);
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
    int rc = world_open(&store, w, &e);
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
        rc = world_back_up(w, SMALL, err);
    return rc;
}

static int step_forget(struct world *w, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_id ids[WORLD_ARCHIVES];
    size_t n = 0;
    int rc = world_open(&store, w, err);
    for (size_t i = 0; i + ARCHIVES_KEPT < w->archive_count; i++) {
        w->archives[i].there = MAYBE;
        ids[n++] = w->archives[i].record.id;
    }
    if (rc == 0)
        rc = cs_forget(store, ids, n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        w->archives[i].there = NO;
    cs_close(store);
    return rc;
}

static int step_tag(struct world *w, struct cs_error *err)
{
    static const char *const tag[] = {WORLD_TAG};
    struct cs_store *store = NULL;
    struct world_archive *a = &w->archives[w->archive_count - 1];
    int rc = world_open(&store, w, err);
    a->tagged = MAYBE;
    if (rc == 0)
        rc = cs_tag(store, &a->record.id, NULL, 0, tag, 1, err);
    if (rc == 0)
        a->tagged = SURE;
    cs_close(store);
    return rc;
}

/* What no archive will need. */
static int step_publish_in_vain(struct world *w, struct cs_error *err)
{
    struct stored ignored;
    return publish(w, &ignored, 600, err);
}

static int mark(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *err)
{
    const struct world *w = arg;
    bool fresh;
    int rc = cs_mark(marker, &archive->id, &fresh, err);
    for (size_t i = 0; i < w->archive_count; i++) {
        const struct world_archive *a = &w->archives[i];
        bool same = memcmp(&a->record.id, &archive->id, sizeof archive->id) == 0;
        for (size_t c = 0; rc == 0 && same && c < a->chunk_count; c++)
            rc = cs_mark(marker, &a->chunks[c].id, &fresh, err);
    }
    return rc;
}

/* Nothing that was promised changes. */
static int prune(struct world *w, bool no_grace, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_prune_options options = {.no_grace = no_grace, .mark = mark, .arg = w};
    int rc = world_open(&store, w, err);
    if (rc == 0)
        rc = cs_prune(store, &options, &w->pruned, err);
    cs_close(store);
    return rc;
}

static int step_prune(struct world *w, struct cs_error *err)
{
    return prune(w, false, err);
}

static int step_prune_without_grace(struct world *w, struct cs_error *err)
{
    return prune(w, true, err);
}

int world_fill_log(struct world *w, uint64_t length, struct cs_error *err)
{
    struct cs_store *store = NULL;
    int rc = world_open(&store, w, err);
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
    {.name = "tag", .run = step_tag},
    {.name = "forget", .run = step_forget},
    {.name = "publish in vain", .run = step_publish_in_vain, .quiet = true},
    {.name = "prune", .run = step_prune, .again = true, .frees = true},
    {.name = "prune without grace", .run = step_prune_without_grace, .again = true, .frees = true},
    {.name = "commit after a prune", .run = step_commit, .usual = true},
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
