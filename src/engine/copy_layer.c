/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A layer from one repository into another. Ids are keyed, so that trees are
 * built anew: the data of a content leaf is cut and named by the other
 * repository, a placement leaf goes over as it is. What is known to be there
 * already is neither read nor written. Archives are copy.c's.
 */
#include "engine/copy_layer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/blob.h"
#include "engine/record_parts.h"
#include "qcow2/header.h"

enum { SECTOR = 512 };

struct tree_copy { /* one tree on its way */
    struct copy_run *run;
    const struct record_layer *layer;
    const struct cs_tree *tree; /* in the repository that it comes from */
    struct cs_tree_reader *reader;
    struct cs_tree_builder *builder;
};

/* What decides beside its bytes whether a leaf or root is right in this tree: the same as in
 * check.c. */
static uint64_t context_of(const struct tree_copy *c, unsigned level)
{
    const struct record_qcow2 *q = &c->layer->qcow2;
    bool extended = (q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    return (level > 0 ? c->tree->regions << 6 : 0) |
           (c->tree->kind == CS_TREE_PLACEMENT ? q->cluster_bits << 1 | extended : 0);
}

static void progress(struct tree_copy *c, uint64_t bytes)
{
    const struct engine_listener *l = c->run->listener;
    if (c->tree->kind != CS_TREE_CONTENT)
        return;
    c->run->done += bytes;
    if (l->fresh != NULL) {
        struct cs_counters stored;
        cs_writer_counters(c->run->writer, &stored);
        l->fresh(l->arg, stored.bytes_new);
    }
    if (l->progress != NULL)
        l->progress(l->arg, c->layer->file.path, c->run->done, c->run->total);
}

/* ---- leaves ---- */

static int bad_leaf(const struct cs_subtree *at, const char *what, struct error *err)
{
    char hex[CS_ID_HEX];
    struct cs_error ce;
    cs_fail(&ce, CS_CORRUPT, "leaf %.16s of region %" PRIu64 ": %s", cs_id_hex(&at->id, hex),
            at->region, what);
    return engine_store_error(err, &ce);
}

static int read_leaf(struct tree_copy *c, const struct cs_subtree *at, const uint8_t **leaf,
                     size_t *len, struct error *err)
{
    struct cs_error ce;
    uint64_t region;
    bool found = false;
    if (cs_tree_next(c->reader, at->region, &region, leaf, len, &found, &ce) < 0)
        return engine_store_error(err, &ce);
    return found && region == at->region ? 0 : bad_leaf(at, "is not there", err);
}

static int copy_placement(struct tree_copy *c, const struct cs_subtree *at, struct error *err)
{
    struct copy_run *run = c->run;
    const struct record_qcow2 *q = &c->layer->qcow2;
    struct cs_error ce;
    const uint8_t *leaf = NULL;
    size_t len = 0, n = cs_region_size(run->from) >> q->cluster_bits;
    int rc = read_leaf(c, at, &leaf, &len, err);
    if (rc < 0)
        return rc;
    if (cs_placement_decode(run->places, n, q->cluster_bits, leaf, len, &ce) < 0)
        return engine_store_error(err, &ce);
    bool extended = (q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    if (cs_placement_bytes(run->places, n, q->cluster_bits, extended) != at->bytes)
        return bad_leaf(at, "does not stand for the bytes that its node says", err);
    if (cs_tree_add(c->builder, at->region, leaf, len, at->bytes, &ce) < 0)
        return engine_store_error(err, &ce);
    if (len <= CS_META_OBJECT_MAX) { /* a larger one has the id of a list */
        struct cs_id id;
        if (cs_object_id(run->to, CS_META, CS_PLACEMENT_LEAF, leaf, len, &id, &ce) < 0)
            return engine_store_error(err, &ce);
        copy_memo_add(&run->memo, &at->id, context_of(c, 0), &id, at->bytes);
    }
    return 0;
}

/* Tells the memo of a content leaf that is stored. */
static void remember_leaf(void *arg, const struct cs_region *region, const struct cs_id *leaf,
                          uint64_t bytes)
{
    copy_memo_add(arg, &region->tag, 0, leaf, bytes);
}

/* Whether a backup could have put these runs. */
static bool runs_are_right(const struct cs_content *content, const struct cs_region *region)
{
    if (content->run_count > region->run_capacity)
        return false;
    for (size_t i = 0; i < content->run_count; i++)
        if (content->runs[i].offset % SECTOR != 0 ||
            (content->runs[i].length % SECTOR != 0 && i + 1 < content->run_count))
            return false;
    return true;
}

static int add_region(struct tree_copy *c, const struct cs_subtree *at,
                      const struct cs_content *content, struct error *err)
{
    struct copy_run *run = c->run;
    struct cs_error ce;
    struct cs_region *region = NULL;
    uint64_t bytes = 0;
    for (size_t i = 0; i < content->chunk_count; i++)
        bytes += content->chunks[i].length;
    if (bytes != at->bytes)
        return bad_leaf(at, "does not stand for the bytes that its node says", err);
    if (cs_region_get(run->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    if (!runs_are_right(content, region)) {
        cs_region_cancel(run->writer, region);
        return bad_leaf(at, "has runs of half sectors", err);
    }
    memcpy(region->runs, content->runs, content->run_count * sizeof *content->runs);
    region->run_count = content->run_count;
    region->index = at->region;
    region->stored = remember_leaf;
    region->arg = &run->memo;
    region->tag = at->id;
    return copy_batch_add(run->batch, region, content, err);
}

static int copy_content(struct tree_copy *c, const struct cs_subtree *at, struct error *err)
{
    struct cs_error ce;
    struct cs_content content = {0};
    const uint8_t *leaf = NULL;
    size_t len = 0;
    int rc = read_leaf(c, at, &leaf, &len, err);
    if (rc == 0 && cs_content_decode(&content, leaf, len, cs_region_size(c->run->from), &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = add_region(c, at, &content, err);
    cs_content_clear(&content);
    return rc;
}

/* ---- trees ---- */

/* The first leaf at or after region ${from}, without reading it. */
static int next_leaf(struct tree_copy *c, uint64_t from, struct cs_subtree *leaf, bool *found,
                     struct error *err)
{
    struct cs_error ce;
    *found = false;
    while (!*found && from < c->tree->regions) {
        if (cs_tree_find(c->reader, 0, from, leaf, found, &ce) < 0)
            return engine_store_error(err, &ce);
        unsigned level = 0; /* of the largest subtree around it that is not there */
        for (bool there = *found; !there && level < c->tree->level;) {
            struct cs_subtree above;
            if (cs_tree_find(c->reader, level + 1, from, &above, &there, &ce) < 0)
                return engine_store_error(err, &ce);
            level += !there;
        }
        if (!*found)
            from = (from | ((UINT64_C(1) << (6 * level)) - 1)) + 1;
    }
    return 0;
}

static int copy_leaf(struct tree_copy *c, const struct cs_subtree *at, struct error *err)
{
    struct cs_error ce;
    struct cs_subtree known = {.region = at->region, .end = c->tree->regions};
    bool content = c->tree->kind == CS_TREE_CONTENT;
    int rc = 0;
    if (!copy_memo_find(&c->run->memo, &at->id, context_of(c, 0), &known.id, &known.bytes))
        rc = content ? copy_content(c, at, err) : copy_placement(c, at, err);
    else if (content)
        rc = copy_batch_add_known(c->run->batch, &known, err);
    else if (cs_tree_add_subtree(c->builder, &known, &ce) < 0)
        rc = engine_store_error(err, &ce);
    progress(c, at->bytes);
    return rc;
}

static int copy_leaves(struct tree_copy *c, struct error *err)
{
    const volatile int *cancel = c->run->listener->cancel;
    struct cs_subtree leaf = {0};
    bool found = !c->tree->empty;
    int rc = 0;
    for (uint64_t from = 0; rc == 0 && found; from = leaf.region + 1) {
        rc = next_leaf(c, from, &leaf, &found, err);
        if (rc == 0 && found)
            rc = copy_leaf(c, &leaf, err);
        if (rc == 0 && cancel != NULL && *cancel)
            rc = error_set(err, ERROR_INTERRUPTED, "stopped");
    }
    return rc;
}

static int copy_tree(struct copy_run *run, const struct record_layer *layer, struct cs_tree *tree,
                     struct error *err)
{
    struct cs_error ce;
    struct cs_tree out = *tree;
    struct tree_copy c = {.run = run, .layer = layer, .tree = tree};
    uint64_t context = context_of(&c, tree->level);
    if (!tree->empty && copy_memo_find(&run->memo, &tree->root, context, &out.root, &out.bytes)) {
        progress(&c, tree->bytes);
        *tree = out;
        return 0;
    }
    if (cs_tree_open(&c.reader, run->from, tree, &ce) < 0 ||
        cs_tree_begin(&c.builder, run->writer, tree->kind, tree->regions, &ce) < 0) {
        cs_tree_close(c.reader);
        return engine_store_error(err, &ce);
    }
    copy_batch_begin(run->batch, run->writer, c.builder);
    int rc = copy_leaves(&c, err);
    if (rc == 0)
        rc = copy_batch_end(run->batch, err);
    cs_tree_close(c.reader);
    if (rc < 0) {
        copy_batch_drop(run->batch);
        cs_tree_abort(c.builder);
        return rc;
    }
    if (cs_tree_finish(c.builder, &out, &ce) < 0)
        return engine_store_error(err, &ce);
    if (!tree->empty && !out.empty)
        copy_memo_add(&run->memo, &tree->root, context, &out.root, out.bytes);
    *tree = out;
    return 0;
}

/* ---- what was copied before ---- */

/* Goes through both trees side by side. Where they have leaves at other places one is no copy of
 * the other, and nothing more is taken from it. */
static int learn_leaves(struct tree_copy *c, struct cs_tree_reader *there, bool *whole,
                        struct error *err)
{
    const volatile int *cancel = c->run->listener->cancel;
    struct cs_error ce;
    struct cs_subtree leaf = {0}, twin;
    bool found = true;
    *whole = true;
    for (uint64_t from = 0; *whole; from = leaf.region + 1) {
        int rc = next_leaf(c, from, &leaf, &found, err);
        if (rc < 0 || !found)
            return rc;
        if (cs_tree_find(there, 0, leaf.region, &twin, whole, &ce) < 0)
            return engine_store_error(err, &ce);
        if (*whole)
            copy_memo_add(&c->run->memo, &leaf.id, context_of(c, 0), &twin.id, twin.bytes);
        if (cancel != NULL && *cancel)
            return error_set(err, ERROR_INTERRUPTED, "stopped");
    }
    return 0;
}

static int learn_tree(struct copy_run *run, const struct record_layer *layer,
                      const struct cs_tree *tree, const struct cs_tree *there, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_reader *reader = NULL;
    struct tree_copy c = {.run = run, .layer = layer, .tree = tree};
    struct cs_id id;
    uint64_t context = context_of(&c, tree->level), bytes;
    bool whole = false;
    if (tree->empty || there->empty || tree->regions != there->regions ||
        copy_memo_find(&run->memo, &tree->root, context, &id, &bytes))
        return 0;
    int rc = 0;
    if (cs_tree_open(&c.reader, run->from, tree, &ce) < 0 ||
        cs_tree_open(&reader, run->to, there, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0)
        rc = learn_leaves(&c, reader, &whole, err);
    cs_tree_close(c.reader);
    cs_tree_close(reader);
    if (rc == 0 && whole)
        copy_memo_add(&run->memo, &tree->root, context, &there->root, there->bytes);
    return rc;
}

int copy_learn(struct copy_run *run, const struct record_layer *layer,
               const struct record_layer *there, struct error *err)
{
    int rc = 0;
    if (layer->is_qcow2 != there->is_qcow2 || layer->view_count != there->view_count ||
        layer->qcow2.cluster_bits != there->qcow2.cluster_bits)
        return 0;
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++) {
        const struct record_view *v = &layer->views[i], *w = &there->views[i];
        rc = learn_tree(run, layer, &v->content, &w->content, err);
        if (rc == 0 && layer->is_qcow2)
            rc = learn_tree(run, layer, &v->placement, &w->placement, err);
    }
    return rc;
}

/* ---- the rest ---- */

int copy_blob(struct copy_run *run, struct record_blob *blob, struct error *err)
{
    struct record_blob out = {0};
    int rc = blob_copy(run->writer, run->from, blob, &out, err);
    struct record_blob *unwanted = rc == 0 ? blob : &out;
    record_blob_clear(unwanted);
    if (rc == 0)
        *blob = out;
    return rc;
}

static int copy_qcow2(struct copy_run *run, struct record_qcow2 *q, struct error *err)
{
    int rc = copy_blob(run, &q->header, err);
    if (rc == 0)
        rc = copy_blob(run, &q->crypto, err);
    if (rc == 0 && q->data_file != NULL)
        rc = copy_blob(run, &q->data_file->tail, err);
    for (size_t i = 0; rc == 0 && i < q->bitmap_count; i++)
        rc = copy_blob(run, &q->bitmaps[i].data, err);
    return rc;
}

int copy_layer(struct copy_run *run, struct record_layer *layer, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++) {
        struct record_view *v = &layer->views[i];
        rc = copy_tree(run, layer, &v->content, err);
        if (rc == 0 && layer->is_qcow2)
            rc = copy_tree(run, layer, &v->placement, err);
        v->l1_hash = (struct cs_id){0}; /* the key was the other repository's, and no L1 is kept */
    }
    if (rc == 0 && layer->is_qcow2)
        rc = copy_qcow2(run, &layer->qcow2, err);
    if (rc < 0)
        return error_wrap(err, "%s", layer->file.path);
    layer->bytes_allocated =
        layer->is_qcow2 ? layer->views->placement.bytes : layer->views->content.bytes;
    return 0;
}
