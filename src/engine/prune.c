/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Freeing space: the store does it, and asks here what an archive needs. A subtree that was marked
 * for another archive is passed over.
 */
#include <string.h>

#include "engine/engine.h"
#include "engine/walk.h"

struct prune {
    struct cs_store *store;
    const struct engine_prune_options *options;
    struct cs_marker *marker; /* of the archive at hand */
};

static int mark(struct cs_marker *marker, const struct cs_id *id, struct cs_error *err)
{
    bool fresh;
    return cs_mark(marker, id, &fresh, err);
}

static int mark_chunks(struct prune *p, const uint8_t *leaf, size_t len, struct cs_error *err)
{
    struct cs_content content = {0};
    int rc = cs_content_decode(&content, leaf, len, cs_region_size(p->store), err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++)
        rc = mark(p->marker, &content.chunks[i].id, err);
    cs_content_clear(&content);
    return rc;
}

/* A node or leaf is marked before what is below it; should that fail, the whole prune does. */
static int visit(struct prune *p, bool content, const struct cs_subtree *at, const uint8_t *data,
                 size_t len, struct cs_error *err)
{
    bool fresh = false;
    int rc = cs_mark(p->marker, &at->id, &fresh, err);
    if (rc == 0 && fresh && content && at->level == 0)
        rc = mark_chunks(p, data, len, err);
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

static int mark_tree(void *arg, const struct cs_tree *tree, const struct record_layer *layer,
                     const char *where, struct error *err)
{
    struct prune *p = arg;
    struct cs_error ce;
    (void)layer;
    if (cs_tree_walk(p->store, tree,
                     tree->kind == CS_TREE_CONTENT ? visit_content : visit_placement, p, &ce) == 0)
        return 0;
    engine_store_error(err, &ce);
    return error_wrap(err, "%s", where);
}

static int mark_blob(void *arg, const struct record_blob *blob, const char *where,
                     struct error *err)
{
    struct prune *p = arg;
    struct cs_error ce;
    for (size_t i = 0; i < blob->count; i++)
        if (mark(p->marker, &blob->ids[i], &ce) < 0) {
            engine_store_error(err, &ce);
            return error_wrap(err, "%s", where);
        }
    return 0;
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
    return cs_fail(out, code, "%s", err->message);
}

static int mark_archive(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                        struct cs_error *out)
{
    struct prune *p = arg;
    struct record_archive record = {0};
    struct error err = {0};
    struct walk_visitor visitor = {
        .tree = mark_tree,
        .blob = mark_blob,
        .arg = p,
        .cancel = p->options->listener.cancel,
    };
    p->marker = marker;
    int rc = mark(marker, &archive->id, out);
    if (rc < 0)
        return rc;
    rc = record_archive_read(&record, p->store, &archive->id, &err);
    for (size_t i = 0; rc == 0 && i < record.layer_count; i++) {
        struct cs_error ce;
        if (mark(marker, &record.layers[i].id, &ce) < 0)
            rc = engine_store_error(&err, &ce);
    }
    if (rc == 0)
        rc = walk_record(&record, &visitor, &err);
    record_archive_clear(&record);
    return rc < 0 ? to_store(&err, out) : 0;
}

static void on_warning(void *arg, const char *message)
{
    const struct engine_listener *l = &((const struct prune *)arg)->options->listener;
    if (l->warning != NULL)
        l->warning(l->arg, message);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct engine_listener *l = &((const struct prune *)arg)->options->listener;
    if (l->progress != NULL)
        l->progress(l->arg, "packs", done, total);
}

int engine_prune(struct cs_store *store, const struct engine_prune_options *options,
                 struct cs_prune_result *result, struct error *err)
{
    struct cs_error ce;
    struct prune p = {.store = store, .options = options};
    struct cs_prune_options store_options = {
        .max_unused = options->max_unused,
        .dry_run = options->dry_run,
        .no_grace = options->no_grace,
        .mark = mark_archive,
        .warning = on_warning,
        .progress = on_progress,
        .arg = &p,
    };
    return cs_prune(store, &store_options, result, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}
