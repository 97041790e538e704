/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a tree: the next leaf from a region on, the subtree at a place, or
 * every node and leaf. One decoded node a level is kept, so neighbours cost no
 * more than their leaves. What is in a leaf, and so whether it stands for the
 * bytes that its node says, is not known here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "tree.h"

enum { WHAT_SIZE = 64 };

struct cached {
    bool loaded;
    uint64_t region; /* the first that the node covers */
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

/* The tree as the subtree that is its root. */
static struct cs_subtree root_of(const struct cs_tree *tree)
{
    return (struct cs_subtree){
        .level = tree->level, .end = tree->regions, .id = tree->root, .bytes = tree->bytes};
}

static int check_tree(const struct cs_tree *tree, struct cs_error *err)
{
    if (tree->level != cs_tree_level(tree->regions) || tree->level > CS_TREE_LEVEL_MAX ||
        (!tree->empty && tree->regions == 0) || (tree->empty && tree->bytes != 0))
        return cs_fail(
            err, CS_CORRUPT, "%s tree: %s, level %u, %" PRIu64 " bytes over %" PRIu64 " regions",
            tree->kind == CS_TREE_CONTENT ? "content" : "placement",
            tree->empty ? "empty" : "not empty", tree->level, tree->bytes, tree->regions);
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
    if (cs_reader_left(&r) != count * CS_CHILD_SIZE)
        return cs_fail(err, CS_CORRUPT, "%s: %zu bytes at byte 9, where %zu children have %zu",
                       what, cs_reader_left(&r), count, count * CS_CHILD_SIZE);
    node->bytes = 0;
    for (size_t i = 0; i < count; i++) {
        cs_get_copy(&r, node->children[i].id.bytes, CS_ID_SIZE);
        node->children[i].bytes = cs_get_u64(&r);
        if (__builtin_add_overflow(node->bytes, node->children[i].bytes, &node->bytes))
            return cs_fail(err, CS_CORRUPT,
                           "%s: child %zu at byte %zu has %" PRIu64 " bytes: together too many",
                           what, i, 9 + i * CS_CHILD_SIZE, node->children[i].bytes);
    }
    return 0;
}

/* Child ${child} of ${at}, whose node is ${node}; it is present there. */
static struct cs_subtree child_of(const struct cs_subtree *at, const struct cs_node *node,
                                  unsigned child)
{
    uint64_t before = node->bitmap & ((UINT64_C(1) << child) - 1);
    const struct cs_child *c = &node->children[__builtin_popcountll(before)];
    return (struct cs_subtree){
        .level = at->level - 1,
        .region = at->region + ((uint64_t)child << (6 * (at->level - 1))),
        .end = at->end,
        .id = c->id,
        .bytes = c->bytes,
    };
}

static int check_node(const struct cs_subtree *at, const struct cs_node *node, const char *what,
                      struct cs_error *err)
{
    unsigned last = 63 - (unsigned)__builtin_clzll(node->bitmap);
    uint64_t region = child_of(at, node, last).region;
    if (region >= at->end)
        return cs_fail(err, CS_CORRUPT,
                       "%s: a child for region %" PRIu64 " of a tree over %" PRIu64, what, region,
                       at->end);
    if (node->bytes != at->bytes)
        return cs_fail(err, CS_CORRUPT,
                       "%s: its children have %" PRIu64 " bytes, where %" PRIu64 " belong", what,
                       node->bytes, at->bytes);
    return 0;
}

static int read_node(struct cs_store *store, enum cs_tree_kind kind, const struct cs_subtree *at,
                     struct cs_node *node, void **data, size_t *len, struct cs_error *err)
{
    char what[WHAT_SIZE];
    *data = NULL;
    int rc = cs_read_object(store, type_of(kind, at->level), &at->id, data, len, err);
    if (rc < 0)
        return rc;
    name_object(what, kind, at->level, &at->id);
    rc = cs_node_decode(node, at->level, *data, *len, what, err);
    if (rc == 0)
        rc = check_node(at, node, what, err);
    if (rc < 0) {
        free(*data);
        *data = NULL;
    }
    return rc;
}

int cs_tree_open(struct cs_tree_reader **out, struct cs_store *store, const struct cs_tree *tree,
                 struct cs_error *err)
{
    *out = NULL;
    int rc = check_tree(tree, err);
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

/* Makes ${*node} that of ${at}, which is none of the leaves. */
static int get_node(struct cs_tree_reader *reader, const struct cs_subtree *at,
                    const struct cs_node **node, struct cs_error *err)
{
    struct cached *c = &reader->cached[at->level - 1];
    if (!c->loaded || c->region != at->region) {
        void *data;
        size_t len;
        c->loaded = false;
        int rc = read_node(reader->store, reader->tree.kind, at, &c->node, &data, &len, err);
        if (rc < 0)
            return rc;
        free(data);
        c->region = at->region;
        c->loaded = true;
    }
    *node = &c->node;
    return 0;
}

/* Finds the first leaf at or after ${from}. */
static int find_leaf(struct cs_tree_reader *reader, uint64_t from, struct cs_subtree *leaf,
                     bool *found, struct cs_error *err)
{
    struct cs_subtree at = root_of(&reader->tree);
    *found = false;
    if (reader->tree.empty || from >= at.end)
        return 0;
    while (at.level > 0) {
        const struct cs_node *node;
        unsigned shift = 6 * at.level;
        int rc = get_node(reader, &at, &node, err);
        if (rc < 0)
            return rc;
        /* a node behind the one of ${from} is entered at its first child */
        unsigned first = from >> shift == at.region >> shift
                             ? (unsigned)(from >> (shift - 6)) % CS_NODE_CHILDREN
                             : 0;
        uint64_t at_or_after = node->bitmap & (UINT64_MAX << first);
        if (at_or_after != 0) {
            at = child_of(&at, node, (unsigned)__builtin_ctzll(at_or_after));
        } else {
            /* nothing here any more: again from the root, behind this node */
            from = at.region + (UINT64_C(1) << shift);
            if (from >= at.end)
                return 0;
            at = root_of(&reader->tree);
        }
    }
    *leaf = at;
    *found = true;
    return 0;
}

int cs_tree_find(struct cs_tree_reader *reader, unsigned level, uint64_t region,
                 struct cs_subtree *subtree, bool *found, struct cs_error *err)
{
    struct cs_subtree at = root_of(&reader->tree);
    *found = false;
    if (level > at.level)
        return cs_fail(err, CS_USAGE, "a subtree of level %u in a tree of level %u", level,
                       at.level);
    if (reader->tree.empty || region >= at.end)
        return 0;
    while (at.level > level) {
        const struct cs_node *node;
        int rc = get_node(reader, &at, &node, err);
        if (rc < 0)
            return rc;
        unsigned child = (unsigned)(region >> (6 * (at.level - 1))) % CS_NODE_CHILDREN;
        if ((node->bitmap >> child & 1) == 0)
            return 0;
        at = child_of(&at, node, child);
    }
    *subtree = at;
    *found = true;
    return 0;
}

int cs_tree_next(struct cs_tree_reader *reader, uint64_t from, uint64_t *region,
                 const uint8_t **leaf, size_t *len, bool *found, struct cs_error *err)
{
    struct cs_subtree at;
    int rc = find_leaf(reader, from, &at, found, err);
    if (rc < 0 || !*found)
        return rc;
    *region = at.region;
    if (reader->leaf == NULL || reader->leaf_region != *region) {
        free(reader->leaf);
        reader->leaf = NULL;
        rc = cs_read_object(reader->store, type_of(reader->tree.kind, 0), &at.id, &reader->leaf,
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

typedef int visit_fn(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                     struct cs_error *err);

struct walk {
    struct cs_store *store;
    enum cs_tree_kind kind;
    visit_fn *visit;
    void *arg;
    bool past_damage;
};

/* What cannot be had is visited too, where that is wanted. */
static int visit_missing(const struct walk *w, const struct cs_subtree *at, int rc,
                         struct cs_error *err)
{
    if (rc != CS_CORRUPT || !w->past_damage)
        return rc;
    rc = w->visit(w->arg, at, NULL, 0, err);
    return rc < 0 ? rc : 0;
}

static int walk_leaf(const struct walk *w, const struct cs_subtree *at, struct cs_error *err)
{
    void *data = NULL;
    size_t len;
    int rc = cs_read_object(w->store, type_of(w->kind, 0), &at->id, &data, &len, err);
    if (rc < 0)
        return visit_missing(w, at, rc, err);
    rc = w->visit(w->arg, at, data, len, err);
    free(data);
    return rc < 0 ? rc : 0;
}

/* Goes as deep as the level, which is at most CS_TREE_LEVEL_MAX. */
static int walk_node(const struct walk *w, const struct cs_subtree *at, struct cs_error *err)
{
    struct cs_node node;
    void *data;
    size_t len;
    int rc = read_node(w->store, w->kind, at, &node, &data, &len, err);
    if (rc < 0)
        return visit_missing(w, at, rc, err);
    rc = w->visit(w->arg, at, data, len, err);
    free(data);
    if (rc <= 0)
        return rc;
    rc = 0;
    for (uint64_t left = node.bitmap; left != 0 && rc == 0; left &= left - 1) {
        struct cs_subtree child = child_of(at, &node, (unsigned)__builtin_ctzll(left));
        rc = child.level > 0 ? walk_node(w, &child, err) : walk_leaf(w, &child, err);
    }
    return rc;
}

static int walk_tree(const struct walk *w, const struct cs_tree *tree, struct cs_error *err)
{
    struct cs_subtree root = root_of(tree);
    int rc = check_tree(tree, err);
    if (rc < 0 || tree->empty)
        return rc;
    return root.level > 0 ? walk_node(w, &root, err) : walk_leaf(w, &root, err);
}

int cs_tree_walk(struct cs_store *store, const struct cs_tree *tree, visit_fn *visit, void *arg,
                 struct cs_error *err)
{
    struct walk w = {.store = store, .kind = tree->kind, .visit = visit, .arg = arg};
    return walk_tree(&w, tree, err);
}

int cs_tree_walk_past_damage(struct cs_store *store, const struct cs_tree *tree, visit_fn *visit,
                             void *arg, struct cs_error *err)
{
    struct walk w = {
        .store = store, .kind = tree->kind, .visit = visit, .arg = arg, .past_damage = true};
    return walk_tree(&w, tree, err);
}

struct survey {
    struct cs_store *store;
    enum cs_tree_kind kind;
    const struct cs_survey *how;
};

static bool is_damage(int rc)
{
    return rc == CS_CORRUPT || rc == CS_NOT_FOUND || rc == CS_UNSUPPORTED || rc == CS_IO;
}

/* Reads what is at ${at}: the node, or the leaf for its caller. */
static int survey_read(const struct survey *s, const struct cs_subtree *at, struct cs_node *node,
                       struct cs_error *err)
{
    void *data = NULL;
    size_t len = 0;
    int rc = 0;
    if (at->level > 0) {
        rc = read_node(s->store, s->kind, at, node, &data, &len, err);
    } else {
        rc = cs_read_object(s->store, type_of(s->kind, 0), &at->id, &data, &len, err);
        if (rc == 0)
            rc = s->how->leaf(s->how->arg, at, data, len, err);
        else
            data = NULL;
    }
    free(data);
    return rc;
}

/* Goes as deep as the level, which is at most CS_TREE_LEVEL_MAX. */
static int survey_at(const struct survey *s, const struct cs_subtree *at, struct cs_error *err)
{
    struct cs_node node = {0};
    struct cs_error why = {0};
    if (!s->how->enter(s->how->arg, at))
        return 0;
    int rc = survey_read(s, at, &node, &why);
    if (is_damage(rc))
        return s->how->damaged(s->how->arg, at, &why, err);
    if (rc < 0)
        return cs_fail(err, rc, "%s", why.message);
    for (uint64_t left = node.bitmap; left != 0 && rc == 0; left &= left - 1) {
        struct cs_subtree child = child_of(at, &node, (unsigned)__builtin_ctzll(left));
        rc = survey_at(s, &child, err);
    }
    return rc < 0 ? rc : s->how->leave(s->how->arg, at, err);
}

int cs_tree_survey(struct cs_store *store, const struct cs_tree *tree, const struct cs_survey *how,
                   struct cs_error *err)
{
    struct survey s = {.store = store, .kind = tree->kind, .how = how};
    struct cs_subtree root = root_of(tree);
    struct cs_error why = {0};
    if (check_tree(tree, &why) < 0)
        return how->damaged(how->arg, &root, &why, err);
    return tree->empty ? 0 : survey_at(&s, &root, err);
}
