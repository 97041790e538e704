/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a run has stored becomes true by an entry of the log. Order of durability: packs and
 * segment, then the entry. Before each entry the run looks whether all is still there that it rests
 * on.
 */
#include "writer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index.h"
#include "log.h"
#include "segment_merge.h"
#include "tree.h"

enum {
    PUBLISH_SECONDS = 300,
    PUBLISH_OBJECTS = 1 << 20, /* they are in memory until then */
    MERGE_SEGMENTS = 4,        /* so many small segments are merged into one */
    SMALL_SEGMENT = 4096,      /* entries; what is small however little the run stored */
};

static const uint64_t publish_bytes = 1ULL << 30;

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
 * condemned, or called lost: the objects that the run found instead of storing them, the archives
 * whose subtrees it took over, and its own new packs, which nobody knows before this entry.
 */
static int still_there(void *arg, struct cs_error *err)
{
    const struct resting *r = arg;
    struct cs_writer *w = r->writer;
    struct cs_state *state = &w->store->state;
    if (state->lost_entries != w->lost_entries)
        return cs_fail(err, CS_CONFLICT,
                       "a repair has found something damaged meanwhile; the run has to begin anew");
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

/* Writes the segment of what is pending. Small ones of before go into it where they are many; their
 * names go to ${removed}. */
static int write_segment(struct cs_writer *w, struct cs_state_segment *out, struct cs_buf *removed,
                         struct cs_error *err)
{
    size_t count = 0;
    const struct cs_segment *segments = cs_index_segments(w->store->index, &count);
    struct cs_merge *merge = NULL;
    bool *chosen = calloc(count + 1, sizeof *chosen);
    int rc = chosen == NULL ? cs_fail_memory(err) : cs_merge_new(&merge, err);
    if (rc == 0) {
        cs_pending_sort(&w->pending);
        rc = cs_merge_add_entries(merge, w->pending.entries, w->pending.count, w->packs,
                                  w->pack_count, err);
        cs_merge_choose(segments, count, w->pending.count, SMALL_SEGMENT, MERGE_SEGMENTS, chosen);
    }
    /* entries of packs that are not live come along: a pack may become live with the next entry of
     * the log, and which are dead for good is for prune to tell */
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!chosen[i])
            continue;
        rc = cs_merge_add(merge, &segments[i], NULL, err);
        cs_put_bytes(removed, &segments[i].id, sizeof segments[i].id);
    }
    if (rc == 0 && removed->failed)
        rc = cs_fail_memory(err);
    if (rc == 0)
        rc = cs_merge_write(merge, w->store, out, err);
    cs_merge_free(merge);
    free(chosen);
    return rc;
}

/* Waits until the packs are durable but for their folder, and lists them. */
static int finish_packs(struct cs_writer *w, struct durable *out, struct cs_error *err)
{
    size_t n[2];
    int rc = cs_stream_finish(w->data, err);
    if (rc == 0)
        rc = cs_stream_finish(w->meta, err);
    if (rc < 0)
        return rc;
    const struct cs_state_pack *data = cs_stream_packs(w->data, &n[0]);
    const struct cs_state_pack *meta = cs_stream_packs(w->meta, &n[1]);
    out->packs = calloc(n[0] + n[1], sizeof *out->packs);
    if (out->packs == NULL)
        return cs_fail_memory(err);
    if (n[0] > 0)
        memcpy(out->packs, data, n[0] * sizeof *data);
    if (n[1] > 0)
        memcpy(out->packs + n[0], meta, n[1] * sizeof *meta);
    out->pack_count = n[0] + n[1];
    for (size_t i = 0; i < out->pack_count; i++)
        w->counters.bytes_stored += out->packs[i].size;
    return 0;
}

/* Finishes the packs and writes their segment, at the same time: all of it durable. */
static int write_all(struct cs_writer *w, struct durable *out, struct cs_error *err)
{
    const struct cs_backend_ops *ops = w->store->backend->ops;
    struct cs_buf removed = {0};
    int rc = cs_region_drain(w, err);
    if (rc == 0)
        rc = cs_stream_end(w->data, err);
    if (rc == 0)
        rc = cs_stream_end(w->meta, err);
    if (rc < 0 || w->pending.count == 0)
        return rc;
    if (!w->dry_run) {
        rc = write_segment(w, &out->segment, &removed, err);
        if (rc == 0) {
            w->counters.bytes_stored += out->segment.size;
            out->segment_count = 1;
        }
    }
    if (rc == 0)
        rc = finish_packs(w, out, err);
    if (rc < 0 || w->dry_run)
        goto out;
    rc = ops->sync(w->store->backend, "packs", err);
    if (rc == 0)
        rc = ops->sync(w->store->backend, "segments", err);
    if (rc == 0 && removed.len > 0) {
        rc = append_replace(w, &removed, out, err);
        out->segment_count = 0;
    }
out:
    cs_buf_clear(&removed);
    return rc;
}

static int make_durable(struct cs_writer *w, struct durable *out, struct cs_error *err)
{
    struct cs_error e = {0};
    int rc = cs_writer_failure(w, err);
    return rc < 0 ? rc : cs_writer_keep_failure(w, write_all(w, out, &e), &e, err);
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
    w->published_at = cs_writer_seconds();
    int rc = cs_index_refresh(w->store, err);
    if (rc < 0)
        return rc;
    /* refreshing may have read the log on: then there is nothing to mark, and nothing to miss later
     */
    if (cs_state_segment(&w->store->state, &d->segment.id) == NULL)
        return conflict(err, "the index of what this run has published");
    return cs_index_mark_packs(w->store->index, &d->segment.id, d->packs, d->pack_count, err);
}

int cs_writer_publish(struct cs_writer *w, struct cs_error *err)
{
    struct durable d = {0};
    struct cs_error e = {0};
    if (w->dry_run)
        return 0;
    int rc = make_durable(w, &d, err);
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
        rc = cs_writer_keep_failure(w, rc, &e, err);
    }
    free(d.packs);
    return rc;
}

int cs_writer_publish_if_due(struct cs_writer *w, struct cs_error *err)
{
    if (w->unpublished == 0 || w->dry_run)
        return 0;
    if (w->unpublished < publish_bytes && w->pending.count < PUBLISH_OBJECTS &&
        cs_writer_seconds() - w->published_at < PUBLISH_SECONDS)
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
    rc = make_durable(w, &d, err);
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
        cs_writer_counters(w, counters);
    if (rc == 0) /* the archive exists; a stale index is found anew when it is next asked */
        start_over(w, &d, NULL);
out:
    cs_buf_clear(&payload);
    free(d.packs);
    return rc;
}
