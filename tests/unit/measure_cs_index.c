/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long it takes to open, to ask and to prune an index of many chunks, and how much memory: not
 * a test, but a measurement to be run by hand. Makes segments of entries that lead to packs which
 * are empty files of the right size, for nobody reads them: the largest has half of all entries,
 * the next half of the rest, as merging leaves them. The prune frees every fifth pack, so that it
 * merges all segments. usage: measure_cs_index [CHUNKS]   in TMPDIR; 100 bytes a chunk
 */
#include "cs_fixture.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "index.h"
#include "log.h"

enum { SEGMENTS = 6, CHUNKS_PER_PACK = 1000, LOOKUPS = 1000000, FREED = 5 };

static uint64_t wanted = 16000000;
static uint64_t sizes[SEGMENTS];

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static void put_be64(uint8_t *out, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* The ${i}th prefix of a segment, in ascending order. */
static void prefix_of(uint8_t prefix[16], unsigned segment, uint64_t i)
{
    uint64_t gap = UINT64_MAX / sizes[segment];
    put_be64(prefix, i * gap + mix(i * SEGMENTS + segment) % gap);
    put_be64(prefix + 8, mix(i * SEGMENTS + segment + UINT64_C(0x9e3779b97f4a7c15)));
}

struct maker {
    unsigned segment;
    uint64_t next;
    uint32_t packs;
};

static uint32_t pack_of(uint64_t entry, uint32_t packs)
{
    return (uint32_t)(mix(entry) % packs);
}

static int next_entry(void *arg, struct cs_entry *e, struct cs_error *error)
{
    (void)error;
    struct maker *m = arg;
    prefix_of(e->prefix, m->segment, m->next);
    e->pack = pack_of(m->next, m->packs);
    e->frame = (uint16_t)(m->next % 64);
    e->slot = (uint16_t)(m->next % 16);
    m->next++;
    return 0;
}

/* Processor time, for others may be at work here. */
static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t packs_of(unsigned segment)
{
    return (uint32_t)(sizes[segment] / CHUNKS_PER_PACK + 1);
}

static void make_pack(const struct repo *repo, const struct cs_state_pack *pack)
{
    char path[2 * FIXTURE_PATH], hex[CS_NAME_HEX];
    snprintf(path, sizeof path, "%s/packs/%s", repo->path, cs_name_hex(&pack->id, hex));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), (off_t)pack->size), 0);
    fclose(f);
}

static void make_segment(const struct repo *repo, struct cs_store *store, unsigned n)
{
    struct maker m = {.segment = n, .packs = packs_of(n)};
    struct cs_name *names = calloc(m.packs, sizeof *names);
    struct cs_state_pack *packs = calloc(m.packs, sizeof *packs);
    struct cs_state_segment segment;
    struct cs_buf payload = {0};
    assert_true(names != NULL && packs != NULL);
    for (uint32_t i = 0; i < m.packs; i++) {
        noise(&names[i], sizeof names[i], (uint64_t)n << 40 | (i + 1));
        packs[i] = (struct cs_state_pack){.id = names[i], .size = 64 << 20, .class = CS_DATA};
        make_pack(repo, &packs[i]);
    }
    assert_ok(
        cs_segment_write_from(store, next_entry, &m, sizes[n], names, m.packs, &segment, err));
    cs_entry_begin(&payload, CS_ENTRY_PUBLISH, 0);
    cs_entry_put_added(&payload, &(struct cs_added){.packs = packs,
                                                    .pack_count = m.packs,
                                                    .segments = &segment,
                                                    .segment_count = 1});
    assert_ok(cs_log_append_if(store, &payload, NULL, NULL, &(uint64_t){0}, err));
    cs_buf_clear(&payload);
    free(names);
    free(packs);
}

static void tell_peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(", peak of the process %ld MiB\n", usage.ru_maxrss / 1024);
}

static void look_up(struct cs_store *store, bool hits, const char *what)
{
    struct cs_id *ids = calloc(LOOKUPS, sizeof *ids);
    uint64_t found_count = 0;
    assert_non_null(ids);
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        unsigned n = (unsigned)(mix(i + 7) % SEGMENTS);
        uint64_t entry = mix(i) % sizes[n];
        while (pack_of(entry, packs_of(n)) % FREED == 0) /* also there when it was pruned */
            entry = (entry + 1) % sizes[n];
        prefix_of(ids[i].bytes, n, entry);
        if (!hits)
            put_be64(ids[i].bytes + 8, mix(i + 99)); /* all of the filter is asked anew */
    }
    for (unsigned round = 0; round < 2; round++) { /* the second time all that is asked is warm */
        double began = now();
        for (uint64_t i = 0; i < LOOKUPS; i++) {
            struct cs_location l;
            bool found = false;
            assert_ok(cs_index_find(store, &ids[i], 0, &l, &found, err));
            found_count += found;
        }
        printf("%s, %s: %.0f ns each", what, round == 0 ? "first" : "warm",
               (now() - began) * 1e9 / LOOKUPS);
        tell_peak();
    }
    assert_int_equal(found_count, hits ? 2 * LOOKUPS : 0);
    free(ids);
}

/* A run that stores next to nothing. */
static void back_up(const struct repo *repo, const char *what)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    double began = now();
    struct cs_store *store = open_with(repo, &options);
    commit_one(store, "x", 1);
    cs_close(store);
    printf("%s: %.3f s", what, now() - began);
    tell_peak();
}

static int mark(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *error)
{
    double began = now();
    int rc = 0;
    (void)archive;
    for (unsigned n = 0; n < SEGMENTS; n++)
        for (uint64_t i = 0; rc == 0 && i < sizes[n]; i++) {
            struct cs_id id = {{0}};
            bool fresh;
            if (pack_of(i, packs_of(n)) % FREED == 0)
                continue;
            prefix_of(id.bytes, n, i);
            rc = cs_mark(marker, &id, &fresh, error);
        }
    *(double *)arg += now() - began;
    return rc;
}

static void prune(const struct repo *repo, const char *what)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    struct cs_prune_result r;
    double marking = 0, began = now();
    struct cs_prune_options prune_options = {.no_grace = true, .mark = mark, .arg = &marking};
    struct cs_store *store = open_with(repo, &options);
    assert_ok(cs_prune(store, &prune_options, &r, err));
    double all = now() - began;
    printf("%s: %.1f s, of which marking %.1f s, %llu packs deleted, %zu segments left", what, all,
           marking, (unsigned long long)r.packs_deleted, store->state.segment_count);
    cs_close(store);
    tell_peak();
}

static void ask(const struct repo *repo, const char *what)
{
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    double began = now();
    struct cs_store *store = open_with(repo, &options);
    double opened = now();
    assert_ok(cs_index_refresh(store, err));
    printf("opening %s: log %.3f s, index %.3f s", what, opened - began, now() - opened);
    tell_peak();
    look_up(store, true, "hits");
    look_up(store, false, "misses");
    cs_close(store);
}

/* In a process of its own, for the peak of memory. */
static void apart(void (*act)(const struct repo *, const char *), const struct repo *repo,
                  const char *what)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        act(repo, what);
        fflush(stdout);
        _exit(0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child && status == 0);
}

static void measure(void **state)
{
    struct repo *repo = *state;
    uint64_t left = wanted;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        sizes[i] = i + 1 < SEGMENTS ? left / 2 : left;
        left -= sizes[i];
    }
    struct cs_store *store = open_store(repo);
    double began = now();
    for (unsigned i = 0; i < SEGMENTS; i++)
        make_segment(repo, store, i);
    printf("%llu entries in %d segments written in %.1f s, %.0f MiB\n", (unsigned long long)wanted,
           SEGMENTS, now() - began, (double)bytes_in(repo, "segments") / 1048576);
    cs_close(store);
    apart(ask, repo, "without a cache");
    apart(ask, repo, "with the cache");
    apart(back_up, repo, "a small run");
    apart(prune, repo, "prune");
    apart(ask, repo, "after it");
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
