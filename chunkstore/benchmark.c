/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast the primitives are on this machine: each over the same sample, by
 * all workers at once, again and again until enough time has passed.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checksum.h"
#include "chunker.h"
#include "compress.h"
#include "crypt.h"
#include "fingerprint.h"
#include "level.h"
#include "pack.h"
#include "pool.h"
#include "store.h"

enum { SLICE = CS_FRAME_MAX, PIECE = 64 << 10 };

struct worker {
    struct cs_fingerprinter *fingerprinter;
    struct cs_identifier *identifier;
    struct cs_identifier *other_identifier; /* by the function that is not in use */
    struct cs_compressor *compressor;
    struct cs_cut *cuts;
    uint8_t *out;
};

struct bench;

struct slice {
    struct cs_job job; /* first */
    struct bench *bench;
    const uint8_t *data;
    uint8_t *stored; /* compressed, or as it is */
    size_t stored_len;
    uint8_t *sealed;
    int rc;
    struct cs_error err;
};

struct primitive {
    const char *name;
    void (*run)(struct slice *slice, struct worker *worker);
    bool of_stored; /* it meets what compression has left */
};

struct bench {
    struct cs_store *store;
    const struct cs_benchmark_options *options;
    const struct primitive *primitive; /* at hand */
    uint8_t key[CS_KEY_SIZE];
    struct cs_pool *pool;
    struct worker *workers;
    unsigned threads;
    struct slice *slices;
    size_t count;
};

static void run_cut(struct slice *s, struct worker *worker)
{
    struct cs_run runs[SLICE / 512 + 1] = {{.length = SLICE}};
    size_t run_count = 1, cut_count;
    cs_chunker_cut(&s->bench->store->chunker, s->data, runs, &run_count, worker->cuts, &cut_count);
}

static void identify(struct slice *s, struct cs_identifier *identifier)
{
    struct cs_id id;
    for (size_t at = 0; s->rc == 0 && at < SLICE; at += PIECE)
        s->rc = cs_identify(identifier, CS_DATA, CS_CHUNK, s->data + at, PIECE, &id, &s->err);
}

static void run_identify(struct slice *s, struct worker *worker)
{
    identify(s, worker->identifier);
}

static void run_identify_other(struct slice *s, struct worker *worker)
{
    identify(s, worker->other_identifier);
}

static void run_fingerprint(struct slice *s, struct worker *worker)
{
    uint8_t out[16];
    for (size_t at = 0; s->rc == 0 && at < SLICE; at += PIECE)
        s->rc = cs_fingerprint(worker->fingerprinter, s->data + at, PIECE, out, &s->err);
}

static void run_compress(struct slice *s, struct worker *worker)
{
    size_t len = 0;
    int level = s->bench->options->compression_level;
    s->rc = cs_compress(worker->compressor, level != 0 ? level : CS_LEVEL_DEFAULT, s->data, SLICE,
                        worker->out, cs_compress_bound(SLICE), &len, &s->err);
    if (s->rc == 0 && s->stored_len == 0) {
        s->stored_len = len > 0 ? len : SLICE;
        memcpy(s->stored, len > 0 ? worker->out : s->data, s->stored_len);
    }
}

static void run_seal(struct slice *s, struct worker *worker)
{
    (void)worker;
    cs_seal(s->sealed, s->bench->key, s->bench->key, 0, s->stored, s->stored_len);
}

static void run_checksum(struct slice *s, struct worker *worker)
{
    uint8_t out[CS_CHECKSUM_SIZE];
    (void)worker;
    cs_checksum(out, s->sealed, s->stored_len + CS_SEAL_OVERHEAD);
}

static void run_unseal(struct slice *s, struct worker *worker)
{
    if (!cs_unseal(worker->out, s->bench->key, s->bench->key, 0, s->sealed,
                   s->stored_len + CS_SEAL_OVERHEAD))
        s->rc = cs_fail(&s->err, CS_CORRUPT, "memory: what was sealed does not open");
}

static void run_expand(struct slice *s, struct worker *worker)
{
    if (s->stored_len == SLICE)
        memcpy(worker->out, s->stored, SLICE);
    else if (!cs_expand(s->stored, s->stored_len, worker->out, SLICE))
        s->rc = cs_fail(&s->err, CS_CORRUPT, "memory: what was compressed does not expand");
}

/* In this order: some need what those before have left. */
static const struct primitive primitives[] = {
    {"cut", run_cut, false},           {"identify", run_identify, false},
    {NULL, run_identify_other, false}, {"fingerprint", run_fingerprint, false},
    {"compress", run_compress, false}, {"seal", run_seal, true},
    {"checksum", run_checksum, true},  {"open", run_unseal, true},
    {"expand", run_expand, false},
};

static void run(struct cs_job *job, unsigned worker)
{
    struct slice *s = (struct slice *)job;
    s->bench->primitive->run(s, &s->bench->workers[worker]);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Every slice once. */
static int pass(struct bench *b, struct cs_benchmark_line *line, struct cs_error *err)
{
    struct cs_lane lane;
    int rc = 0;
    cs_lane_init(&lane, b->pool);
    for (size_t i = 0; i < b->count; i++)
        cs_lane_put(&lane, &b->slices[i].job);
    for (struct slice *s; (s = (struct slice *)cs_lane_take(&lane)) != NULL;) {
        line->bytes += b->primitive->of_stored ? s->stored_len : SLICE;
        if (s->rc < 0 && rc == 0)
            rc = cs_fail(err, s->rc, "%s", s->err.message);
    }
    return rc;
}

static int measure(struct bench *b, const struct primitive *primitive, struct cs_error *err)
{
    struct cs_benchmark_line line = {.name = primitive->name}, first = {0};
    if (line.name == NULL)
        line.name =
            cs_id_hash(b->store) == CS_ID_BLAKE2B ? "identify by sha256" : "identify by blake2b";
    b->primitive = primitive;
    int rc = pass(b, &first, err); /* caches get warm, and clocks go up */
    double start = now();
    while (rc == 0 && (line.seconds = now() - start) < b->options->seconds) {
        rc = pass(b, &line, err);
        if (rc == 0)
            rc = cs_store_cancelled(b->store, err);
    }
    if (rc == 0)
        b->options->report(b->options->arg, &line);
    return rc;
}

static int make_identifiers(struct worker *w, const struct bench *b, struct cs_error *err)
{
    enum cs_id_hash hash = cs_id_hash(b->store);
    int rc = cs_identifier_new(&w->identifier, hash, b->key, err);
    if (rc == 0)
        rc = cs_identifier_new(&w->other_identifier,
                               hash == CS_ID_BLAKE2B ? CS_ID_SHA256 : CS_ID_BLAKE2B, b->key, err);
    return rc;
}

static int set_up(struct bench *b, struct cs_error *err)
{
    const struct cs_benchmark_options *o = b->options;
    size_t cuts = b->store->config.region_size / b->store->config.min_chunk + 1;
    int rc = cs_pool_new(&b->pool, b->store->threads, err);
    if (rc < 0)
        return rc;
    b->threads = cs_pool_threads(b->pool);
    b->count = o->sample_len / SLICE;
    if (b->count > b->threads) /* so that none has to wait for another at the end of a pass */
        b->count -= b->count % b->threads;
    b->workers = calloc(b->threads, sizeof *b->workers);
    b->slices = calloc(b->count, sizeof *b->slices);
    if (b->workers == NULL || b->slices == NULL)
        return cs_fail_memory(err);
    cs_random(b->key, sizeof b->key);
    for (unsigned i = 0; rc == 0 && i < b->threads; i++) {
        struct worker *w = &b->workers[i];
        w->out = malloc(cs_compress_bound(SLICE));
        w->cuts = calloc(cuts, sizeof *w->cuts);
        rc = w->out == NULL || w->cuts == NULL
                 ? cs_fail_memory(err)
                 : cs_fingerprinter_new(&w->fingerprinter, b->key, err);
        if (rc == 0)
            rc = make_identifiers(w, b, err);
        if (rc == 0)
            rc = cs_compressor_new(&w->compressor, err);
    }
    for (size_t i = 0; rc == 0 && i < b->count; i++) {
        struct slice *s = &b->slices[i];
        s->job.run = run;
        s->bench = b;
        s->data = (const uint8_t *)o->sample + i * SLICE;
        s->stored = malloc(SLICE);
        s->sealed = malloc(SLICE + CS_SEAL_OVERHEAD);
        if (s->stored == NULL || s->sealed == NULL)
            rc = cs_fail_memory(err);
    }
    return rc;
}

static void tear_down(struct bench *b)
{
    for (unsigned i = 0; b->workers != NULL && i < b->threads; i++) {
        cs_fingerprinter_free(b->workers[i].fingerprinter);
        cs_identifier_free(b->workers[i].identifier);
        cs_identifier_free(b->workers[i].other_identifier);
        cs_compressor_free(b->workers[i].compressor);
        free(b->workers[i].cuts);
        free(b->workers[i].out);
    }
    for (size_t i = 0; b->slices != NULL && i < b->count; i++) {
        free(b->slices[i].stored);
        free(b->slices[i].sealed);
    }
    free(b->workers);
    free(b->slices);
    cs_pool_free(b->pool);
}

int cs_benchmark(struct cs_store *store, const struct cs_benchmark_options *options,
                 struct cs_error *err)
{
    struct bench b = {.store = store, .options = options};
    if (options->sample_len < SLICE)
        return cs_fail(err, CS_USAGE, "a sample of less than %d bytes", SLICE);
    int rc = set_up(&b, err);
    for (size_t i = 0; rc == 0 && i < sizeof primitives / sizeof *primitives; i++)
        rc = measure(&b, &primitives[i], err);
    tear_down(&b);
    return rc;
}
