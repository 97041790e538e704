/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a prune takes, and how much memory: not a test, but a measurement to be run by hand.
 * Makes a repository of a million chunks in hundreds of packs, ten archives of a disk of which some
 * changes each time, forgets half of them, and prunes with a cache as the program does.
 * usage: measure_cs_prune [CHUNKS]   in TMPDIR, better on a tmpfs
 */
#include "cs_fixture.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "content.h"
#include "store.h"

enum { ARCHIVES = 10, LEAF = 64, SIZE = 128, PACK = 4000, BLOCK = 64 };

static uint64_t leaves;

/* The generation of a leaf in archive ${a}: of the runs of ${BLOCK} leaves, one in ${ARCHIVES}
 * changes each time. */
static uint64_t generation(uint64_t leaf, unsigned a)
{
    uint64_t g = 0;
    for (unsigned i = 1; i <= a; i++)
        if ((leaf / BLOCK * 2654435761U + i) % ARCHIVES == 0)
            g = i;
    return g;
}

static void fill(uint8_t chunk[SIZE], uint64_t leaf, uint64_t g, uint64_t i)
{
    noise(chunk, SIZE, (leaf * ARCHIVES + g) * LEAF + i + 1);
}

static struct cs_tree trees[ARCHIVES];
static struct cs_id records[ARCHIVES];

static void make_archive(struct cs_store *store, unsigned a)
{
    struct cs_writer *w = begin(store);
    struct cs_tree_builder *builder = NULL;
    uint64_t stored = 0;
    assert_ok(cs_tree_begin(&builder, w, CS_TREE_CONTENT, leaves, err));
    for (uint64_t l = 0; l < leaves; l++) {
        struct cs_chunk chunks[LEAF];
        struct cs_run run = {.length = LEAF * SIZE};
        struct cs_buf leaf = {0};
        memset(chunks, 0, sizeof chunks);
        for (uint64_t i = 0; i < LEAF; i++) {
            uint8_t bytes[SIZE];
            fill(bytes, l, generation(l, a), i);
            chunks[i].length = SIZE;
            assert_ok(cs_write_chunk(w, bytes, SIZE, &chunks[i].id, err));
        }
        cs_content_encode(&leaf, &run, 1, chunks, LEAF);
        assert_ok(cs_tree_add(builder, l, leaf.data, leaf.len, LEAF * SIZE, err));
        cs_buf_clear(&leaf);
        stored += generation(l, a) == a ? LEAF : 0;
        if (stored >= PACK) {
            assert_ok(cs_writer_publish(w, err));
            stored = 0;
        }
    }
    assert_ok(cs_tree_finish(builder, &trees[a], err));
    records[a] = put_object(w, a, 500);
    assert_ok(try_commit(w, &records[a], "x", NULL, err));
    cs_writer_end(w);
}

struct walk {
    struct cs_store *store;
    struct cs_marker *marker;
};

static int visit(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                 struct cs_error *err)
{
    const struct walk *w = arg;
    struct cs_content content = {0};
    bool fresh, ignored;
    int rc = cs_mark(w->marker, &at->id, &fresh, err);
    if (rc < 0 || !fresh || at->level > 0)
        return rc < 0 ? rc : fresh;
    rc = cs_content_decode(&content, data, len, cs_region_size(w->store), err);
    for (size_t i = 0; rc == 0 && i < content.chunk_count; i++)
        rc = cs_mark(w->marker, &content.chunks[i].id, &ignored, err);
    cs_content_clear(&content);
    return rc < 0 ? rc : 1;
}

static int mark(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *err)
{
    struct walk w = {.store = arg, .marker = marker};
    bool fresh;
    int rc = cs_mark(marker, &archive->id, &fresh, err);
    for (unsigned a = 0; rc == 0 && a < ARCHIVES; a++)
        if (memcmp(&records[a], &archive->id, sizeof archive->id) == 0)
            rc = cs_tree_walk(w.store, &trees[a], visit, &w, err);
    return rc;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void prune(const struct repo *repo, const char *what)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    struct cs_prune_result r;
    struct rusage usage;
    double began = now();
    struct cs_store *store = open_with(repo, &options);
    double opened = now();
    struct cs_prune_options prune_options = {.no_grace = true, .mark = mark, .arg = store};
    assert_ok(cs_prune(store, &prune_options, &r, err));
    printf("%s: %.1f s (opening %.1f s), %zu packs left, %llu deleted, %llu rewritten, "
           "%.1f of %.1f MiB freed",
           what, now() - began, opened - began, store->state.pack_count,
           (unsigned long long)r.packs_deleted, (unsigned long long)r.packs_rewritten,
           (double)(r.bytes_before - r.bytes_after) / 1048576, (double)r.bytes_before / 1048576);
    cs_close(store);
    getrusage(RUSAGE_SELF, &usage);
    printf(", peak of the process %ld MiB\n", usage.ru_maxrss / 1024);
}

/* In a process of its own, for the peak of memory. */
static void prune_apart(const struct repo *repo, const char *what)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        prune(repo, what);
        fflush(stdout);
        _exit(0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child && status == 0);
}

static void make(const struct repo *repo)
{
    struct cs_store *store = open_store(repo);
    for (unsigned a = 0; a < ARCHIVES; a++)
        make_archive(store, a);
    uint64_t entries = 0;
    for (size_t i = 0; i < store->state.segment_count; i++)
        entries += store->state.segments[i].entries;
    printf("%llu objects in %zu packs, %zu segments\n", (unsigned long long)entries,
           store->state.pack_count, store->state.segment_count);
    cs_close(store);
}

static uint64_t wanted = 1000000;

static void measure(void **state)
{
    struct repo *repo = *state;
    leaves = wanted * 10 / 19 / LEAF; /* nine tenths more come with the changes */
    make(repo);
    prune_apart(repo, "nothing to do");
    struct cs_store *store = open_store(repo);
    assert_ok(cs_forget(store, records, ARCHIVES / 2, err));
    cs_close(store);
    prune_apart(repo, "half forgotten");
    prune_apart(repo, "again");
    store = open_store(repo);
    assert_int_equal(check_errors(store, NULL), 0);
    cs_close(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(measure, repo_setup, repo_teardown),
    };
    if (argc > 1)
        wanted = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
