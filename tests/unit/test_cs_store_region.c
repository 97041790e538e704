/* SPDX-License-Identifier: BSD-2-Clause */
/* Regions that come with their earlier leaf: the tree is the one that reading everything gives. */
#include <stdatomic.h>

#include "cs_fixture.h"

enum { REGION = 4 << 20, REGIONS = 12, CLUSTER = 64 << 10 };

static void assert_sound(struct cs_store *store)
{
    char message[CHECK_MESSAGE];
    if (check_errors(store, message) != 0)
        fail_msg("%s", message);
}

/* ---- disks: version 1 comes from version 0 by one write or two a region ---- */

static const struct cs_run holes[] = {{.offset = 0, .length = 1 << 20},
                                      {.offset = 1 << 20, .length = 1 << 20, .zero = true},
                                      {.offset = 5 << 19, .length = 3 << 19}};

static uint32_t changed_at(uint64_t number)
{
    return (uint32_t)(number < 5 ? 3 * number + 1 : 45 + number) * CLUSTER;
}

static void draw(uint8_t *data, uint64_t number, unsigned version)
{
    noise(data, REGION, number % 7);
    memset(data + (3 << 20), 0, 5 * 4096 + 100); /* zeros to take out */
    if (version == 0)
        return;
    noise(data + changed_at(number), 4096, 100 + number);
    if (number % 3 == 0) /* beside the zeros that were */
        memset(data + (3 << 20) + 5 * 4096, 0, 4096);
}

static bool cluster_changed(uint64_t number, uint32_t at)
{
    return at == changed_at(number) || (number % 3 == 0 && at == 3 << 20);
}

/* The runs of a region, those of version 1 cut at clusters that are ${same} as in version 0. */
static void describe(struct cs_region *region, uint64_t number, bool same)
{
    region->run_count = 0;
    for (size_t i = 0; i < sizeof holes / sizeof *holes; i++)
        for (uint32_t at = holes[i].offset, n; at < holes[i].offset + holes[i].length; at += n) {
            n = holes[i].zero ? holes[i].length : CLUSTER;
            bool s = same && !holes[i].zero && !cluster_changed(number, at);
            struct cs_run *last = &region->runs[region->run_count - 1];
            if (region->run_count > 0 && last->zero == holes[i].zero && last->same == s &&
                last->offset + last->length == at)
                last->length += n;
            else
                region->runs[region->run_count++] =
                    (struct cs_run){.offset = at, .length = n, .zero = holes[i].zero, .same = s};
        }
}

/* ---- trees ---- */

enum how { ALONE, HELD_AGAINST, COMPARED, MOSTLY_SAME, ALL_SAME };

struct source { /* of one region */
    uint8_t *bytes;
    struct reading *reading;
};

struct reading {           /* of them all, by workers */
    _Atomic uint64_t read; /* bytes */
    atomic_uint done;      /* sources */
    int rc;
};

static int read_source(void *arg, uint32_t offset, uint32_t length, uint8_t *to,
                       struct cs_error *err)
{
    struct source *s = arg;
    if (s->reading->rc < 0)
        return cs_fail(err, CS_CORRUPT, "the source cannot be read at %u", offset);
    memcpy(to, s->bytes + offset, length);
    s->reading->read += length;
    return 0;
}

static void source_done(void *arg)
{
    struct source *s = arg;
    s->reading->done++;
    free(s->bytes);
    free(s);
}

/* Has ${region} read what ${number} is in ${version}. */
static void read_from_source(struct cs_region *region, struct reading *reading, uint64_t number,
                             unsigned version)
{
    struct source *s = malloc(sizeof *s);
    assert_non_null(s);
    *s = (struct source){.bytes = malloc(REGION), .reading = reading};
    assert_non_null(s->bytes);
    draw(s->bytes, number, version);
    region->read = read_source;
    region->done = source_done;
    region->read_arg = s;
}

/* The content leaf of region ${number} in ${tree}. */
static struct cs_content leaf_of(struct cs_store *store, const struct cs_tree *tree,
                                 uint64_t number)
{
    struct cs_tree_reader *reader = NULL;
    struct cs_content content;
    const uint8_t *leaf = NULL;
    uint64_t found_at = 0;
    size_t len = 0;
    bool found = false;
    assert_ok(cs_tree_open(&reader, store, tree, err));
    assert_ok(cs_tree_next(reader, number, &found_at, &leaf, &len, &found, err));
    assert_true(found && found_at == number);
    assert_ok(cs_content_decode(&content, leaf, len, REGION, err));
    cs_tree_close(reader);
    return content;
}

/* A tree of the disk in ${version}, by what its leaves in version 0 tell; returns the bytes that
 * were read by workers. */
static uint64_t build(struct cs_writer *w, unsigned version, enum how how,
                      const struct cs_content *old, struct cs_tree *tree)
{
    struct cs_tree_builder *builder = NULL;
    struct reading reading = {0};
    assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, REGIONS, err));
    for (uint64_t i = 0; i < REGIONS; i++) {
        struct cs_region *region = NULL;
        assert_ok(cs_region_get(w, &region, err));
        region->index = i;
        describe(region, i, how == MOSTLY_SAME);
        if (how == ALL_SAME)
            for (size_t k = 0; k < region->run_count; k++)
                region->runs[k].same = !region->runs[k].zero;
        if (how >= COMPARED) {
            memset(region->data, 0x55, REGION);
            read_from_source(region, &reading, i, version);
        } else {
            draw(region->data, i, version);
        }
        struct cs_content lent = {0}; /* for the call alone */
        if (how != ALONE) {
            lent = old[i];
            lent.runs = malloc(lent.run_count * sizeof *lent.runs);
            assert_non_null(lent.runs);
            memcpy(lent.runs, old[i].runs, lent.run_count * sizeof *lent.runs);
            lent.chunks = malloc(lent.chunk_count * sizeof *lent.chunks);
            assert_non_null(lent.chunks);
            memcpy(lent.chunks, old[i].chunks, lent.chunk_count * sizeof *lent.chunks);
        }
        assert_ok(cs_region_put(&builder, 1, region, how != ALONE ? &lent : NULL, err));
        cs_content_clear(&lent);
    }
    assert_ok(cs_tree_finish(builder, tree, err));
    assert_int_equal(reading.done, how >= COMPARED ? REGIONS : 0);
    return reading.read;
}

/* Publishes version 0, and reads its leaves. */
static void publish_old(const struct repo *repo, struct cs_tree *tree,
                        struct cs_content leaves[REGIONS])
{
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    build(w, 0, ALONE, NULL, tree);
    assert_ok(cs_writer_publish(w, err));
    cs_writer_end(w);
    for (uint64_t i = 0; i < REGIONS; i++)
        leaves[i] = leaf_of(store, tree, i);
    cs_close(store);
}

static void clear_leaves(struct cs_content leaves[REGIONS])
{
    for (size_t i = 0; i < REGIONS; i++)
        cs_content_clear(&leaves[i]);
}

/* What the tree has in the data runs of each region is the disk in ${version}. */
static void assert_restores(struct cs_store *store, const struct cs_tree *tree, unsigned version)
{
    uint8_t *bytes = malloc(REGION), *chunk = malloc(REGION);
    assert_true(bytes != NULL && chunk != NULL);
    for (uint64_t i = 0; i < REGIONS; i++) {
        struct cs_content content = leaf_of(store, tree, i);
        size_t run = 0, from = 0;
        draw(bytes, i, version);
        for (size_t k = 0; k < content.chunk_count; k++) {
            size_t len = content.chunks[k].length;
            assert_ok(cs_read_chunk(store, &content.chunks[k].id, chunk, len, err));
            for (size_t at = 0; at < len; at++, from++) {
                while (content.runs[run].zero || from == content.runs[run].length) {
                    run++;
                    from = 0;
                }
                if (chunk[at] != bytes[content.runs[run].offset + from])
                    fail_msg("region %u, chunk %zu: byte %zu", (unsigned)i, k, at);
            }
        }
        cs_content_clear(&content);
    }
    free(bytes);
    free(chunk);
}

static void test_the_tree_is_the_same_by_any_way(void **state)
{
    static const unsigned threads[] = {1, 2, 7};
    struct repo *repo = *state;
    struct cs_content leaves[REGIONS];
    struct cs_tree old, expected;
    struct cs_counters plain;
    publish_old(repo, &old, leaves);
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    build(w, 1, ALONE, NULL, &expected);
    cs_writer_counters(w, &plain);
    cs_writer_end(w); /* nothing of it was published: the next ones store the same again */
    cs_close(store);
    assert_memory_not_equal(&old.root, &expected.root, sizeof old.root);
    assert_in_range(plain.chunks_new, REGIONS, 6 * REGIONS);
    for (size_t i = 0; i < 3 * sizeof threads / sizeof *threads; i++) {
        enum how how = HELD_AGAINST + i % 3;
        struct cs_open_options options = {.secret = key_file(0), .threads = threads[i / 3]};
        struct cs_tree tree;
        struct cs_counters counters;
        store = open_with(repo, &options);
        w = begin(store);
        uint64_t read = build(w, 1, how, leaves, &tree);
        cs_writer_counters(w, &counters);
        assert_memory_equal(&tree.root, &expected.root, sizeof tree.root);
        assert_int_equal(counters.chunks_total, plain.chunks_total);
        assert_int_equal(counters.chunks_new, plain.chunks_new);
        assert_int_equal(counters.bytes_new, plain.bytes_new);
        if (how == MOSTLY_SAME)
            assert_in_range(read, 1, REGIONS * 800000);
        if (i + 1 == 3 * sizeof threads / sizeof *threads)
            assert_ok(cs_writer_publish(w, err));
        cs_writer_end(w);
        cs_close(store);
    }
    store = open_store(repo);
    assert_sound(store);
    assert_restores(store, &expected, 1);
    cs_close(store);
    clear_leaves(leaves);
}

/* Not even where the repository lacks the chunks: who says that they are known has seen to that. */
static void test_what_is_known_is_neither_read_nor_stored(void **state)
{
    struct repo *repo = *state;
    struct cs_content leaves[REGIONS];
    struct cs_tree old, tree;
    struct cs_counters counters;
    repo_save(repo);
    publish_old(repo, &old, leaves);
    repo_restore(repo);
    for (enum how how = HELD_AGAINST; how <= ALL_SAME; how++) {
        if (how == MOSTLY_SAME) /* not in version 0 */
            continue;
        struct cs_store *store = open_store(repo);
        struct cs_writer *w = begin(store);
        uint64_t read = build(w, 0, how, leaves, &tree);
        assert_true((read > 0) == (how == COMPARED));
        cs_writer_counters(w, &counters);
        assert_memory_equal(&tree.root, &old.root, sizeof tree.root);
        assert_true(counters.chunks_total > REGIONS * 30);
        assert_int_equal(counters.chunks_new, 0);
        cs_writer_end(w);
        cs_close(store);
    }
    clear_leaves(leaves);
}

/* ---- what a region became ---- */

struct told {
    struct cs_id leaves[REGIONS];
    uint64_t bytes[REGIONS];
    unsigned calls;
};

static void take_leaf(void *arg, const struct cs_region *region, const struct cs_id *leaf,
                      uint64_t bytes)
{
    struct told *told = arg;
    assert_int_equal(region->tag.bytes[0], region->index);
    told->leaves[region->index] = *leaf;
    told->bytes[region->index] = bytes;
    told->calls++;
}

/* A region of zeros, one without runs, and one that nobody wants to hear of, among those with data;
 * a tree that is given up says nothing any more. */
static void test_a_region_tells_what_it_became(void **state)
{
    static const struct cs_run all = {.offset = 0, .length = REGION};
    struct repo *repo = *state;
    struct told told = {0};
    struct cs_tree tree;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    for (int rounds = 0; rounds < 2; rounds++) {
        struct cs_tree_builder *builder = NULL;
        assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, REGIONS, err));
        for (uint64_t i = 0; i < REGIONS; i++) {
            struct cs_region *region = NULL;
            assert_ok(cs_region_get(w, &region, err));
            draw(region->data, i, 0);
            region->index = i;
            region->runs[0] = all;
            region->runs[0].zero = i == 3;
            region->run_count = i != 4;
            region->tag.bytes[0] = (uint8_t)i;
            if (i != 5) {
                region->stored = take_leaf;
                region->arg = &told;
            }
            assert_ok(cs_region_put(&builder, 1, region, NULL, err));
        }
        if (rounds == 0) {
            assert_ok(cs_tree_finish(builder, &tree, err));
            assert_int_equal(told.calls, REGIONS - 2);
        } else {
            unsigned before = told.calls;
            cs_tree_abort(builder);
            assert_ok(cs_writer_publish(w, err));
            assert_int_equal(told.calls, before);
        }
    }
    struct cs_tree_reader *reader = NULL;
    assert_ok(cs_tree_open(&reader, store, &tree, err));
    for (uint64_t i = 0; i < REGIONS; i++) {
        struct cs_subtree leaf;
        bool found = false;
        assert_ok(cs_tree_find(reader, 0, i, &leaf, &found, err));
        assert_int_equal(found, i != 4);
        if (!found || i == 5)
            continue;
        assert_memory_equal(&leaf.id, &told.leaves[i], sizeof leaf.id);
        assert_int_equal(leaf.bytes, told.bytes[i]);
    }
    cs_tree_close(reader);
    cs_writer_end(w);
    cs_close(store);
}

/* ---- what cannot be ---- */

static void test_what_a_region_may_not_say(void **state)
{
    static const struct cs_run wrong[][2] = {
        {{.offset = 0, .length = 4096}, {.offset = 512, .length = 4096}}, /* overlap */
        {{.offset = 4096, .length = 512}, {.offset = 0, .length = 512}},
        {{.offset = 0, .length = 100}, {.offset = 512, .length = 512}}, /* split sectors */
        {{.offset = 0, .length = 512}, {.offset = 700, .length = 324}},
        {{.offset = 0, .length = 512}, {.offset = 4096, .length = 0}},
        {{.offset = 0, .length = 512}, {.offset = REGION - 512, .length = 1024}},
        /* before had nothing there */
        {{.offset = 0, .length = 512}, {.offset = 2 << 20, .length = 512, .same = true}},
        {{.offset = 0, .length = 512}, {.offset = REGION - 512, .length = 512, .same = true}},
    };
    struct repo *repo = *state;
    struct cs_content leaves[REGIONS];
    struct cs_tree old, tree;
    publish_old(repo, &old, leaves);
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *builder = NULL;
    struct cs_content content = leaves[0];
    struct reading reading = {0};
    struct cs_region *region = NULL;
    assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, REGIONS, err));
    for (unsigned i = 0; i < 40; i++) { /* more than there are buffers: each is given back */
        assert_ok(cs_region_get(w, &region, err));
        memset(region->data, 1, REGION);
        content.run_count = 2; /* up to 2 MiB */
        memcpy(region->runs, wrong[i % 8], 2 * sizeof *region->runs);
        region->run_count = 2;
        read_from_source(region, &reading, 0, 0);
        void *source = region->read_arg;
        assert_fails(CS_USAGE, cs_region_put(&builder, 1, region, &content, err));
        assert_int_equal(reading.done, i);
        source_done(source);
    }
    for (int with_leaf = 0; with_leaf < 2; with_leaf++) { /* nothing was, or it cannot be read */
        assert_ok(cs_region_get(w, &region, err));
        region->runs[0] = (struct cs_run){.offset = 0, .length = 512, .same = true};
        region->run_count = 1;
        assert_fails(CS_USAGE,
                     cs_region_put(&builder, 1, region, with_leaf ? &content : NULL, err));
    }
    assert_ok(cs_tree_finish(builder, &tree, err));
    assert_true(tree.empty);
    cs_writer_end(w);
    cs_close(store);
    clear_leaves(leaves);
}

static void test_a_source_that_fails_fails_the_tree(void **state)
{
    struct repo *repo = *state;
    struct cs_content leaves[REGIONS];
    struct cs_tree old, tree;
    publish_old(repo, &old, leaves);
    struct cs_store *store = open_store(repo);
    for (int same = 0; same < 2; same++) {
        struct cs_writer *w = begin(store);
        struct cs_tree_builder *builder = NULL;
        struct reading reading = {.rc = -1};
        unsigned put = 0;
        assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, 20, err));
        for (int rc = 0; rc == 0 && put < 20; put += rc == 0) {
            struct cs_region *region = NULL;
            assert_ok(cs_region_get(w, &region, err));
            region->index = put;
            describe(region, 0, same);
            read_from_source(region, &reading, 0, 1);
            void *source = region->read_arg;
            rc = cs_region_put(&builder, 1, region, &leaves[0], NULL);
            if (rc < 0) /* it failed before */
                source_done(source);
            reading.done -= rc < 0;
        }
        assert_fails(CS_CORRUPT, cs_tree_finish(builder, &tree, err));
        assert_true(put > 0);
        assert_int_equal(reading.done, put);
        cs_writer_end(w);
    }
    cs_close(store);
    clear_leaves(leaves);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_the_tree_is_the_same_by_any_way),
        with_repo(test_what_is_known_is_neither_read_nor_stored),
        with_repo(test_a_region_tells_what_it_became),
        with_repo(test_what_a_region_may_not_say),
        with_repo(test_a_source_that_fails_fails_the_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
