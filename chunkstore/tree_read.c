/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a tree: the next leaf from a region on, or every node and leaf. One
 * decoded node a level is kept, so neighbours cost no more than their leaves.
 * What is in a leaf is not known here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "tree.h"

enum { WHAT_SIZE = 64 };

struct cached {
    bool loaded;
    uint64_t number; /* of the node in its level */
    struct cs_node node;
};

struct cs_tree_reader {
    struct cs_store *store;
    struct cs_tree tree;
    void *leaf;
    size_t leaf_len;
    uint64_t leaf_region;   /* where there is a leaf */
    struct cached cached[]; /* of level 1 and up */
};

static const char *name_object(char what[WHAT_SIZE], enum cs_tree_kind kind, unsigned level,
                               const struct cs_id *id)
{
    char hex[CS_ID_HEX];
    snprintf(what, WHAT_SIZE, "%s %s %.16s", kind == CS_TREE_CONTENT ? "content" : "placement",
             level > 0 ? "node" : "leaf", cs_id_hex(id, hex));
    return what;
}

static enum cs_type type_of(enum cs_tree_kind kind, unsigned level)
{
    if (kind == CS_TREE_CONTENT)
        return level > 0 ? CS_CONTENT_NODE : CS_CONTENT_LEAF;
    return level > 0 ? CS_PLACEMENT_NODE : CS_PLACEMENT_LEAF;
}

static int check_level(const struct cs_tree *tree, struct cs_error *err)
{
    char what[WHAT_SIZE];
    if (!tree->empty && tree->level > CS_TREE_LEVEL_MAX)
        return cs_fail(err, CS_CORRUPT, "%s: a tree of level %u, where %u is the most",
                       name_object(what, tree->kind, tree->level, &tree->root), tree->level,
                       CS_TREE_LEVEL_MAX);
    return 0;
}

int cs_node_decode(struct cs_node *node, unsigned level, const void *data, size_t len,
                   const char *what, struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(data, len);
    unsigned found = cs_get_u8(&r);
    node->bitmap = cs_get_u64(&r);
    if (r.bad)
        return cs_fail(err, CS_CORRUPT, "%s: it ends at byte %zu", what, len);
    if (found != level)
        return cs_fail(err, CS_CORRUPT, "%s: level %u at byte 0, where %u belongs", what, found,
                       level);
    if (node->bitmap == 0)
        return cs_fail(err, CS_CORRUPT, "%s: no children at byte 1", what);
    size_t count = (size_t)__builtin_popcountll(node->bitmap);
    if (cs_reader_left(&r) != count * CS_ID_SIZE)
        return cs_fail(err, CS_CORRUPT, "%s: %zu bytes at byte 9, where %zu children have %zu",
                       what, cs_reader_left(&r), count, count * CS_ID_SIZE);
    for (size_t i = 0; i < count; i++)
        cs_get_copy(&r, node->children[i].bytes, CS_ID_SIZE);
    return 0;
}

static int read_node(struct cs_store *store, enum cs_tree_kind kind, unsigned level,
                     const struct cs_id *id, struct cs_node *node, void **data, size_t *len,
                     struct cs_error *err)
{
    char what[WHAT_SIZE];
    *data = NULL;
    int rc = cs_read_object(store, type_of(kind, level), id, data, len, err);
    if (rc < 0)
        return rc;
    rc = cs_node_decode(node, level, *data, *len, name_object(what, kind, level, id), err);
    if (rc < 0) {
        free(*data);
        *data = NULL;
    }
    return rc;
}

static const struct cs_id *child_id(const struct cs_node *node, unsigned child)
{
    uint64_t before = node->bitmap & ((UINT64_C(1) << child) - 1);
    return &node->children[__builtin_popcountll(before)];
}

int cs_tree_open(struct cs_tree_reader **out, struct cs_store *store, const struct cs_tree *tree,
                 struct cs_error *err)
{
    *out = NULL;
    int rc = check_level(tree, err);
    if (rc < 0)
        return rc;
    unsigned nodes = tree->empty ? 0 : tree->level;
    struct cs_tree_reader *reader = calloc(1, sizeof *reader + nodes * sizeof *reader->cached);
    if (reader == NULL)
        return cs_fail_memory(err);
    reader->store = store;
    reader->tree = *tree;
    *out = reader;
    return 0;
}

void cs_tree_close(struct cs_tree_reader *reader)
{
    if (reader == NULL)
        return;
    free(reader->leaf);
    free(reader);
}

/* Makes ${*node} the node of ${level} with ${number}, whose id is ${id}. */
static int get_node(struct cs_tree_reader *reader, unsigned level, uint64_t number,
                    const struct cs_id *id, const struct cs_node **node, struct cs_error *err)
{
    struct cached *c = &reader->cached[level - 1];
    if (!c->loaded || c->number != number) {
        void *data;
        size_t len;
        c->loaded = false;
        int rc = read_node(reader->store, reader->tree.kind, level, id, &c->node, &data, &len, err);
        if (rc < 0)
            return rc;
        free(data);
        c->number = number;
        c->loaded = true;
    }
    *node = &c->node;
    return 0;
}

/* Finds the first leaf at or after ${from} and its id. */
static int find_leaf(struct cs_tree_reader *reader, uint64_t from, uint64_t *region,
                     struct cs_id *id, bool *found, struct cs_error *err)
{
    unsigned top = reader->tree.level;
    unsigned level = top;
    uint64_t number = 0; /* of the node in its level */
    *found = false;
    *id = reader->tree.root;
    if (reader->tree.empty || from >> (6 * top) != 0)
        return 0;
    while (level > 0) {
        const struct cs_node *node;
        int rc = get_node(reader, level, number, id, &node, err);
        if (rc < 0)
            return rc;
        /* a node behind the one of ${from} is entered at its first child */
        unsigned first = from >> (6 * level) == number
                             ? (unsigned)(from >> (6 * (level - 1))) % CS_NODE_CHILDREN
                             : 0;
        uint64_t at_or_after = node->bitmap & (UINT64_MAX << first);
        if (at_or_after != 0) {
            unsigned child = (unsigned)__builtin_ctzll(at_or_after);
            *id = *child_id(node, child);
            number = number * CS_NODE_CHILDREN + child;
            level--;
        } else if (level == top) {
            return 0;
        } else {
            /* nothing here any more: again from the root, behind this node */
            from = (number + 1) << (6 * level);
            if (from >> (6 * top) != 0)
                return 0;
            level = top;
            number = 0;
            *id = reader->tree.root;
        }
    }
    *region = number;
    *found = true;
    return 0;
}

int cs_tree_next(struct cs_tree_reader *reader, uint64_t from, uint64_t *region,
                 const uint8_t **leaf, size_t *len, bool *found, struct cs_error *err)
{
    struct cs_id id;
    int rc = find_leaf(reader, from, region, &id, found, err);
    if (rc < 0 || !*found)
        return rc;
    if (reader->leaf == NULL || reader->leaf_region != *region) {
        free(reader->leaf);
        reader->leaf = NULL;
        rc = cs_read_object(reader->store, type_of(reader->tree.kind, 0), &id, &reader->leaf,
                            &reader->leaf_len, err);
        if (rc < 0) {
            reader->leaf = NULL;
            *found = false;
            return rc;
        }
        reader->leaf_region = *region;
    }
    *leaf = reader->leaf;
    *len = reader->leaf_len;
    return 0;
}

typedef int visit_fn(void *arg, const struct cs_id *id, unsigned level, const uint8_t *data,
                     size_t len, struct cs_error *err);

struct walk {
    struct cs_store *store;
    enum cs_tree_kind kind;
    visit_fn *visit;
    void *arg;
};

static int walk_leaf(const struct walk *w, const struct cs_id *id, struct cs_error *err)
{
    void *data = NULL;
    size_t len;
    int rc = cs_read_object(w->store, type_of(w->kind, 0), id, &data, &len, err);
    if (rc < 0)
        return rc;
    rc = w->visit(w->arg, id, 0, data, len, err);
    free(data);
    return rc < 0 ? rc : 0;
}

/* Goes as deep as ${level}, which is at most CS_TREE_LEVEL_MAX. */
static int walk_node(const struct walk *w, unsigned level, const struct cs_id *id,
                     struct cs_error *err)
{
    struct cs_node node;
    void *data;
    size_t len;
    int rc = read_node(w->store, w->kind, level, id, &node, &data, &len, err);
    if (rc < 0)
        return rc;
    rc = w->visit(w->arg, id, level, data, len, err);
    free(data);
    if (rc <= 0)
        return rc;
    rc = 0;
    unsigned count = (unsigned)__builtin_popcountll(node.bitmap);
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = level > 1 ? walk_node(w, level - 1, &node.children[i], err)
                       : walk_leaf(w, &node.children[i], err);
    return rc;
}

int cs_tree_walk(struct cs_store *store, const struct cs_tree *tree, visit_fn *visit, void *arg,
                 struct cs_error *err)
{
    struct walk w = {.store = store, .kind = tree->kind, .visit = visit, .arg = arg};
    int rc = check_level(tree, err);
    if (rc < 0 || tree->empty)
        return rc;
    return tree->level > 0 ? walk_node(&w, tree->level, &tree->root, err)
                           : walk_leaf(&w, &tree->root, err);
}
