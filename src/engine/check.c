/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking: the store against its format, then every archive's records and
 * trees: all that they name must be there. Subtrees that archives share are
 * walked once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/engine.h"
#include "engine/record.h"
#include "engine/walk.h"
#include "qcow2/header.h"

enum { SEEN_WORDS = 3, CLUSTER_MIN = 512 };

/* What was found whole, by the first bytes of its id (with what else it was held against mixed in)
 * and the bytes that it stands for. */
struct seen {
    uint64_t (*keys)[SEEN_WORDS];
    size_t count;
    size_t room; /* a power of two */
};

struct archive_check {
    struct cs_store *store;
    const struct engine_check_options *options;
    struct engine_check_result *result;
    struct seen seen;
    struct cs_place *places; /* of a region */
    unsigned cluster_bits;   /* of the layer at hand; 0: raw */
    bool extended;
    const struct cs_archive *archive; /* at hand */
    const char *where;                /* the layer at hand */
    uint64_t errors;                  /* of the archive at hand */
};

/* Others may forget an archive while it is checked, and free what it had: reading notices. */
static bool is_live(const struct archive_check *c)
{
    for (size_t i = 0; i < cs_archive_count(c->store); i++)
        if (cs_archive_at(c->store, i) == c->archive)
            return true;
    return false;
}

static void report(struct archive_check *c, const char *message)
{
    if (!is_live(c))
        return;
    c->errors++;
    c->result->errors++;
    c->options->report(c->options->listener.arg, message);
}

static uint64_t *seen_slot(struct seen *s, const uint64_t key[SEEN_WORDS])
{
    for (size_t at = key[0] & (s->room - 1);; at = (at + 1) & (s->room - 1))
        if ((s->keys[at][0] == 0 && s->keys[at][1] == 0) ||
            memcmp(s->keys[at], key, sizeof *s->keys) == 0)
            return s->keys[at];
}

/* A placement leaf that is right in one layer is not in another with other clusters, nor a node in
 * a tree that ends earlier. */
static void key_of(const struct archive_check *c, const struct cs_subtree *at,
                   uint64_t key[SEEN_WORDS])
{
    memcpy(key, at->id.bytes, 2 * sizeof *key);
    key[1] ^= (at->level > 0 ? at->end << 6 : 0) | c->cluster_bits << 1 | c->extended;
    key[2] = at->bytes;
}

static bool was_seen(struct archive_check *c, const struct cs_subtree *at)
{
    uint64_t key[SEEN_WORDS];
    key_of(c, at, key);
    return c->seen.room > 0 && memcmp(seen_slot(&c->seen, key), key, sizeof key) == 0;
}

static int mark_seen(struct archive_check *c, const struct cs_subtree *at, struct cs_error *err)
{
    struct seen *s = &c->seen;
    uint64_t key[SEEN_WORDS];
    if (s->count * 2 >= s->room) {
        struct seen bigger = {.room = s->room > 0 ? s->room * 2 : 4096, .count = s->count};
        bigger.keys = calloc(bigger.room, sizeof *bigger.keys);
        if (bigger.keys == NULL)
            return cs_fail_memory(err);
        for (size_t i = 0; i < s->room; i++)
            if (s->keys[i][0] != 0 || s->keys[i][1] != 0)
                memcpy(seen_slot(&bigger, s->keys[i]), s->keys[i], sizeof key);
        free(s->keys);
        *s = bigger;
    }
    key_of(c, at, key);
    memcpy(seen_slot(s, key), key, sizeof key);
    s->count++;
    return 0;
}

static int check_bytes(const struct cs_subtree *at, const char *kind, uint64_t bytes,
                       struct cs_error *err)
{
    char hex[CS_ID_HEX];
    if (bytes == at->bytes)
        return 0;
    return cs_fail(err, CS_CORRUPT,
                   "%s leaf %.16s of region %" PRIu64 ": it stands for %" PRIu64
                   " bytes, where %" PRIu64 " belong",
                   kind, cs_id_hex(&at->id, hex), at->region, bytes, at->bytes);
}

static int check_content(struct archive_check *c, const struct cs_subtree *at, const uint8_t *leaf,
                         size_t len, struct cs_error *err)
{
    struct cs_content content = {0};
    uint64_t bytes = 0;
    int rc = cs_content_decode(&content, leaf, len, cs_region_size(c->store), err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++) {
        bool found = false;
        bytes += content.chunks[i].length;
        rc = cs_has_object(c->store, &content.chunks[i].id, &found, err);
        if (rc == 0 && !found) {
            char message[256], hex[CS_ID_HEX];
            snprintf(message, sizeof message, "%.120s: chunk %s is not in the index", c->where,
                     cs_id_hex(&content.chunks[i].id, hex));
            report(c, message);
        }
    }
    cs_content_clear(&content);
    return rc < 0 ? rc : check_bytes(at, "content", bytes, err);
}

static int check_placement(struct archive_check *c, const struct cs_subtree *at,
                           const uint8_t *leaf, size_t len, struct cs_error *err)
{
    size_t n = cs_region_size(c->store) >> c->cluster_bits;
    int rc = cs_placement_decode(c->places, n, c->cluster_bits, leaf, len, err);
    if (rc < 0)
        return rc;
    return check_bytes(at, "placement",
                       cs_placement_bytes(c->places, n, c->cluster_bits, c->extended), err);
}

typedef int check_leaf_fn(struct archive_check *c, const struct cs_subtree *at, const uint8_t *leaf,
                          size_t len, struct cs_error *err);

static int visit(struct archive_check *c, check_leaf_fn *check_leaf, const struct cs_subtree *at,
                 const uint8_t *data, size_t len, struct cs_error *err)
{
    if (was_seen(c, at))
        return 0;
    uint64_t before = c->errors;
    int rc = at->level == 0 ? check_leaf(c, at, data, len, err) : 0;
    /* only what is whole is passed over in the next archive: that one must be told as well */
    if (rc == 0 && at->level == 0 && c->errors == before)
        rc = mark_seen(c, at, err);
    return rc < 0 ? rc : 1;
}

static int visit_content(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                         struct cs_error *err)
{
    return visit(arg, check_content, at, data, len, err);
}

static int visit_placement(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                           struct cs_error *err)
{
    return visit(arg, check_placement, at, data, len, err);
}

static int check_tree(void *arg, const struct cs_tree *tree, const struct record_layer *layer,
                      const char *where, struct error *err)
{
    struct archive_check *c = arg;
    struct cs_error ce;
    c->where = where;
    c->cluster_bits = layer->qcow2.cluster_bits;
    c->extended = layer->qcow2.incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    struct cs_subtree root = {
        .level = tree->level, .end = tree->regions, .id = tree->root, .bytes = tree->bytes};
    uint64_t before = c->errors;
    if (!tree->empty && was_seen(c, &root))
        return 0;
    int rc = cs_tree_walk(c->store, tree,
                          tree->kind == CS_TREE_CONTENT ? visit_content : visit_placement, c, &ce);
    if (rc == CS_CORRUPT) {
        char message[1200];
        snprintf(message, sizeof message, "%.120s: %s", c->where, ce.message);
        report(c, message);
        return 0;
    }
    if (rc == 0 && !tree->empty && c->errors == before && !was_seen(c, &root))
        rc = mark_seen(c, &root, &ce);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

static int check_blob(void *arg, const struct record_blob *blob, const char *where,
                      struct error *err)
{
    struct archive_check *c = arg;
    struct cs_error ce;
    c->where = where;
    for (size_t i = 0; i < blob->count; i++) {
        bool found = false;
        if (cs_has_object(c->store, &blob->ids[i], &found, &ce) < 0)
            return engine_store_error(err, &ce);
        if (!found) {
            char message[256], hex[CS_ID_HEX];
            snprintf(message, sizeof message, "%.120s: chunk %s is not in the index", c->where,
                     cs_id_hex(&blob->ids[i], hex));
            report(c, message);
        }
    }
    return 0;
}

static int check_archive(struct archive_check *c, const struct cs_archive *archive,
                         struct error *err)
{
    struct record_archive record = {0};
    c->where = archive->name;
    int rc = record_archive_read(&record, c->store, &archive->id, err);
    if (rc == ERROR_CORRUPT) {
        report(c, err->message);
        return 0;
    }
    struct walk_visitor visitor = {
        .tree = check_tree,
        .blob = check_blob,
        .arg = c,
        .cancel = c->options->listener.cancel,
    };
    if (rc == 0)
        rc = walk_record(&record, &visitor, err);
    c->where = "";
    record_archive_clear(&record);
    return rc;
}

static int check_archives(struct archive_check *c, struct error *err)
{
    size_t n = cs_archive_count(c->store);
    c->result->damaged = calloc(n + 1, sizeof *c->result->damaged);
    c->places = calloc(cs_region_size(c->store) / CLUSTER_MIN, sizeof *c->places);
    if (c->result->damaged == NULL || c->places == NULL)
        return error_no_memory(err);
    const struct cs_archive **archives = calloc(n + 1, sizeof(struct cs_archive *));
    if (archives == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < n; i++) /* the list may change underway */
        archives[i] = cs_archive_at(c->store, i);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        c->archive = archives[i];
        c->errors = 0;
        rc = check_archive(c, archives[i], err);
        if (rc == 0 && c->errors > 0)
            c->result->damaged[c->result->damaged_count++] = archives[i]->id;
    }
    free(archives);
    return rc;
}

int engine_check_archives(struct cs_store *store, const struct engine_check_options *options,
                          struct engine_check_result *result, struct error *err)
{
    struct archive_check c = {.store = store, .options = options, .result = result};
    int rc = check_archives(&c, err);
    free(c.seen.keys);
    free(c.places);
    return rc;
}

static void store_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct engine_listener *l = &((const struct engine_check_options *)arg)->listener;
    if (l->progress != NULL)
        l->progress(l->arg, "packs", done, total);
}

static void store_report(void *arg, const char *message)
{
    const struct engine_check_options *options = arg;
    options->report(options->listener.arg, message);
}

int engine_check(struct cs_store *store, const struct engine_check_options *options,
                 struct engine_check_result *result, struct error *err)
{
    struct cs_error ce;
    struct cs_check_result store_result;
    struct engine_check_options copy = *options;
    struct cs_check_options store_options = {
        .read_data = options->read_data,
        .report = store_report,
        .progress = store_progress,
        .arg = &copy,
    };
    *result = (struct engine_check_result){0};
    if (cs_check(store, &store_options, &store_result, &ce) < 0)
        return engine_store_error(err, &ce);
    result->errors = store_result.errors;
    result->packs_checked = store_result.packs_checked;
    result->bytes_checked = store_result.bytes_checked;
    result->data_unopened = store_result.data_unopened;
    return engine_check_archives(store, options, result, err);
}

void engine_check_result_clear(struct engine_check_result *result)
{
    free(result->damaged);
    *result = (struct engine_check_result){0};
}
