/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Going through all that an archive needs, from its record to the chunks. A
 * record, node or leaf that is missing hides what it names, and nothing else.
 * What each object is needed for is the caller's.
 */
#include "engine/needs.h"

#include "engine/record.h"
#include "engine/subtree_set.h"
#include "engine/walk.h"

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
    else if (err->code == ERROR_AUTH)
        code = CS_AUTH;
    else if (err->code == ERROR_UNSUPPORTED)
        code = CS_UNSUPPORTED;
    return cs_fail(out, code, "%s", err->message);
}

static int need(const struct needs *n, const struct cs_id *id, struct cs_error *err)
{
    return n->need(n->arg, id, NULL, err);
}

static int need_chunks(const struct needs *n, const uint8_t *leaf, size_t len, struct cs_error *err)
{
    struct cs_content content = {0};
    int rc = cs_content_decode(&content, leaf, len, cs_region_size(n->store), err);
    if (rc == CS_CORRUPT)
        return n->missing(n->arg, NULL, err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++)
        rc = need(n, &content.chunks[i].id, err);
    cs_content_clear(&content);
    return rc;
}

static int visit(const struct needs *n, bool content, const struct cs_subtree *at,
                 const uint8_t *data, size_t len, struct cs_error *err)
{
    struct cs_error why = {0};
    bool fresh = false;
    if (data == NULL)
        why = *err;
    int rc = n->need(n->arg, &at->id, &fresh, err);
    if (rc == 0 && data == NULL) {
        *err = why;
        return n->missing(n->arg, &at->id, err);
    }
    if (rc == 0 && fresh && content && at->level == 0)
        rc = need_chunks(n, data, len, err);
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
    const struct needs *n = arg;
    struct cs_error ce = {0};
    (void)layer;
    int rc = cs_tree_walk_past_damage(
        n->store, tree, tree->kind == CS_TREE_CONTENT ? visit_content : visit_placement, arg, &ce);
    if (rc == CS_CORRUPT)
        rc = n->missing(n->arg, NULL, &ce);
    if (rc == 0)
        return 0;
    engine_store_error(err, &ce);
    return error_wrap(err, "%s", where);
}

static int need_blob(void *arg, const struct record_blob *blob, const char *where,
                     struct error *err)
{
    struct cs_error ce;
    for (size_t i = 0; i < blob->count; i++)
        if (need(arg, &blob->ids[i], &ce) < 0) {
            engine_store_error(err, &ce);
            return error_wrap(err, "%s", where);
        }
    return 0;
}

/* What has come of reading the record ${id}. */
static int past(const struct needs *n, const struct cs_id *id, int rc, const struct error *why,
                struct cs_error *err)
{
    if (rc == 0)
        return 0;
    int code = to_store(why, err);
    return code == CS_CORRUPT ? n->missing(n->arg, id, err) : code;
}

static int need_layers(const struct needs *n, struct record_archive *record, struct cs_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < record->layer_count; i++) {
        struct error why = {0};
        struct cs_id id = record->layers[i].id;
        rc = need(n, &id, err);
        if (rc == 0)
            rc = past(n, &id, record_layer_read(&record->layers[i], n->store, &why), &why, err);
    }
    return rc;
}

int needs_walk(const struct needs *n, const struct cs_id *archive, struct cs_error *err)
{
    struct record_archive record = {0};
    struct error why = {0};
    struct walk_visitor visitor = {
        .tree = need_tree, .blob = need_blob, .arg = (void *)n, .cancel = n->cancel};
    int rc = need(n, archive, err);
    if (rc < 0)
        return rc;
    if (record_archive_read_alone(&record, n->store, archive, &why) < 0)
        return past(n, archive, why.code, &why, err);
    rc = need_layers(n, &record, err);
    if (rc == 0 && walk_record(&record, &visitor, &why) < 0)
        rc = to_store(&why, err);
    record_archive_clear(&record);
    return rc;
}

/* ---- whether they are met ---- */

struct meeting {
    struct cs_store *store;
    struct subtree_set seen; /* nodes and leaves: snapshots share them */
};

static int see_first(struct meeting *m, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    const struct cs_subtree at = {.id = *id};
    *fresh = !subtree_set_has(&m->seen, &at, 0);
    return *fresh ? subtree_set_add(&m->seen, &at, 0, err) : 0;
}

static int meet(void *arg, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    struct meeting *m = arg;
    char hex[CS_ID_HEX];
    bool found = false;
    int rc = cs_has_sound_object(m->store, id, &found, err);
    if (rc == 0 && !found)
        rc = cs_fail(err, CS_CORRUPT, "object %s is missing", cs_id_hex(id, hex));
    return rc == 0 && fresh != NULL ? see_first(m, id, fresh, err) : rc;
}

static int give_up(void *arg, const struct cs_id *id, struct cs_error *err)
{
    (void)arg;
    (void)id;
    return err->code;
}

int needs_are_met(struct cs_store *store, const struct cs_id *archive, const volatile int *cancel,
                  bool *met, struct error *why, struct error *err)
{
    struct meeting m = {.store = store};
    struct needs needs = {
        .store = store, .need = meet, .missing = give_up, .arg = &m, .cancel = cancel};
    struct cs_error ce = {0};
    int rc = needs_walk(&needs, archive, &ce);
    subtree_set_clear(&m.seen);
    *met = rc == 0;
    if (rc == CS_CORRUPT)
        engine_store_error(why, &ce);
    return rc < 0 && rc != CS_CORRUPT ? engine_store_error(err, &ce) : 0;
}
