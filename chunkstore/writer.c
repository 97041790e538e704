/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run that writes: what is stored already is found, what is not goes into
 * packs. How it becomes true is writer_publish.c's.
 */
#include "writer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compress.h"
#include "index.h"
#include "rechunk.h"
#include "tree.h"

int64_t cs_writer_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static int make_workers(struct cs_writer *w, struct cs_error *err)
{
    unsigned n = cs_pool_threads(w->pool);
    w->workers = calloc(n, sizeof *w->workers);
    if (w->workers == NULL)
        return cs_fail_memory(err);
    for (unsigned i = 0; i < n; i++) {
        int rc = cs_compressor_new(&w->workers[i].compressor, err);
        if (rc == 0)
            rc = cs_fingerprinter_new(&w->workers[i].fingerprinter,
                                      cs_store_keys(w->store)->fingerprint_key, err);
        if (rc == 0)
            rc = cs_store_identifier(w->store, &w->workers[i].identifier, err);
        if (rc < 0)
            return rc;
        w->workers[i].scratch = malloc(cs_rechunk_scratch_size(&w->store->chunker));
        if (w->workers[i].scratch == NULL)
            return cs_fail_memory(err);
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
    w->dry_run = options->dry_run;
    w->published_at = cs_writer_seconds();
    int level = options->compression_level;
    int rc = cs_pool_new(&w->pool, store->threads, err);
    if (rc == 0)
        rc = make_workers(w, err);
    if (rc == 0)
        rc = cs_stream_new(&w->data, store, w->pool, w->workers, CS_DATA, level, w->dry_run, err);
    if (rc == 0)
        rc = cs_stream_new(&w->meta, store, w->pool, w->workers, CS_META, level > 0 ? level : 0,
                           w->dry_run, err);
    if (rc == 0)
        rc = cs_regions_new(w, options->regions_lent, err);
    if (rc == 0)
        rc = cs_index_refresh(store, err);
    w->condemn_entries = store->state.condemn_entries;
    w->lost_entries = store->state.lost_entries;
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
        cs_identifier_free(w->workers[i].identifier);
        free(w->workers[i].scratch);
    }
    free(w->workers);
    if (w->pool != NULL)
        cs_pool_free(w->pool);
    cs_pending_clear(&w->pending);
    free(w->packs);
    free(w->used);
    w->store->writers--;
    free(w);
}

void cs_writer_counters(const struct cs_writer *w, struct cs_counters *counters)
{
    *counters = w->counters;
    cs_stream_levels(w->data, &counters->level_lowest, &counters->level_highest);
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

int cs_writer_failure(const struct cs_writer *w, struct cs_error *err)
{
    return w->failed.code == 0 ? 0 : cs_fail(err, w->failed.code, "%s", w->failed.message);
}

int cs_writer_keep_failure(struct cs_writer *w, int rc, const struct cs_error *e,
                           struct cs_error *err)
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
    /* what was freed before the run began is not looked for at its end */
    if (cs_state_archive(&w->store->state, archive) == w->store->state.archive_count)
        return cs_fail(
            err, CS_CONFLICT,
            "an archive that this run builds on was forgotten; the run has to begin anew");
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
    int rc = cs_writer_failure(w, err);
    if (rc < 0)
        return rc;
    return cs_writer_keep_failure(w, store_object(w, class, type, id, data, len, fresh, &e), &e,
                                  err);
}

int cs_writer_store_chunk(struct cs_writer *w, const struct cs_id *id, const void *data, size_t len,
                          struct cs_error *err)
{
    bool fresh = false;
    int rc = cs_writer_store(w, CS_DATA, CS_CHUNK, id, data, len, &fresh, err);
    if (rc < 0)
        return rc;
    w->counters.chunks_total++;
    w->counters.bytes_total += len;
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
    int rc = cs_object_id(w->store, CS_DATA, CS_CHUNK, data, len, id, err);
    return rc < 0 ? rc : cs_writer_store_chunk(w, id, data, len, err);
}

static int write_small(struct cs_writer *w, uint8_t type, const void *data, size_t len,
                       struct cs_id *id, struct cs_error *err)
{
    int rc = cs_object_id(w->store, CS_META, type, data, len, id, err);
    return rc < 0 ? rc : cs_writer_store(w, CS_META, type, id, data, len, NULL, err);
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
