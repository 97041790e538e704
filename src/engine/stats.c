/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much archives hold, and what it takes to keep it: the store measures, and
 * asks here what an archive needs. A subtree that another archive has, too, is
 * gone into once.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/upkeep.h"
#include "engine/walk.h"

enum { TRIES = 3 }; /* where a prune frees something meanwhile */

struct stats {
    struct cs_store *store;
    const struct engine_stats_options *options;
    struct engine_stats_result *result;
    struct cs_needs *needs; /* of the archive at hand */
    uint64_t done;          /* bytes that archives have allocated, then bytes of packs */
    uint64_t total;
};

/* An object that is not part of a tree or blob. */
static int need_record(struct stats *s, enum cs_type type, const struct cs_id *id,
                       struct error *err)
{
    struct cs_error ce;
    void *data = NULL;
    size_t len = 0;
    bool fresh;
    int rc = cs_read_object(s->store, type, id, &data, &len, &ce);
    if (rc == 0)
        rc = cs_need(s->needs, id, data, len, &fresh, &ce);
    free(data);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

static int need_chunks(struct stats *s, const uint8_t *leaf, size_t len, struct cs_error *err)
{
    struct cs_content content = {0};
    bool fresh;
    int rc = cs_content_decode(&content, leaf, len, cs_region_size(s->store), err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++)
        rc = cs_need(s->needs, &content.chunks[i].id, NULL, 0, &fresh, err);
    cs_content_clear(&content);
    return rc;
}

static int visit(struct stats *s, bool content, const struct cs_subtree *at, const uint8_t *data,
                 size_t len, struct cs_error *err)
{
    bool fresh = false;
    int rc = cs_need(s->needs, &at->id, data, len, &fresh, err);
    if (rc == 0 && fresh && content && at->level == 0)
        rc = need_chunks(s, data, len, err);
    return rc < 0 ? rc : fresh;
}

static int visit_content(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                         struct cs_error *err)
{
    return visit(arg, true, at, data, len, err);
}

static int visit_placement(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                           struct cs_error *err)
{
    return visit(arg, false, at, data, len, err);
}

static int need_tree(void *arg, const struct cs_tree *tree, const struct record_layer *layer,
                     const char *where, struct error *err)
{
    struct stats *s = arg;
    struct cs_error ce;
    (void)layer;
    if (cs_tree_walk(s->store, tree,
                     tree->kind == CS_TREE_CONTENT ? visit_content : visit_placement, s, &ce) == 0)
        return 0;
    engine_store_error(err, &ce);
    return error_wrap(err, "%s", where);
}

static int need_blob(void *arg, const struct record_blob *blob, const char *where,
                     struct error *err)
{
    struct stats *s = arg;
    struct cs_error ce;
    bool fresh;
    for (size_t i = 0; i < blob->count; i++)
        if (cs_need(s->needs, &blob->ids[i], NULL, 0, &fresh, &ce) < 0) {
            engine_store_error(err, &ce);
            return error_wrap(err, "%s", where);
        }
    return 0;
}

static void count(struct engine_stats_result *result, const struct record_archive *record)
{
    result->archives++;
    result->images += record->image_count;
    for (size_t i = 0; i < record->image_count; i++)
        result->bytes_virtual += record->layers[record->images[i].layers[0]].virtual_size;
    for (size_t i = 0; i < record->layer_count; i++)
        result->bytes_allocated += record->layers[i].bytes_allocated;
}

static void progress(const struct stats *s, const char *what, uint64_t done)
{
    const struct engine_listener *l = &s->options->listener;
    if (l->progress != NULL)
        l->progress(l->arg, what, done < s->total ? done : s->total, s->total);
}

static int need_archive(struct stats *s, const struct cs_archive *archive, struct error *err)
{
    struct record_archive record = {0};
    struct engine_summary summary = {0};
    struct walk_visitor visitor = {
        .tree = need_tree,
        .blob = need_blob,
        .arg = s,
        .cancel = s->options->listener.cancel,
    };
    int rc = need_record(s, CS_ARCHIVE_RECORD, &archive->id, err);
    if (rc == 0)
        rc = record_archive_read(&record, s->store, &archive->id, err);
    for (size_t i = 0; rc == 0 && i < record.layer_count; i++)
        rc = need_record(s, CS_LAYER_RECORD, &record.layers[i].id, err);
    if (rc == 0)
        rc = walk_record(&record, &visitor, err);
    if (rc == 0 && (s->options->archive == NULL || s->options->archive == archive))
        count(s->result, &record);
    record_archive_clear(&record);
    if (rc == 0 && engine_read_summary(archive, &summary, NULL) == 0)
        s->done += summary.bytes_allocated;
    progress(s, archive->name, s->done);
    return rc;
}

/* An error of the engine on its way through the store. */
static int to_store(const struct error *err, struct cs_error *out)
{
    enum cs_code code = CS_IO;
    if (err->code == ERROR_CORRUPT)
        code = CS_CORRUPT;
    else if (err->code == ERROR_NO_MEMORY)
        code = CS_NO_MEMORY;
    else if (err->code == ERROR_INTERRUPTED)
        code = CS_CANCELLED;
    else if (err->code == ERROR_CONFLICT)
        code = CS_CONFLICT;
    return cs_fail(out, code, "%s", err->message);
}

static int on_mark(void *arg, const struct cs_archive *archive, struct cs_needs *needs,
                   struct cs_error *out)
{
    struct stats *s = arg;
    struct error err = {0};
    char hex[CS_ID_HEX];
    s->needs = needs;
    if (need_archive(s, archive, &err) == 0)
        return 0;
    error_wrap(&err, "archive %.16s of %s", cs_id_hex(&archive->id, hex), archive->name);
    return to_store(&err, out);
}

static void on_packs(void *arg, uint64_t done, uint64_t total)
{
    const struct stats *s = arg;
    progress(s, "packs", total > 0 ? s->total / 2 + s->total / 2 * done / total : 0);
}

static int stats_once(struct cs_store *store, const struct engine_stats_options *options,
                      struct engine_stats_result *result, struct error *err)
{
    struct cs_error ce;
    struct stats s = {.store = store, .options = options, .result = result};
    struct cs_stats_options store_options = {
        .archive = options->archive,
        .mark = on_mark,
        .progress = on_packs,
        .arg = &s,
    };
    *result = (struct engine_stats_result){0};
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        struct engine_summary summary = {0};
        if (engine_read_summary(cs_archive_at(store, i), &summary, NULL) == 0)
            s.total += 2 * summary.bytes_allocated; /* once for the archives, once for the packs */
    }
    return cs_stats(store, &store_options, &result->store, &ce) < 0 ? engine_store_error(err, &ce)
                                                                    : 0;
}

int engine_stats(struct cs_store *store, const struct engine_stats_options *options,
                 struct engine_stats_result *result, struct error *err)
{
    int rc = ERROR_CONFLICT;
    for (int tries = 0; rc == ERROR_CONFLICT && tries < TRIES; tries++)
        rc = stats_once(store, options, result, err);
    return rc;
}
