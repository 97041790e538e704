/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking: the store against its format, then every archive's records and
 * trees: all that they name must be there, and whole as far as is known. Whole
 * subtrees that archives share are walked once; damaged ones for each archive,
 * so that each is told what it lacks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/damage.h"
#include "engine/record.h"
#include "engine/repair.h"
#include "engine/subtree_set.h"
#include "engine/upkeep.h"
#include "engine/walk.h"
#include "qcow2/header.h"

enum {
    CLUSTER_MIN = 512,
    LEVELS = 16,          /* more than a tree has */
    DAMAGED_MAX = 1 << 20 /* subtrees of one tree that are looked into in spite of damage */
};

struct archive_check {
    struct cs_store *store;
    const struct engine_check_options *options;
    struct engine_check_result *result;
    const struct cs_damage *found; /* by the store's check */
    struct subtree_set whole;      /* what need not be walked again */
    struct cs_place *places;       /* of a region */
    /* at hand: */
    const struct cs_archive *archive;
    struct record_archive record;
    struct walk_at at;
    /* the tree at hand: */
    enum cs_tree_kind kind;
    unsigned cluster_bits; /* of its layer; 0: raw */
    bool extended;
    uint64_t disk; /* bytes that the guest sees of the view */
    bool vm_state; /* is behind them */
    struct damage_part part;
    struct damage_part behind;
    uint64_t damaged;        /* subtrees that are, or have anything below them that is */
    uint64_t before[LEVELS]; /* the same when the subtree of this level was entered */
};

/* Others may forget an archive while it is checked, and free what it had: reading notices. */
static bool is_live(const struct archive_check *c)
{
    for (size_t i = 0; i < cs_archive_count(c->store); i++)
        if (cs_archive_at(c->store, i) == c->archive)
            return true;
    return false;
}

/* A placement leaf that is right in one layer is not in another with other clusters, nor a node in
 * a tree that ends earlier. */
static uint64_t mix_of(const struct archive_check *c, const struct cs_subtree *at)
{
    return (at->level > 0 ? at->end << 6 : 0) | c->cluster_bits << 1 | c->extended;
}

/* The bytes from ${begin} to ${end} of the view. What its tables span behind the disk matters only
 * where something is there. */
static void lose(struct archive_check *c, uint64_t begin, uint64_t end, const char *why)
{
    if (begin < c->disk)
        damage_part_add(&c->part, begin, (end < c->disk ? end : c->disk) - begin, why);
    if (begin < c->disk)
        begin = c->vm_state ? c->disk : end;
    if (begin < end)
        damage_part_add(&c->behind, begin, end - begin, why);
}

static void lose_regions(struct archive_check *c, uint64_t first, uint64_t last, const char *why)
{
    uint64_t size = cs_region_size(c->store);
    lose(c, first * size, last > UINT64_MAX / size ? UINT64_MAX : last * size, why);
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

/* The next ${length} bytes of the data runs, from byte ${*used} of run ${*run} on; ${why}: they are
 * lost, because of that. */
static void pass(struct archive_check *c, const struct cs_content *content, uint64_t base,
                 size_t *run, uint32_t *used, uint32_t length, const char *why)
{
    while (length > 0 && *run < content->run_count) {
        const struct cs_run *r = &content->runs[*run];
        uint32_t n = r->zero ? 0 : r->length - *used;
        if (n > length)
            n = length;
        if (why != NULL && n > 0)
            lose(c, base + r->offset + *used, base + r->offset + *used + n, why);
        *used += n;
        length -= n;
        if (r->zero || *used == r->length) {
            *used = 0;
            (*run)++;
        }
    }
}

static int check_chunks(struct archive_check *c, const struct cs_content *content, uint64_t region,
                        struct cs_error *err)
{
    size_t run = 0;
    uint32_t used = 0;
    for (size_t i = 0; i < content->chunk_count; i++) {
        const struct cs_chunk *chunk = &content->chunks[i];
        struct cs_error why;
        int rc = cs_check_object(c->store, c->found, &chunk->id, &why);
        if (rc < 0 && rc != CS_CORRUPT)
            return cs_fail(err, rc, "%s", why.message);
        c->damaged += rc < 0;
        pass(c, content, region * cs_region_size(c->store), &run, &used, chunk->length,
             rc < 0 ? why.message : NULL);
    }
    return 0;
}

static int check_content(struct archive_check *c, const struct cs_subtree *at, const uint8_t *leaf,
                         size_t len, struct cs_error *err)
{
    struct cs_content content = {0};
    uint64_t bytes = 0;
    int rc = cs_content_decode(&content, leaf, len, cs_region_size(c->store), err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++)
        bytes += content.chunks[i].length;
    if (rc == 0)
        rc = check_bytes(at, "content", bytes, err);
    if (rc == 0)
        rc = check_chunks(c, &content, at->region, err);
    cs_content_clear(&content);
    return rc;
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

static bool on_enter(void *arg, const struct cs_subtree *at)
{
    struct archive_check *c = arg;
    if (subtree_set_has(&c->whole, at, mix_of(c, at)))
        return false;
    if (c->damaged > DAMAGED_MAX) { /* nobody would read it, and it might take for ever */
        lose_regions(c, at->region, at->end, "more is damaged than can be looked at");
        return false;
    }
    c->before[at->level] = c->damaged;
    return true;
}

static int on_leaf(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                   struct cs_error *err)
{
    struct archive_check *c = arg;
    return c->kind == CS_TREE_CONTENT ? check_content(c, at, data, len, err)
                                      : check_placement(c, at, data, len, err);
}

static int on_damaged(void *arg, const struct cs_subtree *at, const struct cs_error *why,
                      struct cs_error *err)
{
    struct archive_check *c = arg;
    uint64_t regions = UINT64_C(1) << (6 * at->level);
    (void)err;
    c->damaged++;
    lose_regions(c, at->region, regions < at->end - at->region ? at->region + regions : at->end,
                 why->message);
    return 0;
}

static int on_leave(void *arg, const struct cs_subtree *at, struct cs_error *err)
{
    struct archive_check *c = arg;
    const volatile int *cancel = c->options->listener.cancel;
    if (cancel != NULL && *cancel)
        return cs_fail(err, CS_CANCELLED, "stopped");
    if (c->damaged == c->before[at->level])
        return subtree_set_add(&c->whole, at, mix_of(c, at), err);
    c->damaged++;
    return 0;
}

static int check_tree(void *arg, const struct cs_tree *tree, const struct record_layer *layer,
                      const char *where, struct error *err)
{
    struct archive_check *c = arg;
    struct cs_error ce;
    const struct cs_survey survey = {
        .enter = on_enter,
        .leaf = on_leaf,
        .damaged = on_damaged,
        .leave = on_leave,
        .arg = c,
    };
    (void)where;
    c->kind = tree->kind;
    c->cluster_bits = layer->qcow2.cluster_bits;
    c->extended = layer->qcow2.incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    c->disk = layer->virtual_size;
    c->vm_state = false;
    if (c->at.index > 0) {
        const struct record_snapshot *snapshot = &layer->qcow2.snapshots[c->at.index - 1];
        c->disk = snapshot->disk_size;
        c->vm_state = snapshot->vm_state_size > 0;
    }
    c->part = (struct damage_part){0};
    c->behind = (struct damage_part){0};
    c->damaged = 0;
    if (cs_tree_survey(c->store, tree, &survey, &ce) < 0)
        return engine_store_error(err, &ce);
    bool content = tree->kind == CS_TREE_CONTENT;
    int rc = damage_add(c->result, c->archive, &c->record, &c->at,
                        content ? ENGINE_PART_GUEST : ENGINE_PART_PLACEMENT, &c->part, err);
    if (rc == 0)
        rc = damage_add(c->result, c->archive, &c->record, &c->at,
                        content ? ENGINE_PART_VM_STATE : ENGINE_PART_PLACEMENT, &c->behind, err);
    return rc;
}

static int check_blob(void *arg, const struct record_blob *blob, const char *where,
                      struct error *err)
{
    static const enum engine_part parts[] = {
        [WALK_HEADER] = ENGINE_PART_HEADER,       [WALK_CRYPTO] = ENGINE_PART_CRYPTO,
        [WALK_TAIL] = ENGINE_PART_TAIL,           [WALK_BITMAP] = ENGINE_PART_BITMAP,
        [WALK_SIDE_FILE] = ENGINE_PART_SIDE_FILE,
    };
    struct archive_check *c = arg;
    struct cs_error why;
    uint64_t offset = 0;
    (void)where;
    c->part = (struct damage_part){0};
    for (size_t i = 0; i < blob->count; i++) {
        int rc = cs_check_object(c->store, c->found, &blob->ids[i], &why);
        if (rc < 0 && rc != CS_CORRUPT)
            return engine_store_error(err, &why);
        if (rc < 0)
            damage_part_add(&c->part, offset, blob->lengths[i], why.message);
        offset += blob->lengths[i];
    }
    return damage_add(c->result, c->archive, &c->record, &c->at, parts[c->at.part], &c->part, err);
}

static int check_archive(struct archive_check *c, struct error *err)
{
    struct walk_visitor visitor = {
        .tree = check_tree,
        .blob = check_blob,
        .arg = c,
        .at = &c->at,
        .cancel = c->options->listener.cancel,
    };
    int rc = record_archive_read(&c->record, c->store, &c->archive->id, err);
    if (rc == ERROR_CORRUPT || rc == ERROR_IO) {
        struct damage_part lost = {0};
        damage_part_add(&lost, 0, 0, err->message);
        return damage_add(c->result, c->archive, NULL, NULL, ENGINE_PART_RECORD, &lost, err);
    }
    if (rc == 0)
        rc = walk_record(&c->record, &visitor, err);
    record_archive_clear(&c->record);
    c->record = (struct record_archive){0};
    return rc;
}

/* What was found since there were ${count} parts, ${all} with those that found no room. */
static void tell(struct archive_check *c, size_t count, uint64_t all)
{
    struct engine_check_result *r = c->result;
    if (r->damage_all == all)
        return;
    if (!is_live(c)) {
        damage_cut(r, count, all);
        return;
    }
    r->damaged[r->damaged_count++] = c->archive->id;
    r->errors += r->damage_all - all;
    r->remaining += r->damage_all - all;
    for (size_t i = count; i < r->damage_count; i++)
        c->options->report(c->options->listener.arg, r->damage[i].message);
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
        size_t count = c->result->damage_count;
        uint64_t all = c->result->damage_all;
        c->archive = archives[i];
        rc = check_archive(c, err);
        if (rc == 0)
            tell(c, count, all);
    }
    free(archives);
    if (rc == 0 && c->result->damage_all > c->result->damage_count) {
        char message[96];
        snprintf(message, sizeof message, "%" PRIu64 " more parts of archives are damaged",
                 c->result->damage_all - c->result->damage_count);
        c->options->report(c->options->listener.arg, message);
    }
    return rc;
}

int engine_check_archives(struct cs_store *store, const struct engine_check_options *options,
                          const struct cs_damage *found, struct engine_check_result *result,
                          struct error *err)
{
    struct archive_check c = {.store = store, .options = options, .found = found, .result = result};
    int rc = check_archives(&c, err);
    subtree_set_clear(&c.whole);
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
    struct cs_damage found = {0};
    struct cs_check_options store_options = {
        .read_data = options->read_data,
        .damage = &found,
        .report = store_report,
        .progress = store_progress,
        .arg = &copy,
    };
    *result = (struct engine_check_result){0};
    if (cs_check(store, &store_options, &store_result, &ce) < 0) {
        cs_damage_clear(&found);
        return engine_store_error(err, &ce);
    }
    result->errors = store_result.errors;
    result->remaining = store_result.errors;
    result->packs_checked = store_result.packs_checked;
    result->bytes_checked = store_result.bytes_checked;
    result->packs_read = store_result.packs_read;
    result->read_share = store_result.read_share;
    result->damaged_share_below = store_result.damaged_share_below;
    result->data_unopened = store_result.data_unopened;
    int rc = options->repair ? repair_store(store, options, &found, result, err) : 0;
    if (rc == 0)
        rc = engine_check_archives(store, options, &found, result, err);
    cs_damage_clear(&found);
    return rc;
}

void engine_check_result_clear(struct engine_check_result *result)
{
    damage_cut(result, 0, 0);
    free(result->damage);
    free(result->damaged);
    *result = (struct engine_check_result){0};
}
