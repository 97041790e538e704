/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building a tree from leaves that come in ascending order: one pending node a
 * level, stored as soon as a leaf lies behind it. How leaves are made, and what
 * is in them, is not known here.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "bytes.h"
#include "tree.h"

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
    uint64_t last;            /* region added last, unless empty */
    struct cs_id root;        /* level 0 */
    struct cs_error failed;   /* code 0: not */
    struct pending pending[]; /* of level 1 and up */
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
    for (size_t i = 0; i < count; i++)
        memcpy(out + 9 + i * CS_ID_SIZE, node->children[i].bytes, CS_ID_SIZE);
    return 9 + count * CS_ID_SIZE;
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

static int check_order(struct cs_tree_builder *b, uint64_t region)
{
    if (b->failed.code != 0)
        return b->failed.code;
    if (region >= b->regions)
        return cs_fail(&b->failed, CS_USAGE, "%s tree: region %" PRIu64 " of a tree over %" PRIu64,
                       kind_name(b->kind), region, b->regions);
    if (!b->empty && region <= b->last)
        return cs_fail(&b->failed, CS_USAGE,
                       "%s tree: region %" PRIu64 " comes after region %" PRIu64,
                       kind_name(b->kind), region, b->last);
    return 0;
}

static void add_child(struct pending *p, unsigned child, const struct cs_id *id)
{
    p->node.bitmap |= UINT64_C(1) << child;
    p->node.children[p->count++] = *id;
}

/* Stores the pending node of ${level}, and empties it. */
static int store_node(struct cs_tree_builder *b, unsigned level, struct cs_id *id)
{
    uint8_t data[CS_NODE_SIZE_MAX];
    struct pending *p = &b->pending[level - 1];
    size_t len = cs_node_encode(data, &p->node, level);
    p->node.bitmap = 0;
    p->count = 0;
    return cs_write_object(b->writer,
                           b->kind == CS_TREE_CONTENT ? CS_CONTENT_NODE : CS_PLACEMENT_NODE, data,
                           len, id, &b->failed);
}

/* Stores the nodes below ${top} that the region added last is in, each into the one above. */
static int store_below(struct cs_tree_builder *b, unsigned top)
{
    for (unsigned level = 1; level < top; level++) {
        struct cs_id id;
        int rc = store_node(b, level, &id);
        if (rc < 0)
            return rc;
        add_child(&b->pending[level], (b->last >> (6 * level)) % CS_NODE_CHILDREN, &id);
    }
    return 0;
}

static int add_leaf(struct cs_tree_builder *b, uint64_t region, const struct cs_id *id)
{
    int rc = check_order(b, region);
    if (rc < 0)
        return rc;
    if (b->level == 0) {
        b->root = *id;
    } else {
        /* the lowest node that has both this region and the last */
        unsigned top = 1;
        while (!b->empty && b->last >> (6 * top) != region >> (6 * top))
            top++;
        rc = store_below(b, top);
        if (rc < 0)
            return rc;
        add_child(&b->pending[0], region % CS_NODE_CHILDREN, id);
    }
    b->empty = false;
    b->last = region;
    return 0;
}

/* What failed here failed in b->failed, or is to be found there from now on. */
static int with_failure(struct cs_tree_builder *b, int rc, struct cs_error *err)
{
    if (rc < 0 && b->failed.code == 0)
        b->failed.code = rc;
    return cs_tree_failure(b, err);
}

int cs_tree_add_id(struct cs_tree_builder *builder, uint64_t region, const struct cs_id *leaf_id,
                   struct cs_error *err)
{
    return with_failure(builder, add_leaf(builder, region, leaf_id), err);
}

int cs_tree_add(struct cs_tree_builder *builder, uint64_t region, const void *leaf, size_t len,
                struct cs_error *err)
{
    struct cs_id id;
    int rc = check_order(builder, region);
    if (rc == 0 && len == 0)
        rc = cs_fail(&builder->failed, CS_USAGE, "%s tree: the leaf of region %" PRIu64 " is empty",
                     kind_name(builder->kind), region);
    if (rc == 0)
        rc = cs_write_object(builder->writer,
                             builder->kind == CS_TREE_CONTENT ? CS_CONTENT_LEAF : CS_PLACEMENT_LEAF,
                             leaf, len, &id, &builder->failed);
    if (rc == 0)
        rc = add_leaf(builder, region, &id);
    return with_failure(builder, rc, err);
}

static int store_root(struct cs_tree_builder *b, struct cs_tree *tree)
{
    *tree = (struct cs_tree){.kind = b->kind, .level = b->level, .empty = b->empty};
    if (b->empty)
        return 0;
    tree->root = b->root;
    if (b->level == 0)
        return 0;
    int rc = store_below(b, b->level);
    return rc < 0 ? rc : store_node(b, b->level, &tree->root);
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
