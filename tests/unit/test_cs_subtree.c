/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Subtrees: found in one tree, taken over by another, which must then be the
 * very tree that all leaves would have made; and the bytes that they stand for,
 * in a repository as it is.
 */
#include "cs_fixture.h"

#include <stdio.h>

#include "tree.h"

#define TOP_REGIONS (UINT64_C(1) << 60)

enum { MOST_LEAVES = 400 };

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t span_of(unsigned level)
{
    return UINT64_C(1) << (6 * level);
}

/* ---- a disk as the tests see it: few regions with something in them ---- */

struct disk {
    uint64_t regions;
    size_t count;
    struct {
        uint64_t region;
        uint64_t version; /* what is in it */
    } leaves[MOST_LEAVES];
};

/* The first leaf at or after ${region}. */
static size_t leaf_at(const struct disk *d, uint64_t region)
{
    size_t i = 0;
    while (i < d->count && d->leaves[i].region < region)
        i++;
    return i;
}

static void set_leaf(struct disk *d, uint64_t region, uint64_t version)
{
    size_t i = leaf_at(d, region);
    bool there = i < d->count && d->leaves[i].region == region;
    if (!there) {
        if (d->count == MOST_LEAVES)
            return;
        memmove(&d->leaves[i + 1], &d->leaves[i], (d->count - i) * sizeof *d->leaves);
        d->count++;
    }
    d->leaves[i].region = region;
    d->leaves[i].version = version;
}

static void drop_leaves(struct disk *d, uint64_t from, uint64_t count)
{
    size_t begin = leaf_at(d, from), end = leaf_at(d, from + count);
    memmove(&d->leaves[begin], &d->leaves[end], (d->count - end) * sizeof *d->leaves);
    d->count -= end - begin;
}

/* Writes to and empties a few places, some of them neighbours. */
static void change(struct disk *d, size_t places)
{
    for (size_t i = 0; i < places; i++) {
        uint64_t at = next_random() % d->regions, n = 1 + next_random() % 5;
        if (next_random() % 3 == 0 && d->count > 0)
            at = d->leaves[next_random() % d->count].region;
        if (next_random() % 4 == 0)
            drop_leaves(d, at, n);
        else
            for (uint64_t r = at; r < at + n && r < d->regions; r++)
                set_leaf(d, r, next_random() % 4);
    }
}

static bool same_range(const struct disk *a, const struct disk *b, uint64_t begin, uint64_t count)
{
    size_t i = leaf_at(a, begin), k = leaf_at(b, begin);
    size_t n = leaf_at(a, begin + count) - i;
    return n == leaf_at(b, begin + count) - k &&
           memcmp(&a->leaves[i], &b->leaves[k], n * sizeof *a->leaves) == 0;
}

/* ---- trees over it ---- */

/* Regions of equal version are equal leaves. */
static void add_leaf(struct cs_tree_builder *b, const struct disk *d, size_t i)
{
    uint64_t version = d->leaves[i].version;
    assert_ok(cs_tree_add(b, d->leaves[i].region, &version, sizeof version, version * 512, err));
}

static struct cs_tree_builder *begin_tree(struct cs_writer *w, uint64_t regions)
{
    struct cs_tree_builder *b = NULL;
    assert_ok(cs_tree_begin(&b, w, CS_TREE_PLACEMENT, regions, err));
    return b;
}

static struct cs_tree finish(struct cs_tree_builder *b)
{
    struct cs_tree tree;
    assert_ok(cs_tree_finish(b, &tree, err));
    return tree;
}

static struct cs_tree build(struct cs_writer *w, const struct disk *d)
{
    struct cs_tree_builder *b = begin_tree(w, d->regions);
    for (size_t i = 0; i < d->count; i++)
        add_leaf(b, d, i);
    return finish(b);
}

static void assert_same_tree(const struct cs_tree *a, const struct cs_tree *b)
{
    assert_true(a->kind == b->kind && a->level == b->level && a->empty == b->empty);
    assert_true(a->regions == b->regions && a->bytes == b->bytes);
    if (!a->empty)
        assert_memory_equal(a->root.bytes, b->root.bytes, CS_ID_SIZE);
}

/* Builds the tree of ${now} from that of ${before}: what is as it was is taken over, as large as it
 * may be; the rest is added leaf by leaf. */
struct update {
    struct cs_tree_builder *builder;
    struct cs_tree_reader *reader;
    const struct disk *before;
    const struct disk *now;
    unsigned before_level;
    size_t taken;
};

static void update_range(struct update *u, unsigned level, uint64_t begin)
{
    uint64_t span = span_of(level);
    bool safe = begin + span <= u->now->regions || u->before->regions <= u->now->regions;
    if (safe && level <= u->before_level && same_range(u->before, u->now, begin, span)) {
        struct cs_subtree s;
        bool found;
        assert_ok(cs_tree_find(u->reader, level, begin, &s, &found, err));
        size_t i = leaf_at(u->now, begin);
        assert_int_equal(found, i < u->now->count && u->now->leaves[i].region < begin + span);
        if (found)
            assert_ok(cs_tree_add_subtree(u->builder, &s, err));
        u->taken += found;
        return;
    }
    size_t i = leaf_at(u->now, begin);
    if (i == u->now->count || u->now->leaves[i].region >= begin + span)
        return;
    if (level == 0)
        add_leaf(u->builder, u->now, i);
    for (unsigned child = 0; level > 0 && child < CS_NODE_CHILDREN; child++)
        update_range(u, level - 1, begin + child * span_of(level - 1));
}

static void test_updated_trees_are_those_of_all_leaves(void **state)
{
    static const uint64_t sizes[][2] = {
        {1, 1},
        {64, 64},
        {65, 65},
        {4096, 4096},
        {5000, 5000},
        {300000, 300000},
        {TOP_REGIONS, TOP_REGIONS},
        /* grown */
        {50, 5000},
        {64, 65},
        {4096, 4097},
        {100, UINT64_C(1) << 30},
        {5000, TOP_REGIONS},
        /* shrunk */
        {5000, 50},
        {5000, 4100},
        {300000, 4097},
        {TOP_REGIONS, 100},
    };
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    static struct disk before, now;
    size_t taken = 0, leaves = 0;

    for (size_t round = 0; round < 4 * sizeof sizes / sizeof *sizes; round++) {
        random_state = round;
        before = (struct disk){.regions = sizes[round / 4][0]};
        change(&before, 1 + next_random() % 150);
        struct cs_tree old = build(w, &before);
        assert_ok(cs_writer_publish(w, err));
        now = before;
        now.regions = sizes[round / 4][1];
        drop_leaves(&now, now.regions, TOP_REGIONS - now.regions);
        change(&now, next_random() % 10);
        struct cs_tree expected = build(w, &now);

        struct update u = {.builder = begin_tree(w, now.regions),
                           .before = &before,
                           .now = &now,
                           .before_level = old.level};
        assert_ok(cs_tree_open(&u.reader, store, &old, err));
        update_range(&u, cs_tree_level(now.regions), 0);
        struct cs_tree tree = finish(u.builder);
        assert_same_tree(&tree, &expected);
        cs_tree_close(u.reader);
        taken += u.taken;
        leaves += now.count;
    }
    assert_true(taken > 0 && taken < leaves); /* neither nothing nor leaf by leaf */
    cs_writer_end(w);
    cs_close(store);
}

static void test_everything_from_one_root_is_that_root(void **state)
{
    static const uint64_t sizes[] = {1, 2, 64, 65, 5000, TOP_REGIONS};
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    static struct disk d;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        random_state = i;
        d = (struct disk){.regions = sizes[i]};
        set_leaf(&d, sizes[i] - 1, 3);
        change(&d, 50);
        set_leaf(&d, 0, 2);
        struct cs_tree tree = build(w, &d);
        assert_ok(cs_writer_publish(w, err));
        for (unsigned level = 0; level <= tree.level; level++) {
            struct cs_tree_reader *reader = NULL;
            struct cs_tree_builder *b = begin_tree(w, d.regions);
            assert_ok(cs_tree_open(&reader, store, &tree, err));
            uint64_t last = UINT64_MAX;
            for (size_t k = 0; k < d.count; k++) {
                struct cs_subtree s;
                bool found;
                assert_ok(cs_tree_find(reader, level, d.leaves[k].region, &s, &found, err));
                assert_true(found && s.level == level && s.end == d.regions);
                assert_true(s.region == d.leaves[k].region / span_of(level) * span_of(level));
                if (s.region != last)
                    assert_ok(cs_tree_add_subtree(b, &s, err));
                last = s.region;
            }
            struct cs_tree again = finish(b);
            assert_same_tree(&again, &tree);
            cs_tree_close(reader);
        }
    }
    cs_writer_end(w);
    cs_close(store);
}

/* What is taken over need not even be there to be read. */
static void test_what_is_taken_over_is_not_read(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_subtree root = {.level = 2, .end = 4000, .id = {{1, 2, 3}}, .bytes = 1234567};
    struct cs_tree_builder *b = begin_tree(w, 4000);

    assert_ok(cs_tree_add_subtree(b, &root, err));
    struct cs_tree tree = finish(b);
    assert_true(tree.level == 2 && tree.bytes == 1234567 && !tree.empty);
    assert_memory_equal(tree.root.bytes, root.id.bytes, CS_ID_SIZE);
    b = begin_tree(w, 5000);
    assert_ok(cs_tree_add_subtree(b, &root, err));
    tree = finish(b);
    assert_true(tree.level == 3 && tree.bytes == 1234567);
    cs_writer_end(w);
    cs_close(store);
}

/* ---- with regions in flight ---- */

static void put_region(struct cs_writer *w, struct cs_tree_builder *b, uint64_t index,
                       uint64_t version)
{
    enum { BYTES = 40000 };
    struct cs_region *region = NULL;
    assert_ok(cs_region_get(w, &region, err));
    noise(region->data, BYTES, version);
    region->index = index;
    region->runs[0] = (struct cs_run){.length = BYTES};
    region->run_count = 1;
    assert_ok(cs_region_put(&b, 1, region, NULL, err));
}

static struct cs_tree_builder *begin_content(struct cs_writer *w, uint64_t regions)
{
    struct cs_tree_builder *b = NULL;
    assert_ok(cs_tree_begin(&b, w, CS_TREE_CONTENT, regions, err));
    return b;
}

/* Between regions, behind many of them, and more at once than a builder lets wait. */
static void test_subtrees_keep_their_place_among_regions(void **state)
{
    enum { REGIONS = 900, STRIDE = 300 };
    static const unsigned threads[] = {1, 3};
    for (size_t t = 0; t < 2; t++) {
        struct cs_open_options options = {.secret = key_file(0), .threads = threads[t]};
        struct cs_store *store = open_with(*state, &options);
        struct cs_writer *w = begin(store);
        struct cs_tree_builder *b = begin_content(w, REGIONS);
        for (uint64_t r = 0; r < REGIONS; r++)
            put_region(w, b, r, r % 7);
        struct cs_tree old = finish(b);
        assert_true(old.bytes == REGIONS * UINT64_C(40000));
        b = begin_content(w, REGIONS);
        for (uint64_t r = 0; r < REGIONS; r++)
            put_region(w, b, r, r % STRIDE < 12 && r % 3 != 0 ? 8 : r % 7);
        struct cs_tree expected = finish(b);
        assert_ok(cs_writer_publish(w, err));

        struct cs_tree_reader *reader = NULL;
        assert_ok(cs_tree_open(&reader, store, &old, err));
        b = begin_content(w, REGIONS);
        for (uint64_t r = 0; r < REGIONS; r++) {
            struct cs_subtree s;
            bool found;
            if (r % STRIDE < 12 && r % 3 != 0) {
                put_region(w, b, r, 8);
            } else {
                assert_ok(cs_tree_find(reader, 0, r, &s, &found, err));
                assert_true(found && s.bytes == 40000);
                assert_ok(cs_tree_add_subtree(b, &s, err));
            }
        }
        struct cs_tree tree = finish(b);
        assert_same_tree(&tree, &expected);
        cs_tree_close(reader);
        cs_writer_end(w);
        cs_close(store);
    }
}

static void test_a_region_inside_a_subtree_fails_the_tree(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *b = begin_content(w, 1000);
    struct cs_subtree s = {.level = 1, .region = 64, .end = 1000, .bytes = 5};
    struct cs_tree tree;
    struct cs_error why;

    put_region(w, b, 3, 1);
    assert_ok(cs_tree_add_subtree(b, &s, err));
    put_region(w, b, 127, 2);
    assert_int_equal(cs_tree_finish(b, &tree, &why), CS_USAGE);
    assert_string_equal(why.message, "content tree: region 127 comes after region 127");
    assert_true(tree.empty);
    cs_writer_end(w);
    cs_close(store);
}

/* ---- what is refused ---- */

static void assert_not_taken(struct cs_writer *w, uint64_t regions, const struct cs_subtree *first,
                             const struct cs_subtree *s, const char *message)
{
    struct cs_tree_builder *b = begin_tree(w, regions);
    struct cs_error why = {0};
    struct cs_tree tree;
    if (first != NULL)
        assert_ok(cs_tree_add_subtree(b, first, err));
    assert_int_equal(cs_tree_add_subtree(b, s, &why), CS_USAGE);
    if (strstr(why.message, message) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.message, message);
    assert_int_equal(cs_tree_finish(b, &tree, NULL), CS_USAGE);
}

static void test_subtrees_must_fit(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_subtree s = {.level = 1, .region = 64, .end = 128};

    assert_not_taken(w, 100, NULL, &s,
                     "a subtree of level 1 at region 64 from a tree over 128 in a tree over 100");
    s.end = 101;
    assert_not_taken(w, 100, NULL, &s, "from a tree over 101 in a tree over 100");
    s.end = 64; /* or not set */
    assert_not_taken(w, 1000, NULL, &s, "at region 64 from a tree over 64");
    s.end = 0;
    assert_not_taken(w, 1000, NULL, &s, "at region 64 from a tree over 0");
    s.end = 5000;
    s.region = 96;
    assert_not_taken(w, 1000, NULL, &s, "no subtree of level 1 begins at region 96");
    s.region = 1024;
    assert_not_taken(w, 1000, NULL, &s, "region 1024 of a tree over 1000");
    s.level = 4;
    s.region = 0;
    assert_not_taken(w, 1000, NULL, &s, "a subtree of level 4 in a tree of level 2");
    s.level = UINT32_MAX;
    assert_not_taken(w, 1000, NULL, &s, "a subtree of level 4294967295 in a tree of level 2");

    struct cs_subtree first = {.level = 1, .region = 64, .end = 1000};
    s = first;
    assert_not_taken(w, 1000, &first, &s, "region 64 comes after region 127");
    s.level = 0;
    s.region = 127;
    assert_not_taken(w, 1000, &first, &s, "region 127 comes after region 127");
    s.level = 2;
    s.region = 0;
    assert_not_taken(w, 1000, &first, &s, "region 0 comes after region 127");
    first.level = 0;
    s.level = 1;
    s.region = 64;
    assert_not_taken(w, 1000, &first, &s, "region 64 comes after region 64");
    first = (struct cs_subtree){.level = 2, .end = 1000};
    assert_not_taken(w, 1000, &first, &s, "region 64 comes after region 4095");
    cs_writer_end(w);
    cs_close(store);
}

static void test_bytes_are_not_counted_past_their_end(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *b = begin_tree(w, 1000);
    struct cs_subtree s = {.end = 1000, .bytes = UINT64_C(1) << 63};
    struct cs_tree tree;
    struct cs_error why;

    assert_ok(cs_tree_add_subtree(b, &s, err));
    s.region = 999;
    assert_ok(cs_tree_add_subtree(b, &s, err));
    assert_int_equal(cs_tree_finish(b, &tree, &why), CS_CORRUPT);
    assert_string_equal(
        why.message, "placement tree: 9223372036854775808 bytes from region 960 on are too many");
    cs_writer_end(w);
    cs_close(store);
}

/* ---- finding ---- */

static void test_finding_where_something_is_and_is_not(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_tree_reader *reader = NULL;
    static struct disk d = {.regions = 5000};
    struct cs_subtree s;
    bool found = true;

    set_leaf(&d, 70, 1);
    set_leaf(&d, 4999, 2);
    struct cs_tree tree = build(w, &d);
    assert_ok(cs_writer_publish(w, err));
    assert_true(tree.level == 3 && tree.bytes == 3 * 512);
    assert_ok(cs_tree_open(&reader, store, &tree, err));
    static const struct {
        unsigned level;
        uint64_t region, bytes; /* 0: nothing there */
    } cases[] = {
        {0, 70, 512},    {0, 71, 0},         {0, 4999, 1024},    {0, 5000, 0}, {1, 64, 512},
        {1, 127, 512},   {1, 63, 0},         {1, 128, 0},        {2, 0, 512},  {2, 4096, 1024},
        {3, 4000, 1536}, {2, 4999, 1024},    {2, 5000, 0},       {3, 5000, 0}, {3, 0, 1536},
        {0, 0, 0},       {3, UINT64_MAX, 0}, {0, UINT64_MAX, 0}, {0, 70, 512},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(cs_tree_find(reader, cases[i].level, cases[i].region, &s, &found, err));
        assert_int_equal(found, cases[i].bytes > 0);
        if (found)
            assert_true(s.bytes == cases[i].bytes && s.level == cases[i].level &&
                        s.region == cases[i].region / span_of(s.level) * span_of(s.level));
    }
    assert_fails(CS_USAGE, cs_tree_find(reader, 4, 0, &s, &found, err));
    assert_fails(CS_USAGE, cs_tree_find(reader, UINT32_MAX, 0, &s, &found, err));
    cs_tree_close(reader);

    tree = finish(begin_tree(w, 5000));
    assert_true(tree.empty && tree.bytes == 0 && tree.regions == 5000);
    assert_ok(cs_tree_open(&reader, store, &tree, err));
    assert_ok(cs_tree_find(reader, 3, 0, &s, &found, err));
    assert_false(found);
    cs_tree_close(reader);
    cs_writer_end(w);
    cs_close(store);
}

/* ---- damage ---- */

static int never_visit(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                       struct cs_error *err)
{
    (void)arg, (void)at, (void)data, (void)len, (void)err;
    fail_msg("a damaged node was visited");
    return 1;
}

/* A tree over ${regions} (two levels of nodes at the most) with the root ${node}, which stands for
 * ${bytes}, must be refused. */
static void assert_refused(struct cs_store *store, struct cs_writer *w, uint64_t regions,
                           const struct cs_node *node, uint64_t bytes, const char *message)
{
    struct cs_tree tree = {.kind = CS_TREE_CONTENT,
                           .regions = regions,
                           .level = cs_tree_level(regions),
                           .bytes = bytes};
    uint8_t data[CS_NODE_SIZE_MAX];
    struct cs_tree_reader *reader = NULL;
    const uint8_t *leaf = NULL;
    struct cs_subtree s;
    uint64_t region;
    size_t len = cs_node_encode(data, node, tree.level);
    bool found;
    struct cs_error why = {0};
    char expected[256], hex[CS_ID_HEX];

    assert_ok(cs_write_object(w, CS_CONTENT_NODE, data, len, &tree.root, err));
    assert_ok(cs_writer_publish(w, err));
    assert_ok(cs_tree_open(&reader, store, &tree, err));
    snprintf(expected, sizeof expected, "content node %.16s: %s", cs_id_hex(&tree.root, hex),
             message);
    assert_fails(CS_CORRUPT, cs_tree_next(reader, 0, &region, &leaf, &len, &found, err));
    assert_int_equal(cs_tree_find(reader, 0, 0, &s, &found, &why), CS_CORRUPT);
    assert_string_equal(why.message, expected);
    assert_fails(CS_CORRUPT, cs_tree_walk(store, &tree, never_visit, NULL, err));
    cs_tree_close(reader);
}

static void test_nodes_must_stand_for_what_they_have(void **state)
{
    struct cs_store *store = open_store(*state);
    struct cs_writer *w = begin(store);
    struct cs_node node = {.bitmap = 9, .children = {{.bytes = 5}, {.bytes = 7}}};

    assert_refused(store, w, 64, &node, 11, "its children have 12 bytes, where 11 belong");
    assert_refused(store, w, 64, &node, 0, "its children have 12 bytes, where 0 belong");
    node.children[1].bytes = UINT64_MAX - 4;
    assert_refused(store, w, 64, &node, 0,
                   "child 1 at byte 49 has 18446744073709551611 bytes: together too many");
    node.children[1].bytes = 7;
    assert_refused(store, w, 3, &node, 12, "a child for region 3 of a tree over 3");
    assert_refused(store, w, 65, &(struct cs_node){.bitmap = 5, .children = {{.bytes = 12}}}, 12,
                   "a child for region 128 of a tree over 65");
    cs_writer_end(w);
    cs_close(store);
}

static void test_trees_must_be_as_high_as_their_regions_make_them(void **state)
{
    static const struct cs_tree bad[] = {
        {.regions = 64, .level = 2, .empty = true},
        {.regions = 65, .level = 1, .empty = true},
        {.regions = 65, .level = 1},
        {.regions = 0, .level = 0},
        {.regions = 65, .level = 2, .empty = true, .bytes = 1},
        {.regions = TOP_REGIONS + 1, .level = 11},
    };
    struct cs_store *store = open_store(*state);
    struct cs_tree_reader *reader = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(CS_CORRUPT, cs_tree_open(&reader, store, &bad[i], err));
        assert_null(reader);
        assert_fails(CS_CORRUPT, cs_tree_walk(store, &bad[i], never_visit, NULL, err));
    }
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_updated_trees_are_those_of_all_leaves),
        with_repo(test_everything_from_one_root_is_that_root),
        with_repo(test_what_is_taken_over_is_not_read),
        with_repo(test_subtrees_keep_their_place_among_regions),
        with_repo(test_a_region_inside_a_subtree_fails_the_tree),
        with_repo(test_subtrees_must_fit),
        with_repo(test_bytes_are_not_counted_past_their_end),
        with_repo(test_finding_where_something_is_and_is_not),
        with_repo(test_nodes_must_stand_for_what_they_have),
        with_repo(test_trees_must_be_as_high_as_their_regions_make_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
