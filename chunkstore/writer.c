/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run that writes: what is stored already is found, what is not goes into
 * packs, and an entry of the log makes it true. Order of durability: packs,
 * segment, entry.
 */
#include "writer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index.h"
#include "log.h"
#include "tree.h"

enum {
    DEFAULT_LEVEL = 3,
    PUBLISH_SECONDS = 300,
    MERGE_SEGMENTS = 8,   /* so many small segments are merged into one */
    SMALL_SEGMENT = 4096, /* entries; what is small however little the run stored */
};

static const uint64_t publish_bytes = 1ULL << 30;

static int64_t monotonic_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static int make_workers(struct cs_writer *w, int level, struct cs_error *err)
{
    unsigned n = cs_pool_threads(w->pool);
    w->workers = calloc(n, sizeof *w->workers);
    if (w->workers == NULL)
        return cs_fail_memory(err);
    for (unsigned i = 0; i < n; i++) {
        int rc = cs_compressor_new(&w->workers[i].compressor, level, err);
        if (rc == 0)
            rc = cs_fingerprinter_new(&w->workers[i].fingerprinter,
                                      cs_store_keys(w->store)->fingerprint_key, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cs_writer_begin(struct cs_writer **out, struct cs_store *store,
                    const struct cs_writer_options *options, struct cs_error *err)
{
    if (store->rollback != NULL)
        return cs_fail(err, CS_CORRUPT,
                       "%s; nothing is written to it until `byre check --accept-rollback`",
                       store->rollback);
    if (store->config.write_features != 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "config: writing needs features %#llx that this program "
                       "lacks",
                       (unsigned long long)store->config.write_features);
    struct cs_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return cs_fail_memory(err);
    w->store = store;
    store->writers++;
    memcpy(w->id_key, cs_store_keys(store)->id_key, CS_KEY_SIZE);
    w->dry_run = options->dry_run;
    w->published_at = monotonic_seconds();
    int level = options->compression_level != 0 ? options->compression_level : DEFAULT_LEVEL;
    int rc = cs_pool_new(&w->pool, store->threads, err);
    if (rc == 0)
        rc = make_workers(w, level, err);
    if (rc == 0)
        rc = cs_stream_new(&w->data, store, w->pool, w->workers, CS_DATA, w->dry_run, err);
    if (rc == 0)
        rc = cs_stream_new(&w->meta, store, w->pool, w->workers, CS_META, w->dry_run, err);
    if (rc == 0)
        rc = cs_regions_new(w, err);
    if (rc == 0)
        rc = cs_index_refresh(store, err);
    w->condemn_entries = store->state.condemn_entries;
    if (store->writers == 1)
        cs_index_clear_marks(store->index);
    if (rc < 0) {
        cs_writer_end(w);
        return rc;
    }
    *out = w;
    return 0;
}

void cs_writer_end(struct cs_writer *w)
{
    if (w == NULL)
        return;
    cs_regions_free(w->regions);
    cs_stream_free(w->data);
    cs_stream_free(w->meta);
    for (unsigned i = 0; w->workers != NULL && i < cs_pool_threads(w->pool); i++) {
        cs_compressor_free(w->workers[i].compressor);
        cs_fingerprinter_free(w->workers[i].fingerprinter);
    }
    free(w->workers);
    if (w->pool != NULL)
        cs_pool_free(w->pool);
    cs_pending_clear(&w->pending);
    free(w->packs);
    free(w->used);
    w->store->writers--;
    cs_wipe(w->id_key, sizeof w->id_key);
    free(w);
}

void cs_writer_counters(const struct cs_writer *w, struct cs_counters *counters)
{
    *counters = w->counters;
}

/* ---- objects ---- */

static int name_pack(struct cs_writer *w, const struct cs_name *pack, uint32_t *number,
                     struct cs_error *err)
{
    struct cs_name *packs = reallocarray(w->packs, w->pack_count + 1U, sizeof *packs);
    if (packs == NULL)
        return cs_fail_memory(err);
    w->packs = packs;
    packs[w->pack_count] = *pack;
    *number = w->pack_count++;
    return 0;
}

/* A run that has failed to store something publishes and commits nothing more: packs that lack a
 * frame must not come into the log. */
static int run_failure(const struct cs_writer *w, struct cs_error *err)
{
    return w->failed.code == 0 ? 0 : cs_fail(err, w->failed.code, "%s", w->failed.message);
}

static int keep_failure(struct cs_writer *w, int rc, const struct cs_error *e, struct cs_error *err)
{
    if (rc == 0)
        return 0;
    w->failed = *e;
    return cs_fail(err, rc, "%s", e->message);
}

static int store_object(struct cs_writer *w, enum cs_class class, uint8_t type,
                        const struct cs_id *id, const void *data, size_t len, bool *fresh,
                        struct cs_error *err)
{
    struct cs_location where;
    struct cs_place_in_pack place;
    bool found = cs_pending_has(&w->pending, id);
    if (!found) {
        int rc = cs_index_has(w->store, id, &where, &found, err);
        if (rc == 0 && found) /* whether it is still there is asked again at the end */
            rc = cs_index_mark(w->store->index, &where, err);
        if (rc < 0)
            return rc;
    }
    if (fresh != NULL)
        *fresh = !found;
    if (found)
        return 0;
    uint32_t *pack = class == CS_DATA ? &w->data_pack : &w->meta_pack;
    int rc = cs_stream_put(class == CS_DATA ? w->data : w->meta, id, type, data, len, &place, err);
    if (rc == 0 && place.new_pack)
        rc = name_pack(w, &place.pack, pack, err);
    if (rc == 0)
        rc = cs_pending_add(&w->pending, id, *pack, place.frame, place.slot, err);
    w->unpublished += len;
    return rc;
}

int cs_writer_uses_archive(struct cs_writer *w, const struct cs_id *archive, struct cs_error *err)
{
    for (size_t i = 0; i < w->used_count; i++)
        if (memcmp(&w->used[i], archive, sizeof *archive) == 0)
            return 0;
    struct cs_id *used = reallocarray(w->used, w->used_count + 1, sizeof *used);
    if (used == NULL)
        return cs_fail_memory(err);
    w->used = used;
    used[w->used_count++] = *archive;
    return 0;
}

int cs_writer_store(struct cs_writer *w, enum cs_class class, uint8_t type, const struct cs_id *id,
                    const void *data, size_t len, bool *fresh, struct cs_error *err)
{
    struct cs_error e = {0};
    int rc = run_failure(w, err);
    if (rc < 0)
        return rc;
    return keep_failure(w, store_object(w, class, type, id, data, len, fresh, &e), &e, err);
}

int cs_writer_store_chunk(struct cs_writer *w, const struct cs_id *id, const void *data, size_t len,
                          struct cs_error *err)
{
    bool fresh = false;
    int rc = cs_writer_store(w, CS_DATA, CS_CHUNK, id, data, len, &fresh, err);
    if (rc < 0)
        return rc;
    w->counters.chunks_total++;
    if (fresh) {
        w->counters.chunks_new++;
        w->counters.bytes_new += len;
    }
    return 0;
}

int cs_write_chunk(struct cs_writer *w, const void *data, size_t len, struct cs_id *id,
                   struct cs_error *err)
{
    if (len == 0 || len > CS_DATA_OBJECT_MAX)
        return cs_fail(err, CS_USAGE, "a chunk cannot have %zu bytes", len);
    cs_object_id(w->store, CS_DATA, CS_CHUNK, data, len, id);
    return cs_writer_store_chunk(w, id, data, len, err);
}

static int write_small(struct cs_writer *w, uint8_t type, const void *data, size_t len,
                       struct cs_id *id, struct cs_error *err)
{
    cs_object_id(w->store, CS_META, type, data, len, id);
    return cs_writer_store(w, CS_META, type, id, data, len, NULL, err);
}

int cs_write_object(struct cs_writer *w, enum cs_type type, const void *data, size_t len,
                    struct cs_id *id, struct cs_error *err)
{
    if (len == 0 || len > CS_LARGE_OBJECT_MAX)
        return cs_fail(err, CS_USAGE, "an object cannot have %zu bytes", len);
    if (len <= CS_META_OBJECT_MAX)
        return write_small(w, (uint8_t)type, data, len, id, err);
    struct cs_buf list = {0};
    int rc = 0;
    cs_put_u64(&list, len);
    for (size_t at = 0; rc == 0 && at < len; at += CS_META_OBJECT_MAX) {
        struct cs_id piece;
        size_t n = len - at < CS_META_OBJECT_MAX ? len - at : CS_META_OBJECT_MAX;
        rc = write_small(w, CS_PIECE, (const uint8_t *)data + at, n, &piece, err);
        cs_put_bytes(&list, piece.bytes, CS_ID_SIZE);
    }
    if (rc == 0 && list.failed)
        rc = cs_fail_memory(err);
    if (rc == 0)
        rc = write_small(w, (uint8_t)(type | CS_LIST), list.data, list.len, id, err);
    cs_buf_clear(&list);
    return rc;
}

/* ---- publishing ---- */

struct segment_draft { /* entries of a segment to come */
    struct cs_entry *entries;
    size_t count;
    struct cs_name *packs;
    uint32_t pack_count;
};

static int draft_reserve(struct segment_draft *d, size_t entries, uint32_t packs,
                         struct cs_error *err)
{
    struct cs_entry *e = reallocarray(d->entries, d->count + entries, sizeof *e);
    if (e != NULL)
        d->entries = e;
    struct cs_name *p = reallocarray(d->packs, (size_t)d->pack_count + packs, sizeof *p);
    if (p != NULL)
        d->packs = p;
    return e != NULL && p != NULL ? 0 : cs_fail_memory(err);
}

/* Takes over all entries of ${s}. Those of packs that are not live stay: a pack may become live
 * with the next entry of the log, and which are dead for good is for prune to tell. */
static int draft_merge(struct segment_draft *d, const struct cs_segment *s, struct cs_error *err)
{
    int rc = draft_reserve(d, (size_t)s->entry_count, s->pack_count, err);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < s->entry_count; i++) {
        struct cs_entry e;
        cs_segment_entry(s, i, &e);
        e.pack += d->pack_count;
        d->entries[d->count++] = e;
    }
    memcpy(d->packs + d->pack_count, s->packs, (size_t)s->pack_count * CS_NAME_SIZE);
    d->pack_count += s->pack_count;
    return 0;
}

/*
 * Chooses the small segments that are merged into the one to come, where they are many. Their
 * names go to ${removed}.
 */
static int merge_small(struct cs_writer *w, struct segment_draft *d, struct cs_buf *removed,
                       struct cs_error *err)
{
    size_t count = 0, small = 0;
    const struct cs_segment *segments = cs_index_segments(w->store->index, &count);
    uint64_t limit = d->count > SMALL_SEGMENT ? d->count : SMALL_SEGMENT;
    for (size_t i = 0; i < count; i++)
        small += segments[i].entry_count <= limit;
    if (small < MERGE_SEGMENTS)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (segments[i].entry_count > limit)
            continue;
        int rc = draft_merge(d, &segments[i], err);
        if (rc < 0)
            return rc;
        cs_put_bytes(removed, &segments[i].id, sizeof segments[i].id);
    }
    return removed->failed ? cs_fail_memory(err) : 0;
}

struct durable { /* what an entry is about to make true */
    struct cs_state_pack *packs;
    size_t pack_count;
    struct cs_state_segment segment;
    size_t segment_count;
};

struct resting { /* what an entry of the run rests on */
    struct cs_writer *writer;
    const struct durable *durable;
};

static int conflict(struct cs_error *err, const char *what)
{
    return cs_fail(err, CS_CONFLICT, "%s was freed by a prune meanwhile; the run has to begin anew",
                   what);
}

/*
 * Whether everything is still there that the next entry needs, after whatever others have
 * condemned: the objects that the run found instead of storing them, the archives whose subtrees it
 * took over, and its own new packs, which nobody knows before this entry.
 */
static int still_there(void *arg, struct cs_error *err)
{
    const struct resting *r = arg;
    struct cs_writer *w = r->writer;
    struct cs_state *state = &w->store->state;
    if (state->condemn_entries == w->condemn_entries)
        return 0;
    int rc = cs_index_refresh(w->store, err);
    if (rc < 0)
        return rc;
    if (cs_index_lost_marks(w->store->index) > 0)
        return conflict(err, "something that this run found stored");
    for (size_t i = 0; i < w->used_count; i++)
        if (cs_state_archive(state, &w->used[i]) == state->archive_count)
            return conflict(err,
                            "an archive that this run builds on was forgotten, and what it had");
    for (size_t i = 0; i < r->durable->pack_count; i++)
        if (cs_state_condemned(state, CS_FILE_PACK, &r->durable->packs[i].id))
            return conflict(err, "something that this run has stored");
    if (r->durable->segment_count > 0 &&
        cs_state_condemned(state, CS_FILE_SEGMENT, &r->durable->segment.id))
        return conflict(err, "the index of what this run has stored");
    w->condemn_entries = state->condemn_entries;
    return 0;
}

/* An entry that replaces segments comes before the one that makes our packs live: until then the
 * entries of ours in it are ignored. */
static int append_replace(struct cs_writer *w, const struct cs_buf *removed,
                          const struct durable *durable, struct cs_error *err)
{
    struct cs_buf payload = {0};
    cs_entry_begin(&payload, CS_ENTRY_REPLACE, (int64_t)time(NULL));
    cs_put_u32(&payload, (uint32_t)(removed->len / CS_NAME_SIZE));
    cs_put_bytes(&payload, removed->data, removed->len);
    cs_entry_put_added(&payload,
                       &(struct cs_added){.segments = &durable->segment, .segment_count = 1});
    int rc = cs_log_append_if(w->store, &payload, still_there, &(struct resting){w, durable},
                              &w->counters.bytes_stored, err);
    cs_buf_clear(&payload);
    return rc;
}

/* Finishes the packs and writes their segment: all of it durable. ${merge}: small segments of
 * before may go into it. */
static int write_all(struct cs_writer *w, bool merge, struct durable *out, struct cs_error *err)
{
    const struct cs_backend_ops *ops = w->store->backend->ops;
    struct segment_draft draft = {0};
    struct cs_buf removed = {0};
    size_t n[2];
    int rc = cs_region_drain(w, err);
    if (rc == 0)
        rc = cs_stream_finish(w->data, err);
    if (rc == 0)
        rc = cs_stream_finish(w->meta, err);
    if (rc < 0 || w->pending.count == 0)
        return rc;
    const struct cs_state_pack *data = cs_stream_packs(w->data, &n[0]);
    const struct cs_state_pack *meta = cs_stream_packs(w->meta, &n[1]);
    out->packs = calloc(n[0] + n[1], sizeof *out->packs);
    if (out->packs == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    if (n[0] > 0)
        memcpy(out->packs, data, n[0] * sizeof *data);
    if (n[1] > 0)
        memcpy(out->packs + n[0], meta, n[1] * sizeof *meta);
    out->pack_count = n[0] + n[1];
    for (size_t i = 0; i < out->pack_count; i++)
        w->counters.bytes_stored += out->packs[i].size;
    if (w->dry_run)
        goto out;
    rc = ops->sync(w->store->backend, "packs", err);
    if (rc == 0)
        rc = draft_reserve(&draft, w->pending.count, w->pack_count, err);
    if (rc < 0 || draft.entries == NULL || draft.packs == NULL)
        goto out;
    memcpy(draft.entries, w->pending.entries, w->pending.count * sizeof *draft.entries);
    memcpy(draft.packs, w->packs, w->pack_count * sizeof *draft.packs);
    draft.count = w->pending.count;
    draft.pack_count = w->pack_count;
    if (merge)
        rc = merge_small(w, &draft, &removed, err);
    if (rc < 0)
        goto out;
    qsort(draft.entries, draft.count, sizeof *draft.entries, cs_entry_compare);
    rc = cs_segment_write(w->store, draft.entries, draft.count, draft.packs, draft.pack_count,
                          &out->segment, err);
    if (rc == 0)
        rc = ops->sync(w->store->backend, "segments", err);
    if (rc < 0)
        goto out;
    w->counters.bytes_stored += out->segment.size;
    out->segment_count = 1;
    if (removed.len > 0) {
        rc = append_replace(w, &removed, out, err);
        out->segment_count = 0;
    }
out:
    free(draft.entries);
    free(draft.packs);
    cs_buf_clear(&removed);
    return rc;
}

static int make_durable(struct cs_writer *w, bool merge, struct durable *out, struct cs_error *err)
{
    struct cs_error e = {0};
    int rc = run_failure(w, err);
    return rc < 0 ? rc : keep_failure(w, write_all(w, merge, out, &e), &e, err);
}

/* What was made durable is in the log now; the run begins with an empty table again, and relies on
 * what it has published as on what others have. */
static int start_over(struct cs_writer *w, const struct durable *d, struct cs_error *err)
{
    cs_stream_forget_packs(w->data);
    cs_stream_forget_packs(w->meta);
    cs_pending_clear(&w->pending);
    w->pack_count = 0;
    w->unpublished = 0;
    w->published_at = monotonic_seconds();
    int rc = cs_index_refresh(w->store, err);
    return rc < 0 ? rc : cs_index_mark_segment(w->store->index, &d->segment.id, err);
}

int cs_writer_publish(struct cs_writer *w, struct cs_error *err)
{
    struct durable d = {0};
    struct cs_error e = {0};
    if (w->dry_run)
        return 0;
    int rc = make_durable(w, false, &d, err);
    if (rc == 0 && d.pack_count > 0) {
        struct cs_buf payload = {0};
        cs_entry_begin(&payload, CS_ENTRY_PUBLISH, (int64_t)time(NULL));
        cs_entry_put_added(&payload, &(struct cs_added){.packs = d.packs,
                                                        .pack_count = d.pack_count,
                                                        .segments = &d.segment,
                                                        .segment_count = d.segment_count});
        rc = cs_log_append_if(w->store, &payload, still_there, &(struct resting){w, &d},
                              &w->counters.bytes_stored, &e);
        cs_buf_clear(&payload);
        if (rc == 0)
            rc = start_over(w, &d, &e);
        rc = keep_failure(w, rc, &e, err);
    }
    free(d.packs);
    return rc;
}

int cs_writer_publish_if_due(struct cs_writer *w, struct cs_error *err)
{
    if (w->unpublished == 0 || w->dry_run)
        return 0;
    if (w->unpublished < publish_bytes && monotonic_seconds() - w->published_at < PUBLISH_SECONDS)
        return 0;
    return cs_writer_publish(w, err);
}

static void put_archive(struct cs_buf *payload, const struct cs_commit *commit,
                        const struct durable *d, uint64_t bytes_stored)
{
    payload->len = 0;
    cs_entry_begin(payload, CS_ENTRY_ARCHIVE, commit->time);
    cs_entry_put_added(payload, &(struct cs_added){.packs = d->packs,
                                                   .pack_count = d->pack_count,
                                                   .segments = &d->segment,
                                                   .segment_count = d->segment_count});
    cs_put_bytes(payload, commit->archive.bytes, CS_ID_SIZE);
    cs_put_u64(payload, bytes_stored);
    cs_put_str16(payload, commit->name);
    cs_put_str16(payload, commit->host);
    cs_put_u16(payload, (uint16_t)commit->tag_count);
    for (size_t i = 0; i < commit->tag_count; i++)
        cs_put_str16(payload, commit->tags[i]);
    cs_put_u32(payload, (uint32_t)commit->summary_len);
    cs_put_bytes(payload, commit->summary, commit->summary_len);
}

int cs_writer_commit(struct cs_writer *w, const struct cs_commit *commit,
                     struct cs_counters *counters, struct cs_error *err)
{
    struct durable d = {0};
    struct cs_buf payload = {0};
    int rc;
    if (w->dry_run)
        return cs_fail(err, CS_USAGE, "a dry run commits nothing");
    if (commit->tag_count > UINT16_MAX)
        return cs_fail(err, CS_USAGE, "%zu tags are too many", commit->tag_count);
    rc = make_durable(w, true, &d, err);
    if (rc == 0)
        rc = cs_log_checkpoint(w->store, &w->counters.bytes_stored, err);
    if (rc == 0)
        rc = cs_store_cancelled(w->store, err);
    if (rc < 0)
        goto out;
    /* the field has a fixed width, so that the entry can tell its own size too */
    put_archive(&payload, commit, &d, 0);
    put_archive(&payload, commit, &d, w->counters.bytes_stored + cs_entry_size(payload.len));
    rc = cs_log_append_if(w->store, &payload, still_there, &(struct resting){w, &d},
                          &w->counters.bytes_stored, err);
    if (rc == 0 && counters != NULL)
        *counters = w->counters;
    if (rc == 0) /* the archive exists; a stale index is found anew when it is next asked */
        start_over(w, &d, NULL);
out:
    cs_buf_clear(&payload);
    free(d.packs);
    return rc;
}
