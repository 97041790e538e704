/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building a tree from leaves and subtrees that come in ascending order: one
 * pending node a level, stored as soon as something lies behind it. Leaves of
 * regions in flight come when the pipeline has them; what is added meanwhile
 * waits for those before it. What is in a leaf is not known here.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "bytes.h"
#include "tree.h"

enum { MOST_WAITING = 128 };

struct pending {
    struct cs_node node;
    unsigned count;
};

struct cs_tree_builder {
    struct cs_writer *writer;
    enum cs_tree_kind kind;
    uint64_t regions;
    unsigned level;
    bool empty;
    struct cs_subtree last;                  /* added last, unless empty */
    struct cs_subtree waiting[MOST_WAITING]; /* to be added behind the regions before them */
    size_t waiting_count;
    struct cs_error failed;   /* code 0: not */
    struct pending pending[]; /* of level 1 and up; nothing in those up to last's level */
};

static const char *kind_name(enum cs_tree_kind kind)
{
    return kind == CS_TREE_CONTENT ? "content" : "placement";
}

unsigned cs_tree_level(uint64_t regions)
{
    unsigned level = 0;
    for (uint64_t last = regions > 0 ? regions - 1 : 0; last > 0; last >>= 6)
        level++;
    return level;
}

size_t cs_node_encode(uint8_t out[CS_NODE_SIZE_MAX], const struct cs_node *node, unsigned level)
{
    size_t count = (size_t)__builtin_popcountll(node->bitmap);
    out[0] = (uint8_t)level;
    cs_le64(out + 1, node->bitmap);
    for (size_t i = 0; i < count; i++) {
        uint8_t *child = out + 9 + i * CS_CHILD_SIZE;
        memcpy(child, node->children[i].id.bytes, CS_ID_SIZE);
        cs_le64(child + CS_ID_SIZE, node->children[i].bytes);
    }
    return 9 + count * CS_CHILD_SIZE;
}

int cs_tree_begin(struct cs_tree_builder **out, struct cs_writer *writer, enum cs_tree_kind kind,
                  uint64_t regions, struct cs_error *err)
{
    unsigned level = cs_tree_level(regions);
    *out = NULL;
    if (level > CS_TREE_LEVEL_MAX)
        return cs_fail(err, CS_USAGE, "%s tree: %" PRIu64 " regions are too many", kind_name(kind),
                       regions);
    struct cs_tree_builder *b = calloc(1, sizeof *b + level * sizeof *b->pending);
    if (b == NULL)
        return cs_fail_memory(err);
    b->writer = writer;
    b->kind = kind;
    b->regions = regions;
    b->level = level;
    b->empty = true;
    *out = b;
    return 0;
}

struct cs_writer *cs_tree_writer(const struct cs_tree_builder *builder)
{
    return builder->writer;
}

enum cs_tree_kind cs_tree_builder_kind(const struct cs_tree_builder *builder)
{
    return builder->kind;
}

void cs_tree_set_failed(struct cs_tree_builder *builder, const struct cs_error *error)
{
    if (builder->failed.code == 0)
        builder->failed = *error;
}

int cs_tree_failure(const struct cs_tree_builder *builder, struct cs_error *err)
{
    if (builder->failed.code != 0 && err != NULL)
        *err = builder->failed;
    return builder->failed.code;
}

static uint64_t end_of(const struct cs_subtree *s)
{
    return s->region + (UINT64_C(1) << (6 * s->level));
}

/* Whether the tree can have ${s} at all. */
static int check_place(struct cs_tree_builder *b, const struct cs_subtree *s)
{
    const char *kind = kind_name(b->kind);
    if (b->failed.code != 0)
        return b->failed.code;
    if (s->level > b->level)
        return cs_fail(&b->failed, CS_USAGE, "%s tree: a subtree of level %u in a tree of level %u",
                       kind, s->level, b->level);
    if (s->region >= b->regions)
        return cs_fail(&b->failed, CS_USAGE, "%s tree: region %" PRIu64 " of a tree over %" PRIu64,
                       kind, s->region, b->regions);
    if (s->region % (UINT64_C(1) << (6 * s->level)) != 0)
        return cs_fail(&b->failed, CS_USAGE,
                       "%s tree: no subtree of level %u begins at region %" PRIu64, kind, s->level,
                       s->region);
    if (s->region >= s->end || (end_of(s) > b->regions && s->end > b->regions))
        return cs_fail(&b->failed, CS_USAGE,
                       "%s tree: a subtree of level %u at region %" PRIu64 " from a tree over "
                       "%" PRIu64 " in a tree over %" PRIu64,
                       kind, s->level, s->region, s->end, b->regions);
    return 0;
}

static int check_order(struct cs_tree_builder *b, const struct cs_subtree *before,
                       const struct cs_subtree *s)
{
    if (s->region < end_of(before))
        return cs_fail(&b->failed, CS_USAGE,
                       "%s tree: region %" PRIu64 " comes after region %" PRIu64,
                       kind_name(b->kind), s->region, end_of(before) - 1);
    return 0;
}

/* Puts ${s} into the pending node above it. */
static int add_child(struct cs_tree_builder *b, const struct cs_subtree *s)
{
    struct pending *p = &b->pending[s->level];
    if (__builtin_add_overflow(p->node.bytes, s->bytes, &p->node.bytes))
        return cs_fail(&b->failed, CS_CORRUPT,
                       "%s tree: %" PRIu64 " bytes from region %" PRIu64 " on are too many",
                       kind_name(b->kind), s->bytes, s->region);
    p->node.bitmap |= UINT64_C(1) << (s->region >> (6 * s->level)) % CS_NODE_CHILDREN;
    p->node.children[p->count++] = (struct cs_child){.id = s->id, .bytes = s->bytes};
    return 0;
}

/* Makes ${*s}, which lies in the pending node of the next level, that node: stores and empties it.
 */
static int store_node(struct cs_tree_builder *b, struct cs_subtree *s)
{
    uint8_t data[CS_NODE_SIZE_MAX];
    struct pending *p = &b->pending[s->level++];
    size_t len = cs_node_encode(data, &p->node, s->level);
    s->region &= UINT64_MAX << (6 * s->level);
    s->bytes = p->node.bytes;
    p->node.bitmap = 0;
    p->node.bytes = 0;
    p->count = 0;
    return cs_write_object(b->writer,
                           b->kind == CS_TREE_CONTENT ? CS_CONTENT_NODE : CS_PLACEMENT_NODE, data,
                           len, &s->id, &b->failed);
}

/* Stores the nodes below ${top} that were added to last, each into the one above. */
static int store_below(struct cs_tree_builder *b, unsigned top)
{
    while (b->last.level + 1 < top) {
        int rc = store_node(b, &b->last);
        if (rc == 0)
            rc = add_child(b, &b->last);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Adds ${s} behind all that was added. */
static int add_now(struct cs_tree_builder *b, const struct cs_subtree *s)
{
    int rc = check_place(b, s);
    if (rc < 0)
        return rc;
    if (!b->empty) {
        rc = check_order(b, &b->last, s);
        if (rc < 0)
            return rc;
        /* the lowest node that has both this and the last */
        unsigned top = s->level + 1;
        while (b->last.region >> (6 * top) != s->region >> (6 * top))
            top++;
        rc = store_below(b, top);
        if (rc < 0)
            return rc;
    }
    b->empty = false;
    b->last = *s;
    return s->level < b->level ? add_child(b, s) : 0;
}

/* Adds what waits for no region behind ${region}. */
static int add_waiting(struct cs_tree_builder *b, uint64_t region)
{
    size_t n = 0;
    int rc = 0;
    while (rc == 0 && n < b->waiting_count && b->waiting[n].region <= region)
        rc = add_now(b, &b->waiting[n++]);
    b->waiting_count -= n;
    memmove(b->waiting, b->waiting + n, b->waiting_count * sizeof *b->waiting);
    return rc;
}

/* Adds ${s} when the regions before it have been: they may still be in flight. */
static int add_later(struct cs_tree_builder *b, const struct cs_subtree *s)
{
    if (b->waiting_count == MOST_WAITING) {
        struct cs_error error = {0};
        int rc = cs_region_drain(b->writer, &error);
        if (rc < 0)
            cs_tree_set_failed(b, &error);
        else
            rc = add_waiting(b, UINT64_MAX);
        if (rc < 0)
            return rc;
    }
    b->waiting[b->waiting_count++] = *s;
    return 0;
}

static int check_next(struct cs_tree_builder *b, const struct cs_subtree *s)
{
    int rc = check_place(b, s);
    if (rc == 0 && b->waiting_count > 0)
        rc = check_order(b, &b->waiting[b->waiting_count - 1], s);
    else if (rc == 0 && !b->empty)
        rc = check_order(b, &b->last, s);
    return rc;
}

/* What failed here failed in b->failed, or is to be found there from now on. */
static int with_failure(struct cs_tree_builder *b, int rc, struct cs_error *err)
{
    if (rc < 0 && b->failed.code == 0)
        b->failed.code = rc;
    return cs_tree_failure(b, err);
}

int cs_tree_add_id(struct cs_tree_builder *builder, uint64_t region, const struct cs_id *leaf_id,
                   uint64_t bytes, struct cs_error *err)
{
    struct cs_subtree leaf = {
        .region = region, .end = builder->regions, .id = *leaf_id, .bytes = bytes};
    int rc = check_place(builder, &leaf);
    if (rc == 0)
        rc = add_waiting(builder, region);
    if (rc == 0)
        rc = add_now(builder, &leaf);
    return with_failure(builder, rc, err);
}

int cs_tree_add(struct cs_tree_builder *builder, uint64_t region, const void *leaf, size_t len,
                uint64_t bytes, struct cs_error *err)
{
    struct cs_subtree s = {.region = region, .end = builder->regions, .bytes = bytes};
    int rc = check_next(builder, &s);
    if (rc == 0 && len == 0)
        rc = cs_fail(&builder->failed, CS_USAGE, "%s tree: the leaf of region %" PRIu64 " is empty",
                     kind_name(builder->kind), region);
    if (rc == 0)
        rc = cs_write_object(builder->writer,
                             builder->kind == CS_TREE_CONTENT ? CS_CONTENT_LEAF : CS_PLACEMENT_LEAF,
                             leaf, len, &s.id, &builder->failed);
    if (rc == 0)
        rc = add_later(builder, &s);
    return with_failure(builder, rc, err);
}

int cs_tree_add_subtree(struct cs_tree_builder *builder, const struct cs_subtree *subtree,
                        struct cs_error *err)
{
    int rc = check_next(builder, subtree);
    if (rc == 0)
        rc = add_later(builder, subtree);
    return with_failure(builder, rc, err);
}

static int store_root(struct cs_tree_builder *b, struct cs_tree *tree)
{
    int rc = add_waiting(b, UINT64_MAX);
    if (rc == 0 && !b->empty)
        rc = store_below(b, b->level);
    if (rc == 0 && !b->empty && b->last.level < b->level)
        rc = store_node(b, &b->last);
    *tree = (struct cs_tree){.kind = b->kind,
                             .regions = b->regions,
                             .level = b->level,
                             .empty = b->empty,
                             .root = b->last.id,
                             .bytes = b->last.bytes};
    return rc;
}

int cs_tree_finish(struct cs_tree_builder *builder, struct cs_tree *tree, struct cs_error *err)
{
    struct cs_error error = {0};
    int rc = cs_region_drain(builder->writer, &error);
    if (rc < 0) {
        cs_tree_set_failed(builder, &error);
        rc = with_failure(builder, rc, err);
    } else if ((rc = cs_tree_failure(builder, err)) == 0) {
        rc = with_failure(builder, store_root(builder, tree), err);
    }
    if (rc < 0)
        *tree = (struct cs_tree){.empty = true};
    cs_tree_abort(builder);
    return rc;
}

void cs_tree_abort(struct cs_tree_builder *builder)
{
    if (builder == NULL)
        return;
    cs_region_forget(builder->writer, builder);
    free(builder);
}
