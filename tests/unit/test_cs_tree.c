/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trees, on a store that is an array: built in order, found again leaf by leaf,
 * walked, and refused where a node is not what it must be.
 */
#include "tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"

#define TOP_REGIONS (UINT64_C(1) << 60)

/* ---- a store and a writer that are one array ---- */

struct object {
    enum cs_type type;
    size_t len;
    uint8_t *data;
};

struct cs_store {
    struct object *objects;
    size_t count;
    size_t reads;
    size_t read_node_count;
};

enum { QUEUE = 8 };

struct cs_writer {
    struct cs_store *store;
    size_t fail_after; /* writes that succeed */
    /* regions in flight */
    struct {
        struct cs_tree_builder *builder;
        uint64_t region;
    } queue[QUEUE];
    size_t queued;
    int drain_fails;
    struct cs_tree_builder *forgotten;
};

/* The id of an object is its position, and a mark. */
static struct cs_id id_of(size_t position)
{
    struct cs_id id;
    memset(id.bytes, 0xab, sizeof id.bytes);
    for (unsigned i = 0; i < 8; i++)
        id.bytes[7 - i] = (uint8_t)((uint64_t)position >> 8 * i);
    return id;
}

static struct object *object_of(struct cs_store *store, const struct cs_id *id)
{
    uint64_t position = 0;
    for (unsigned i = 0; i < 8; i++)
        position = position << 8 | id->bytes[i];
    return position < store->count ? &store->objects[position] : NULL;
}

static struct cs_id store_object(struct cs_store *store, enum cs_type type, const void *data,
                                 size_t len)
{
    /* an object that is there already keeps its id */
    size_t i = 0;
    while (i < store->count && (store->objects[i].type != type || store->objects[i].len != len ||
                                memcmp(store->objects[i].data, data, len) != 0))
        i++;
    if (i < store->count)
        return id_of(i);
    store->objects = realloc(store->objects, (i + 1) * sizeof *store->objects);
    assert_non_null(store->objects);
    store->objects[i] = (struct object){.type = type, .len = len, .data = malloc(len)};
    assert_non_null(store->objects[i].data);
    memcpy(store->objects[i].data, data, len);
    store->count++;
    return id_of(i);
}

int cs_write_object(struct cs_writer *writer, enum cs_type type, const void *data, size_t len,
                    struct cs_id *id, struct cs_error *err)
{
    if (writer->fail_after == 0)
        return cs_fail(err, CS_NO_SPACE, "the disk is full");
    writer->fail_after--;
    *id = store_object(writer->store, type, data, len);
    return 0;
}

int cs_read_object(struct cs_store *store, enum cs_type type, const struct cs_id *id, void **data,
                   size_t *len, struct cs_error *err)
{
    const struct object *o = object_of(store, id);
    store->reads++;
    if (type == CS_CONTENT_NODE || type == CS_PLACEMENT_NODE)
        store->read_node_count++;
    if (o == NULL || o->type != type)
        return cs_fail(err, CS_NOT_FOUND, "no such object");
    *data = malloc(o->len > 0 ? o->len : 1);
    assert_non_null(*data);
    memcpy(*data, o->data, o->len);
    *len = o->len;
    return 0;
}

static struct cs_id leaf_id(struct cs_store *store, uint64_t region)
{
    uint8_t leaf[8];
    cs_le64(leaf, region);
    return store_object(store, CS_CONTENT_LEAF, leaf, sizeof leaf);
}

int cs_region_drain(struct cs_writer *writer, struct cs_error *err)
{
    for (size_t i = 0; i < writer->queued; i++) {
        struct cs_id id = leaf_id(writer->store, writer->queue[i].region);
        int rc = cs_tree_add_id(writer->queue[i].builder, writer->queue[i].region, &id, 8, err);
        if (rc < 0)
            return rc;
    }
    writer->queued = 0;
    return writer->drain_fails ? cs_fail(err, CS_IO, "a worker failed") : 0;
}

void cs_region_forget(struct cs_writer *writer, struct cs_tree_builder *builder)
{
    writer->forgotten = builder;
    writer->queued = 0;
}

/* ---- what the tests have in common ---- */

struct fixture {
    struct cs_store store;
    struct cs_writer writer;
};

static int enter(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->writer.store = &f->store;
    f->writer.fail_after = SIZE_MAX;
    *state = f;
    return 0;
}

static int leave(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->store.count; i++)
        free(f->store.objects[i].data);
    free(f->store.objects);
    free(f);
    return 0;
}

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Adds the leaf of ${region}: eight bytes that say which. */
static int add(struct cs_tree_builder *b, uint64_t region, struct cs_error *err)
{
    uint8_t leaf[8];
    cs_le64(leaf, region);
    return cs_tree_add(b, region, leaf, sizeof leaf, 8, err);
}

static struct cs_tree_builder *begin(struct fixture *f, enum cs_tree_kind kind, uint64_t regions)
{
    struct cs_tree_builder *b;
    struct cs_error err;
    assert_int_equal(cs_tree_begin(&b, &f->writer, kind, regions, &err), 0);
    return b;
}

static struct cs_tree finish(struct cs_tree_builder *b)
{
    struct cs_tree tree;
    struct cs_error err;
    if (cs_tree_finish(b, &tree, &err) != 0)
        fail_msg("%s", err.message);
    return tree;
}

static struct cs_tree build(struct fixture *f, uint64_t regions, const uint64_t *leaves, size_t n)
{
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, regions);
    struct cs_error err;
    for (size_t i = 0; i < n; i++)
        if (add(b, leaves[i], &err) != 0)
            fail_msg("%s", err.message);
    return finish(b);
}

static struct cs_tree_reader *open_tree(struct fixture *f, const struct cs_tree *tree)
{
    struct cs_tree_reader *reader;
    struct cs_error err;
    assert_int_equal(cs_tree_open(&reader, &f->store, tree, &err), 0);
    return reader;
}

static void assert_next(struct cs_tree_reader *reader, uint64_t from, uint64_t expected)
{
    uint64_t region;
    const uint8_t *leaf;
    size_t len;
    bool found;
    struct cs_error err;
    if (cs_tree_next(reader, from, &region, &leaf, &len, &found, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(found);
    assert_true(region == expected);
    assert_int_equal(len, 8);
    assert_true(cs_from_le64(leaf) == expected);
}

static void assert_no_next(struct cs_tree_reader *reader, uint64_t from)
{
    uint64_t region;
    const uint8_t *leaf;
    size_t len;
    bool found = true;
    struct cs_error err;
    assert_int_equal(cs_tree_next(reader, from, &region, &leaf, &len, &found, &err), 0);
    assert_false(found);
}

static int compare_regions(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Fills ${leaves} with up to ${n} ascending regions below ${regions}, some of them neighbours. */
static size_t draw(uint64_t *leaves, size_t n, uint64_t regions)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        leaves[i] =
            i > 0 && next_random() % 2 ? (leaves[i - 1] + 1) % regions : next_random() % regions;
    qsort(leaves, n, sizeof *leaves, compare_regions);
    for (size_t i = 0; i < n; i++)
        if (count == 0 || leaves[count - 1] != leaves[i])
            leaves[count++] = leaves[i];
    return count;
}

/* ---- building and reading ---- */

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(cs_tree_level(0), 0);
    assert_int_equal(cs_tree_level(1), 0);
    assert_int_equal(cs_tree_level(2), 1);
    assert_int_equal(cs_tree_level(64), 1);
    assert_int_equal(cs_tree_level(65), 2);
    assert_int_equal(cs_tree_level(4096), 2);
    assert_int_equal(cs_tree_level(4097), 3);
    assert_int_equal(cs_tree_level(TOP_REGIONS), 10);
    assert_int_equal(cs_tree_level(TOP_REGIONS + 1), 11);
    assert_int_equal(cs_tree_level(UINT64_MAX), 11);
}

static void test_empty_trees(void **state)
{
    static const uint64_t sizes[] = {0, 1, 64, 5000};
    struct fixture *f = *state;

    for (size_t i = 0; i < 4; i++) {
        struct cs_tree tree = finish(begin(f, CS_TREE_PLACEMENT, sizes[i]));
        assert_true(tree.empty);
        assert_int_equal(tree.kind, CS_TREE_PLACEMENT);
        assert_int_equal(tree.level, cs_tree_level(sizes[i]));
        struct cs_tree_reader *reader = open_tree(f, &tree);
        assert_no_next(reader, 0);
        assert_no_next(reader, UINT64_MAX);
        cs_tree_close(reader);
    }
    assert_int_equal(f->store.count, 0);
    cs_tree_close(NULL);
    cs_tree_abort(NULL);
}

static void test_one_region_is_its_leaf(void **state)
{
    static const uint64_t leaf = 0;
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 1, &leaf, 1);

    assert_false(tree.empty);
    assert_int_equal(tree.level, 0);
    assert_int_equal(f->store.count, 1);
    assert_int_equal(f->store.objects[0].type, CS_CONTENT_LEAF);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    assert_next(reader, 0, 0);
    assert_no_next(reader, 1);
    assert_no_next(reader, UINT64_MAX);
    cs_tree_close(reader);
}

static void test_known_nodes(void **state)
{
    static const uint64_t leaves[] = {0, 5, 63, 64 * 63 + 1};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 4096, leaves, 4);
    uint8_t expected[3][CS_NODE_SIZE_MAX] = {
        {1, 0x21, 0, 0, 0, 0, 0, 0, 0x80}, {1, 2}, {2, 1, 0, 0, 0, 0, 0, 0, 0x80}};
    static const struct {
        size_t position;
        unsigned children;
        size_t child[3];
        uint8_t bytes[3];
    } nodes[] = {{4, 3, {0, 1, 2}, {8, 8, 8}}, {5, 1, {3}, {8}}, {6, 2, {4, 5}, {24, 8}}};

    /* four leaves, the node of the first three, that of the last, the root */
    assert_int_equal(f->store.count, 7);
    for (size_t i = 0; i < 3; i++) {
        const struct object *o = &f->store.objects[nodes[i].position];
        for (unsigned k = 0; k < nodes[i].children; k++) {
            struct cs_id id = id_of(nodes[i].child[k]);
            memcpy(expected[i] + 9 + (size_t)k * 40, id.bytes, CS_ID_SIZE);
            expected[i][9 + (size_t)k * 40 + 32] = nodes[i].bytes[k];
        }
        assert_int_equal(o->type, CS_CONTENT_NODE);
        assert_int_equal(o->len, 9 + (size_t)nodes[i].children * 40);
        assert_memory_equal(o->data, expected[i], o->len);
    }
    assert_int_equal(tree.level, 2);
    assert_true(tree.regions == 4096 && tree.bytes == 32);
    struct cs_id root = id_of(6);
    assert_memory_equal(tree.root.bytes, root.bytes, CS_ID_SIZE);
}

static void test_kinds_have_types_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_PLACEMENT, 2);
    struct cs_error err;

    assert_int_equal(cs_tree_builder_kind(b), CS_TREE_PLACEMENT);
    assert_ptr_equal(cs_tree_writer(b), &f->writer);
    assert_int_equal(add(b, 1, &err), 0);
    struct cs_tree tree = finish(b);
    assert_int_equal(tree.kind, CS_TREE_PLACEMENT);
    assert_int_equal(f->store.objects[0].type, CS_PLACEMENT_LEAF);
    assert_int_equal(f->store.objects[1].type, CS_PLACEMENT_NODE);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    assert_next(reader, 0, 1);
    cs_tree_close(reader);
}

static void test_random_trees_are_found_again(void **state)
{
    enum { MOST = 300 };
    static const uint64_t sizes[] = {2, 63, 64, 65, 1000, 4096, 4097, 300000, TOP_REGIONS};
    struct fixture *f = *state;
    uint64_t leaves[MOST];

    for (size_t round = 0; round < 4 * sizeof sizes / sizeof *sizes; round++) {
        uint64_t regions = sizes[round / 4];
        random_state = round;
        size_t n = draw(leaves, 1 + next_random() % MOST, regions);
        struct cs_tree tree = build(f, regions, leaves, n);
        assert_int_equal(tree.level, cs_tree_level(regions));
        struct cs_tree_reader *reader = open_tree(f, &tree);
        uint64_t from = 0;
        for (size_t i = 0; i < n; i++) {
            assert_next(reader, from, leaves[i]);
            from = leaves[i] + 1;
        }
        assert_no_next(reader, from);
        assert_no_next(reader, regions);
        assert_no_next(reader, UINT64_MAX);
        for (int i = 0; i < 1000; i++) { /* in any order */
            from = next_random() % 4 ? next_random() % regions : leaves[next_random() % n];
            size_t k = 0;
            while (k < n && leaves[k] < from)
                k++;
            if (k < n)
                assert_next(reader, from, leaves[k]);
            else
                assert_no_next(reader, from);
        }
        cs_tree_close(reader);
        leave(state);
        enter(state);
        f = *state;
    }
}

static void test_deepest_tree(void **state)
{
    static const uint64_t leaves[] = {0, TOP_REGIONS - 1};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, TOP_REGIONS, leaves, 2);

    assert_int_equal(tree.level, 10);
    assert_int_equal(f->store.count, 2 + 9 + 9 + 1);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    assert_next(reader, 0, 0);
    assert_next(reader, 1, TOP_REGIONS - 1);
    assert_next(reader, TOP_REGIONS - 1, TOP_REGIONS - 1);
    assert_no_next(reader, TOP_REGIONS);
    assert_next(reader, 0, 0);
    cs_tree_close(reader);
}

static void test_equal_leaves_make_an_equal_tree(void **state)
{
    static const uint64_t leaves[] = {3, 70, 4000};
    struct fixture *f = *state;
    struct cs_tree one = build(f, 4096, leaves, 3);
    size_t objects = f->store.count;
    struct cs_tree other = build(f, 4096, leaves, 3);

    assert_memory_equal(one.root.bytes, other.root.bytes, CS_ID_SIZE);
    assert_int_equal(f->store.count, objects);
}

static void test_going_forward_reads_a_node_once(void **state)
{
    enum { LEAVES = 500 };
    struct fixture *f = *state;
    uint64_t leaves[LEAVES];

    random_state = 7;
    size_t n = draw(leaves, LEAVES, 20000);
    struct cs_tree tree = build(f, 20000, leaves, n);
    size_t nodes = f->store.count - n;
    struct cs_tree_reader *reader = open_tree(f, &tree);
    uint64_t from = 0;
    for (size_t i = 0; i < n; i++) {
        assert_next(reader, from, leaves[i]);
        assert_next(reader, leaves[i], leaves[i]); /* the same again costs nothing */
        from = leaves[i] + 1;
    }
    assert_no_next(reader, from);
    assert_int_equal(f->store.read_node_count, nodes);
    assert_int_equal(f->store.reads, nodes + n);
    cs_tree_close(reader);
}

/* ---- what a builder refuses, and what becomes of its failures ---- */

static void test_leaves_must_ascend_within_the_tree(void **state)
{
    static const struct {
        uint64_t first, second;
        const char *message;
    } bad[] = {
        {5, 5, "content tree: region 5 comes after region 5"},
        {5, 4, "content tree: region 4 comes after region 5"},
        {5, 100, "content tree: region 100 of a tree over 100"},
        {5, UINT64_MAX, "of a tree over 100"},
    };
    struct fixture *f = *state;
    struct cs_error err;
    struct cs_tree tree;

    for (size_t i = 0; i < 4; i++) {
        struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 100);
        assert_int_equal(add(b, bad[i].first, &err), 0);
        size_t objects = f->store.count;
        assert_int_equal(add(b, bad[i].second, &err), CS_USAGE);
        assert_non_null(strstr(err.message, bad[i].message));
        assert_int_equal(f->store.count, objects); /* nothing was stored for it */
        /* a tree that lacks what its caller gave it is none */
        assert_int_equal(add(b, 99, &err), CS_USAGE);
        err.message[0] = 0;
        assert_int_equal(cs_tree_finish(b, &tree, &err), CS_USAGE);
        assert_non_null(strstr(err.message, bad[i].message));
        assert_true(tree.empty);
    }
}

static void test_tree_over_nothing_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 0);
    struct cs_error err;

    assert_int_equal(add(b, 0, &err), CS_USAGE);
    cs_tree_abort(b);
    b = begin(f, CS_TREE_CONTENT, 1);
    assert_int_equal(add(b, 0, &err), 0);
    assert_int_equal(add(b, 0, &err), CS_USAGE);
    cs_tree_abort(b);
}

static void test_empty_leaf_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_PLACEMENT, 64);
    struct cs_error err;

    assert_int_equal(cs_tree_add(b, 7, "", 0, 0, &err), CS_USAGE);
    assert_string_equal(err.message, "placement tree: the leaf of region 7 is empty");
    cs_tree_abort(b);
}

static void test_too_many_regions_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b;
    struct cs_error err;

    assert_int_equal(cs_tree_begin(&b, &f->writer, CS_TREE_CONTENT, TOP_REGIONS + 1, &err),
                     CS_USAGE);
    assert_null(b);
}

static void test_failed_writes_fail_the_tree(void **state)
{
    static const uint64_t leaves[] = {0, 1, 64, 4095};
    struct fixture *f = *state;
    struct cs_error err;
    struct cs_tree tree;

    /* four leaves, three nodes, the root */
    for (size_t writes = 0; writes <= 8; writes++) {
        struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 4096);
        f->writer.fail_after = writes;
        int rc = 0;
        for (size_t i = 0; i < 4 && rc == 0; i++)
            rc = add(b, leaves[i], &err);
        f->writer.fail_after = rc < 0 ? SIZE_MAX : f->writer.fail_after;
        if (writes == 8) {
            assert_int_equal(cs_tree_finish(b, &tree, &err), 0);
            continue;
        }
        err = (struct cs_error){0};
        assert_int_equal(cs_tree_finish(b, &tree, &err), CS_NO_SPACE);
        assert_string_equal(err.message, "the disk is full");
        assert_true(tree.empty);
    }
}

static void test_errors_may_be_ignored(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 64);
    struct cs_tree tree;

    f->writer.fail_after = 0;
    assert_int_equal(add(b, 3, NULL), CS_NO_SPACE);
    assert_int_equal(cs_tree_failure(b, NULL), CS_NO_SPACE);
    assert_int_equal(cs_tree_finish(b, &tree, NULL), CS_NO_SPACE);
}

/* ---- with regions in flight ---- */

static void put(struct fixture *f, struct cs_tree_builder *b, uint64_t region)
{
    assert_true(f->writer.queued < QUEUE);
    f->writer.queue[f->writer.queued].builder = b;
    f->writer.queue[f->writer.queued++].region = region;
}

static void test_finish_waits_for_regions(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 1000);

    put(f, b, 3);
    put(f, b, 999);
    struct cs_tree tree = finish(b);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    assert_next(reader, 0, 3);
    assert_next(reader, 4, 999);
    assert_no_next(reader, 1000);
    cs_tree_close(reader);
}

static void test_regions_of_another_tree_are_no_concern(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *one = begin(f, CS_TREE_CONTENT, 1000);
    struct cs_tree_builder *other = begin(f, CS_TREE_CONTENT, 1000);

    put(f, one, 1);
    put(f, other, 2);
    struct cs_tree tree = finish(one);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    assert_next(reader, 0, 1);
    assert_no_next(reader, 2);
    cs_tree_close(reader);
    tree = finish(other);
    reader = open_tree(f, &tree);
    assert_next(reader, 0, 2);
    cs_tree_close(reader);
}

static void test_regions_out_of_order_fail_the_finish(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 1000);
    struct cs_tree tree;
    struct cs_error err;

    put(f, b, 5);
    put(f, b, 4);
    assert_int_equal(cs_tree_finish(b, &tree, &err), CS_USAGE);
    assert_string_equal(err.message, "content tree: region 4 comes after region 5");
    assert_ptr_equal(f->writer.forgotten, b);
}

static void test_failed_pipeline_fails_the_finish(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 1000);
    struct cs_tree tree;
    struct cs_error err;

    f->writer.drain_fails = 1;
    assert_int_equal(cs_tree_finish(b, &tree, &err), CS_IO);
    assert_string_equal(err.message, "a worker failed");
    assert_ptr_equal(f->writer.forgotten, b);
}

static void test_marked_builder_fails_with_the_first_mark(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 1000);
    const struct cs_error first = {.code = CS_IO, .sys = 5, .message = "first"};
    const struct cs_error second = {.code = CS_CORRUPT, .message = "second"};
    struct cs_id id = id_of(0);
    struct cs_tree tree;
    struct cs_error err;

    assert_int_equal(cs_tree_failure(b, &err), 0);
    cs_tree_set_failed(b, &first);
    cs_tree_set_failed(b, &second);
    assert_int_equal(cs_tree_failure(b, &err), CS_IO);
    assert_string_equal(err.message, "first");
    assert_int_equal(add(b, 1, &err), CS_IO);
    assert_int_equal(cs_tree_add_id(b, 1, &id, 0, &err), CS_IO);
    assert_int_equal(f->store.count, 0);
    err = (struct cs_error){0};
    assert_int_equal(cs_tree_finish(b, &tree, &err), CS_IO);
    assert_string_equal(err.message, "first");
    assert_int_equal(err.sys, 5);
}

static void test_abort_takes_the_builder_from_its_regions_first(void **state)
{
    struct fixture *f = *state;
    struct cs_tree_builder *b = begin(f, CS_TREE_CONTENT, 1000);

    put(f, b, 1);
    cs_tree_abort(b);
    assert_ptr_equal(f->writer.forgotten, b);
    assert_int_equal(f->writer.queued, 0);
    assert_int_equal(f->store.count, 0);
}

/* ---- walking ---- */

struct visits {
    struct cs_store *store;
    size_t count;
    unsigned levels[32];
    size_t pass_over; /* the visit that returns 0, from 1 */
    size_t end_at;    /* the visit that ends the walk */
};

static int visit(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                 struct cs_error *err)
{
    struct visits *v = arg;
    const struct object *o = object_of(v->store, &at->id);
    assert_non_null(o);
    assert_int_equal(len, o->len);
    assert_memory_equal(data, o->data, len);
    assert_true(v->count < 32);
    if (at->level == 0) {
        assert_true(cs_from_le64(data) == at->region);
        assert_true(at->bytes == 8);
    }
    v->levels[v->count++] = at->level;
    if (v->count == v->end_at)
        return cs_fail(err, CS_CANCELLED, "enough");
    return v->count != v->pass_over;
}

static void assert_walk(struct fixture *f, const struct cs_tree *tree, size_t pass_over,
                        size_t end_at, int rc, const char *levels)
{
    struct visits v = {.store = &f->store, .pass_over = pass_over, .end_at = end_at};
    struct cs_error err;
    assert_int_equal(cs_tree_walk(&f->store, tree, visit, &v, &err), rc);
    assert_int_equal(v.count, strlen(levels));
    for (size_t i = 0; i < v.count; i++)
        assert_int_equal(v.levels[i], levels[i] - '0');
}

static void test_walk_sees_parents_first(void **state)
{
    static const uint64_t leaves[] = {0, 1, 70, 4095};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 4096, leaves, 4);

    assert_walk(f, &tree, 0, 0, 0, "21001010");
    assert_walk(f, &tree, 1, 0, 0, "2");
    assert_walk(f, &tree, 2, 0, 0, "211010");   /* without the first node's leaves */
    assert_walk(f, &tree, 3, 0, 0, "21001010"); /* below a leaf is nothing */
    assert_walk(f, &tree, 0, 1, CS_CANCELLED, "2");
    assert_walk(f, &tree, 0, 2, CS_CANCELLED, "21");
    assert_walk(f, &tree, 0, 4, CS_CANCELLED, "2100");
    assert_walk(f, &tree, 0, 8, CS_CANCELLED, "21001010");
}

static void test_walk_of_small_trees(void **state)
{
    static const uint64_t leaf = 0;
    struct fixture *f = *state;
    struct cs_tree tree = finish(begin(f, CS_TREE_CONTENT, 100));

    assert_walk(f, &tree, 0, 0, 0, "");
    tree = build(f, 1, &leaf, 1);
    assert_walk(f, &tree, 0, 0, 0, "0");
    assert_walk(f, &tree, 1, 0, 0, "0");
    assert_walk(f, &tree, 0, 1, CS_CANCELLED, "0");
}

/* ---- surveying ---- */

struct trace {
    char text[256];       /* of each call a letter and the level */
    char refused;         /* the call that fails, by its letter; 0: none */
    uint64_t passed_over; /* the region of level 1 that is not entered; 1: none */
};

static void note(struct trace *t, char call, const struct cs_subtree *at)
{
    size_t len = strlen(t->text);
    assert_true(len + 3 < sizeof t->text);
    snprintf(t->text + len, 3, "%c%u", call, at->level);
}

static bool trace_enter(void *arg, const struct cs_subtree *at)
{
    struct trace *t = arg;
    note(t, 'e', at);
    return at->level != 1 || at->region != t->passed_over;
}

static int trace_leaf(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                      struct cs_error *err)
{
    struct trace *t = arg;
    note(t, 'l', at);
    assert_int_equal(len, 8);
    if (t->refused == 'l')
        return cs_fail(err, CS_CANCELLED, "enough");
    return cs_from_le64(data) == at->region ? 0 : cs_fail(err, CS_CORRUPT, "another leaf");
}

static int trace_damaged(void *arg, const struct cs_subtree *at, const struct cs_error *why,
                         struct cs_error *err)
{
    struct trace *t = arg;
    note(t, 'd', at);
    assert_true(why->code < 0 && why->message[0] != 0);
    return t->refused == 'd' ? cs_fail(err, CS_CANCELLED, "enough") : 0;
}

static int trace_leave(void *arg, const struct cs_subtree *at, struct cs_error *err)
{
    struct trace *t = arg;
    note(t, 'v', at);
    return t->refused == 'v' ? cs_fail(err, CS_CANCELLED, "enough") : 0;
}

static void assert_survey(struct fixture *f, const struct cs_tree *tree, uint64_t passed_over,
                          char refused, const char *text)
{
    struct trace t = {.refused = refused, .passed_over = passed_over};
    const struct cs_survey how = {trace_enter, trace_leaf, trace_damaged, trace_leave, &t};
    struct cs_error err = {0};
    assert_int_equal(cs_tree_survey(&f->store, tree, &how, &err), refused != 0 ? CS_CANCELLED : 0);
    assert_string_equal(t.text, text);
}

/* From then on it cannot be read. */
static void lose(struct fixture *f, const struct cs_id *id)
{
    object_of(&f->store, id)->type = CS_PIECE;
}

static void test_survey_goes_on_after_damage(void **state)
{
    static const uint64_t leaves[] = {0, 1, 70, 4095};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 4096, leaves, 4);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    struct cs_subtree leaf, node;
    struct cs_error err;
    bool found;
    assert_int_equal(cs_tree_find(reader, 0, 1, &leaf, &found, &err), 0);
    assert_true(found);
    assert_int_equal(cs_tree_find(reader, 1, 70, &node, &found, &err), 0);
    assert_true(found);
    cs_tree_close(reader);

    assert_survey(f, &tree, 1, 0, "e2e1e0l0v0e0l0v0v1e1e0l0v0v1e1e0l0v0v1v2");
    assert_survey(f, &tree, 64, 0, "e2e1e0l0v0e0l0v0v1e1e1e0l0v0v1v2");
    assert_survey(f, &tree, 1, 'l', "e2e1e0l0");
    assert_survey(f, &tree, 1, 'v', "e2e1e0l0v0");
    lose(f, &leaf.id);
    assert_survey(f, &tree, 1, 0, "e2e1e0l0v0e0d0v1e1e0l0v0v1e1e0l0v0v1v2");
    lose(f, &node.id);
    assert_survey(f, &tree, 1, 0, "e2e1e0l0v0e0d0v1e1d1e1e0l0v0v1v2");
    assert_survey(f, &tree, 1, 'd', "e2e1e0l0v0e0d0");
    lose(f, &tree.root);
    assert_survey(f, &tree, 1, 0, "e2d2");
    tree.level = 3; /* than it can have over so few regions */
    assert_survey(f, &tree, 1, 0, "d3");
    tree = finish(begin(f, CS_TREE_CONTENT, 100));
    assert_survey(f, &tree, 1, 0, "");
}

/* What its reader finds wrong with a leaf is damage like any other. */
static void test_survey_tells_of_leaves_that_are_wrong(void **state)
{
    static const uint64_t leaves[] = {0, 1};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 2, leaves, 2);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    struct cs_subtree leaf;
    struct cs_error err;
    bool found;
    assert_int_equal(cs_tree_find(reader, 0, 1, &leaf, &found, &err), 0);
    assert_true(found);
    cs_tree_close(reader);
    cs_le64(object_of(&f->store, &leaf.id)->data, 5);
    assert_survey(f, &tree, 1, 0, "e1e0l0v0e0l0d0v1");
}

/* ---- damage ---- */

static int never_visit(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                       struct cs_error *err)
{
    (void)arg, (void)at, (void)data, (void)len, (void)err;
    fail_msg("a damaged node was visited");
    return 1;
}

/* Takes ${data} for the root of a tree of level 2, which reading and walking must refuse. */
static void assert_node_refused(struct fixture *f, const void *data, size_t len, const char *part)
{
    struct cs_tree tree = {.kind = CS_TREE_CONTENT, .regions = 4096, .level = 2};
    struct cs_error err;
    uint64_t region;
    const uint8_t *leaf;
    size_t leaf_len;
    bool found = true;

    tree.root = store_object(&f->store, CS_CONTENT_NODE, data, len);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    for (int i = 0; i < 2; i++) { /* a failure is not kept for a node */
        assert_int_equal(cs_tree_next(reader, 0, &region, &leaf, &leaf_len, &found, &err),
                         CS_CORRUPT);
        assert_false(found);
    }
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    char name[64];
    snprintf(name, sizeof name, "content node %016zx: ", f->store.count - 1);
    assert_non_null(strstr(err.message, name));
    cs_tree_close(reader);
    assert_int_equal(cs_tree_walk(&f->store, &tree, never_visit, NULL, &err), CS_CORRUPT);
}

static void test_damaged_nodes_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t node[9 + 66 * CS_CHILD_SIZE] = {2, 3};

    assert_node_refused(f, node, 0, "ends at byte 0");
    assert_node_refused(f, node, 1, "ends at byte 1");
    assert_node_refused(f, node, 8, "ends at byte 8");
    assert_node_refused(f, node, 9, "0 bytes at byte 9, where 2 children have 80");
    assert_node_refused(f, node, 9 + 2 * CS_CHILD_SIZE - 1, "79 bytes at byte 9");
    assert_node_refused(f, node, 9 + 2 * CS_CHILD_SIZE + 1, "81 bytes at byte 9");
    assert_node_refused(f, node, 9 + 3 * CS_CHILD_SIZE, "120 bytes at byte 9");
    node[0] = 1;
    assert_node_refused(f, node, 9 + 2 * CS_CHILD_SIZE, "level 1 at byte 0, where 2 belongs");
    node[0] = 3;
    assert_node_refused(f, node, 9 + 2 * CS_CHILD_SIZE, "level 3 at byte 0, where 2 belongs");
    node[0] = 0;
    assert_node_refused(f, node, 9 + 2 * CS_CHILD_SIZE, "level 0 at byte 0, where 2 belongs");
    node[0] = 2;
    node[1] = 0;
    assert_node_refused(f, node, 9, "no children at byte 1");
    memset(node + 1, 0xff, 8);
    assert_node_refused(f, node, 9 + 63 * CS_CHILD_SIZE, "where 64 children have 2560");
    assert_node_refused(f, node, 9 + 65 * CS_CHILD_SIZE, "where 64 children have 2560");
}

static void test_child_must_be_of_the_level_below(void **state)
{
    static const uint64_t leaves[] = {0, 63};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 64, leaves, 2);
    struct cs_node loop = {.bitmap = 1, .children = {{tree.root, tree.bytes}}};
    uint8_t data[CS_NODE_SIZE_MAX];
    struct cs_error err;

    /* a node of level 3 with a child of level 1 */
    size_t len = cs_node_encode(data, &loop, 3);
    tree = (struct cs_tree){.regions = 4097, .level = 3, .bytes = tree.bytes};
    tree.root = store_object(&f->store, CS_CONTENT_NODE, data, len);
    struct visits v = {.store = &f->store};
    assert_int_equal(cs_tree_walk(&f->store, &tree, visit, &v, &err), CS_CORRUPT);
    assert_int_equal(v.count, 1);
    assert_non_null(strstr(err.message, "level 1 at byte 0, where 2 belongs"));
}

static void test_level_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct cs_tree tree = {
        .kind = CS_TREE_PLACEMENT, .regions = TOP_REGIONS + 1, .level = 11, .bytes = 5};
    struct cs_tree_reader *reader;
    struct cs_error err;

    assert_int_equal(cs_tree_open(&reader, &f->store, &tree, &err), CS_CORRUPT);
    assert_null(reader);
    assert_string_equal(
        err.message,
        "placement tree: not empty, level 11, 5 bytes over 1152921504606846977 regions");
    assert_int_equal(cs_tree_walk(&f->store, &tree, never_visit, NULL, &err), CS_CORRUPT);
    tree.level = UINT32_MAX;
    assert_int_equal(cs_tree_open(&reader, &f->store, &tree, &err), CS_CORRUPT);
    assert_int_equal(f->store.reads, 0);
}

static void test_missing_and_damaged_objects_do_not_stick(void **state)
{
    static const uint64_t leaves[] = {0, 100};
    struct fixture *f = *state;
    struct cs_tree tree = build(f, 4096, leaves, 2);
    struct cs_tree_reader *reader = open_tree(f, &tree);
    struct cs_error err;
    uint64_t region;
    const uint8_t *leaf;
    size_t len;
    bool found = true;

    assert_next(reader, 0, 0);
    /* the leaf of region 100, then its node */
    for (size_t i = 1; i < 4; i += 2) {
        f->store.objects[i].type = CS_PIECE;
        assert_int_equal(cs_tree_next(reader, 1, &region, &leaf, &len, &found, &err), CS_NOT_FOUND);
        assert_false(found);
        assert_next(reader, 0, 0);
        f->store.objects[i].type = i == 1 ? CS_CONTENT_LEAF : CS_CONTENT_NODE;
        assert_next(reader, 1, 100);
        assert_next(reader, 0, 0);
    }
    /* nor does a damaged node leave anything behind in the place of a good one */
    uint8_t *bitmap = f->store.objects[3].data + 1;
    static const uint8_t none[8], many[8] = {0xf0, [4] = 1 << 4}, one[8] = {[4] = 1 << 4};
    for (int i = 0; i < 2; i++) {
        memcpy(bitmap, i == 0 ? none : many, 8);
        assert_int_equal(cs_tree_next(reader, 1, &region, &leaf, &len, &found, &err), CS_CORRUPT);
        assert_next(reader, 0, 0);
    }
    memcpy(bitmap, one, 8);
    assert_next(reader, 1, 100);
    f->store.objects[1].type = CS_PIECE;
    struct visits v = {.store = &f->store};
    assert_int_equal(cs_tree_walk(&f->store, &tree, visit, &v, &err), CS_NOT_FOUND);
    assert_int_equal(v.count, 4); /* the root, a node and its leaf, a node */
    cs_tree_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test_setup_teardown(test_empty_trees, enter, leave),
        cmocka_unit_test_setup_teardown(test_one_region_is_its_leaf, enter, leave),
        cmocka_unit_test_setup_teardown(test_known_nodes, enter, leave),
        cmocka_unit_test_setup_teardown(test_kinds_have_types_of_their_own, enter, leave),
        cmocka_unit_test_setup_teardown(test_random_trees_are_found_again, enter, leave),
        cmocka_unit_test_setup_teardown(test_deepest_tree, enter, leave),
        cmocka_unit_test_setup_teardown(test_equal_leaves_make_an_equal_tree, enter, leave),
        cmocka_unit_test_setup_teardown(test_going_forward_reads_a_node_once, enter, leave),
        cmocka_unit_test_setup_teardown(test_leaves_must_ascend_within_the_tree, enter, leave),
        cmocka_unit_test_setup_teardown(test_tree_over_nothing_takes_nothing, enter, leave),
        cmocka_unit_test_setup_teardown(test_empty_leaf_is_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_too_many_regions_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_failed_writes_fail_the_tree, enter, leave),
        cmocka_unit_test_setup_teardown(test_errors_may_be_ignored, enter, leave),
        cmocka_unit_test_setup_teardown(test_finish_waits_for_regions, enter, leave),
        cmocka_unit_test_setup_teardown(test_regions_of_another_tree_are_no_concern, enter, leave),
        cmocka_unit_test_setup_teardown(test_regions_out_of_order_fail_the_finish, enter, leave),
        cmocka_unit_test_setup_teardown(test_failed_pipeline_fails_the_finish, enter, leave),
        cmocka_unit_test_setup_teardown(test_marked_builder_fails_with_the_first_mark, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_abort_takes_the_builder_from_its_regions_first, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_walk_sees_parents_first, enter, leave),
        cmocka_unit_test_setup_teardown(test_walk_of_small_trees, enter, leave),
        cmocka_unit_test_setup_teardown(test_survey_goes_on_after_damage, enter, leave),
        cmocka_unit_test_setup_teardown(test_survey_tells_of_leaves_that_are_wrong, enter, leave),
        cmocka_unit_test_setup_teardown(test_damaged_nodes_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_child_must_be_of_the_level_below, enter, leave),
        cmocka_unit_test_setup_teardown(test_level_is_bounded, enter, leave),
        cmocka_unit_test_setup_teardown(test_missing_and_damaged_objects_do_not_stick, enter,
                                        leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
