/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions on their way into content trees: the caller fills a buffer, or says how
 * a worker does, which cuts and hashes it; in the order of putting the owner's
 * thread stores what is new and adds the leaf. What an earlier leaf makes
 * needless, rechunk.c tells.
 */
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "rechunk.h"
#include "tree.h"
#include "writer.h"

enum { MOST_BUFFERS = 16 };

struct region_job {
    struct cs_job job; /* the first member */
    struct cs_region region;
    struct cs_writer *writer;
    struct cs_tree_builder **builders; /* NULL inside: forgotten */
    size_t builder_count;
    size_t builder_room;
    struct cs_cut *cuts;
    struct cs_chunk *chunks;
    bool *known; /* of each chunk, whether an earlier leaf told its id */
    size_t chunk_count;
    struct cs_content before; /* what it is held against; no runs: nothing */
    size_t before_runs;       /* room of that */
    size_t before_chunks;
    struct cs_error err;
    struct region_job *next_free;
};

struct cs_regions {
    struct cs_lane lane;
    struct region_job *jobs;
    size_t count;
    struct region_job *free;
};

/* Cuts by what the earlier leaf tells. */
static int rechunk(struct region_job *r, const struct cs_worker *worker, struct cs_error *err)
{
    struct cs_rechunk job = {
        .chunker = &r->writer->store->chunker,
        .fingerprinter = worker->fingerprinter,
        .before = &r->before,
        .read = r->region.read,
        .read_arg = r->region.read_arg,
        .scratch = worker->scratch,
        .region = &r->region,
        .cuts = r->cuts,
        .chunks = r->chunks,
        .known = r->known,
    };
    int rc = cs_rechunk(&job, err);
    r->chunk_count = job.count;
    return rc;
}

static int cut(struct region_job *r, const struct cs_worker *worker, struct cs_error *err)
{
    struct cs_region *region = &r->region;
    int rc = 0;
    if (r->before.run_count > 0)
        return rechunk(r, worker, err);
    for (size_t i = 0; rc == 0 && region->read != NULL && i < region->run_count; i++)
        if (!region->runs[i].zero)
            rc = region->read(region->read_arg, region->runs[i].offset, region->runs[i].length,
                              region->data + region->runs[i].offset, err);
    if (rc < 0)
        return rc;
    cs_chunker_cut(&r->writer->store->chunker, region->data, region->runs, &region->run_count,
                   r->cuts, &r->chunk_count);
    memset(r->known, 0, r->chunk_count * sizeof *r->known);
    return 0;
}

/* In a worker: read, cut, identify, fingerprint. */
static void run_region(struct cs_job *job, unsigned number)
{
    struct region_job *r = (struct region_job *)job;
    const struct cs_worker *worker = &r->writer->workers[number];
    int rc = cut(r, worker, &r->err);
    if (r->region.read != NULL)
        r->region.done(r->region.read_arg);
    if (rc < 0)
        return;
    struct cs_cursor at = cs_cursor_of(r->region.runs, r->region.run_count);
    for (size_t i = 0; i < r->chunk_count; i++) {
        const uint8_t *data = r->region.data + r->cuts[i].offset;
        struct cs_chunk *chunk = &r->chunks[i];
        if (r->known[i]) {
            cs_cursor_skip(&at, r->cuts[i].length);
            continue;
        }
        cs_chunker_gather(r->region.data, &at, r->cuts[i].length);
        chunk->length = r->cuts[i].length;
        if (cs_identify(worker->identifier, CS_DATA, CS_CHUNK, data, chunk->length, &chunk->id,
                        &r->err) < 0 ||
            cs_fingerprint(worker->fingerprinter, data, chunk->length, chunk->fingerprint,
                           &r->err) < 0)
            return;
    }
}

static int alloc_job(struct region_job *r, struct cs_writer *w)
{
    const struct cs_chunker *c = &w->store->chunker;
    size_t chunks = c->region_size / c->min_size + 1;
    r->job.run = run_region;
    r->writer = w;
    r->region.run_capacity = c->region_size / 512 + 1;
    r->region.data = malloc(c->region_size);
    r->region.runs = calloc(r->region.run_capacity, sizeof *r->region.runs);
    r->cuts = calloc(chunks, sizeof *r->cuts);
    r->chunks = calloc(chunks, sizeof *r->chunks);
    r->known = calloc(chunks, sizeof *r->known);
    return r->region.data != NULL && r->region.runs != NULL && r->cuts != NULL &&
           r->chunks != NULL && r->known != NULL;
}

int cs_regions_new(struct cs_writer *w, unsigned lent, struct cs_error *err)
{
    struct cs_regions *all = calloc(1, sizeof *all);
    if (all == NULL)
        return cs_fail_memory(err);
    w->regions = all;
    cs_lane_init(&all->lane, w->pool);
    all->count = cs_pool_threads(w->pool) + 2;
    if (all->count > MOST_BUFFERS)
        all->count = MOST_BUFFERS;
    all->count += lent;
    all->jobs = calloc(all->count, sizeof *all->jobs);
    bool good = all->jobs != NULL;
    for (size_t i = 0; good && i < all->count; i++) {
        good = alloc_job(&all->jobs[i], w);
        all->jobs[i].next_free = all->free;
        all->free = &all->jobs[i];
    }
    return good ? 0 : cs_fail_memory(err);
}

void cs_regions_free(struct cs_regions *all)
{
    if (all == NULL)
        return;
    while (all->jobs != NULL && cs_lane_take(&all->lane) != NULL)
        ;
    for (size_t i = 0; all->jobs != NULL && i < all->count; i++) {
        free(all->jobs[i].region.data);
        free(all->jobs[i].region.runs);
        free(all->jobs[i].cuts);
        free(all->jobs[i].chunks);
        free(all->jobs[i].known);
        free(all->jobs[i].before.runs);
        free(all->jobs[i].before.chunks);
        free(all->jobs[i].builders);
    }
    free(all->jobs);
    free(all);
}

static void release(struct cs_regions *all, struct region_job *r)
{
    r->builder_count = 0;
    r->next_free = all->free;
    all->free = r;
}

/* Stores what a worker has finished, and sets ${*id} to the leaf's, unless there is none. */
static int store_region(struct cs_writer *w, struct region_job *r, struct cs_id *id,
                        struct cs_error *err)
{
    struct cs_buf leaf = {0};
    if (r->err.code != 0)
        return cs_fail(err, r->err.code, "%s", r->err.message);
    /* A run that is stopped waits for no frames of what it has not begun to store. */
    int rc = cs_store_cancelled(w->store, err);
    for (size_t i = 0; rc == 0 && i < r->chunk_count; i++)
        if (r->known[i])
            w->counters.chunks_total++;
        else
            rc = cs_writer_store_chunk(w, &r->chunks[i].id, r->region.data + r->cuts[i].offset,
                                       r->chunks[i].length, err);
    if (rc < 0 || r->region.run_count == 0)
        return rc;
    cs_content_encode(&leaf, r->region.runs, r->region.run_count, r->chunks, r->chunk_count);
    if (leaf.failed)
        rc = cs_fail_memory(err);
    if (rc == 0)
        rc = cs_write_object(w, CS_CONTENT_LEAF, leaf.data, leaf.len, id, err);
    cs_buf_clear(&leaf);
    return rc;
}

/* A failure becomes the trees', so that whoever finishes them is told. */
static void complete(struct cs_writer *w, struct region_job *r)
{
    struct cs_error e = {0};
    struct cs_id id;
    uint64_t bytes = 0;
    bool wanted = false;
    for (size_t i = 0; i < r->builder_count; i++)
        wanted |= r->builders[i] != NULL && cs_tree_failure(r->builders[i], NULL) == 0;
    int rc = wanted ? store_region(w, r, &id, &e) : 0;
    for (size_t i = 0; i < r->chunk_count; i++)
        bytes += r->chunks[i].length;
    for (size_t i = 0; wanted && i < r->builder_count; i++) {
        if (r->builders[i] == NULL)
            continue;
        if (rc < 0)
            cs_tree_set_failed(r->builders[i], &e);
        else if (r->region.run_count > 0) /* a failure here is marked by the builder itself */
            cs_tree_add_id(r->builders[i], r->region.index, &id, bytes, NULL);
    }
    if (wanted && rc == 0 && r->region.run_count > 0 && r->region.stored != NULL)
        r->region.stored(r->region.arg, &r->region, &id, bytes);
    release(w->regions, r);
}

int cs_region_get(struct cs_writer *w, struct cs_region **region, struct cs_error *err)
{
    struct cs_regions *all = w->regions;
    int rc = cs_store_cancelled(w->store, err);
    if (rc == 0)
        rc = cs_writer_publish_if_due(w, err);
    if (rc < 0)
        return rc;
    for (struct cs_job *job; (job = cs_lane_poll(&all->lane)) != NULL;)
        complete(w, (struct region_job *)job);
    if (all->free == NULL) {
        struct cs_job *oldest = cs_lane_take(&all->lane);
        if (oldest == NULL)
            return cs_fail(err, CS_USAGE, "all region buffers are lent out");
        complete(w, (struct region_job *)oldest);
    }
    struct region_job *r = all->free;
    all->free = r->next_free;
    r->region.run_count = 0;
    r->region.stored = NULL;
    r->region.read = NULL;
    r->chunk_count = 0;
    r->before.run_count = 0;
    r->err = (struct cs_error){0};
    *region = &r->region;
    return 0;
}

static struct region_job *job_of(struct cs_region *region)
{
    return (struct region_job *)(void *)((char *)region - offsetof(struct region_job, region));
}

/* Whether the runs could be decoded again: a leaf that cannot would be found out at the restore. */
static bool runs_are_right(const struct cs_writer *w, const struct cs_region *region)
{
    uint64_t end = 0;
    if (region->run_count > region->run_capacity)
        return false;
    for (size_t i = 0; i < region->run_count; i++) {
        const struct cs_run *run = &region->runs[i];
        /* on sectors: else the room for runs would not be enough */
        if (run->length == 0 || run->offset < end || run->offset % 512 != 0 || end % 512 != 0)
            return false;
        end = (uint64_t)run->offset + run->length;
    }
    return end <= w->store->config.region_size;
}

/* Room for ${n} things of ${size} bytes in ${*things}; what was in it is lost. */
static int make_room(void **things, size_t *room, size_t n, size_t size, struct cs_error *err)
{
    if (n <= *room)
        return 0;
    free(*things);
    *room = 0;
    *things = calloc(n, size);
    if (*things == NULL)
        return cs_fail_memory(err);
    *room = n;
    return 0;
}

/* Keeps a copy of what is known beforehand, for the worker. */
static int keep_before(struct region_job *r, const struct cs_content *content, struct cs_error *err)
{
    void *runs = r->before.runs, *chunks = r->before.chunks;
    int rc = make_room(&runs, &r->before_runs, content->run_count, sizeof *r->before.runs, err);
    if (rc == 0)
        rc = make_room(&chunks, &r->before_chunks, content->chunk_count, sizeof *r->before.chunks,
                       err);
    r->before = (struct cs_content){.runs = runs, .chunks = chunks};
    if (rc < 0 || content->run_count == 0)
        return rc;
    r->before.run_count = content->run_count;
    r->before.chunk_count = content->chunk_count;
    memcpy(runs, content->runs, content->run_count * sizeof *content->runs);
    if (content->chunk_count > 0)
        memcpy(chunks, content->chunks, content->chunk_count * sizeof *content->chunks);
    return 0;
}

/* Whether ${before} (NULL: nothing) has something wherever a run is said to be as before. */
static bool same_was_there(const struct cs_region *region, const struct cs_content *before)
{
    size_t old = 0;
    for (size_t i = 0; i < region->run_count; i++) {
        const struct cs_run *run = &region->runs[i];
        if (!run->same || run->zero)
            continue;
        if (before == NULL || region->read == NULL)
            return false;
        for (uint32_t at = run->offset, stop; at < run->offset + run->length; at = stop) {
            stop = cs_rechunk_same_until(before, at, &old);
            if (stop == 0)
                return false;
        }
    }
    return true;
}

static int take_before(struct region_job *r, const struct cs_content *before, struct cs_error *err)
{
    if (!same_was_there(&r->region, before))
        return cs_fail(err, CS_USAGE,
                       "region %llu: a run is said to be as before, where nothing was or that "
                       "cannot be read",
                       (unsigned long long)r->region.index);
    return before != NULL ? keep_before(r, before, err) : 0;
}

static int take_builders(struct region_job *r, struct cs_tree_builder *const *builders, size_t n,
                         struct cs_error *err)
{
    if (n > r->builder_room) {
        struct cs_tree_builder **more = reallocarray(r->builders, n, sizeof *more);
        if (more == NULL)
            return cs_fail_memory(err);
        r->builders = more;
        r->builder_room = n;
    }
    memcpy(r->builders, builders, n * sizeof *builders);
    r->builder_count = n;
    return 0;
}

int cs_region_put(struct cs_tree_builder *const *builders, size_t n, struct cs_region *region,
                  const struct cs_content *before, struct cs_error *err)
{
    struct region_job *r = job_of(region);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = cs_tree_failure(builders[i], err);
    if (rc == 0 && !runs_are_right(r->writer, region))
        rc = cs_fail(err, CS_USAGE,
                     "the runs of a region overlap, descend, leave it or split sectors");
    if (rc == 0)
        rc = take_before(r, before, err);
    if (rc == 0)
        rc = take_builders(r, builders, n, err);
    if (rc < 0) {
        release(r->writer->regions, r);
        return rc;
    }
    cs_lane_put(&r->writer->regions->lane, &r->job);
    return 0;
}

void cs_region_cancel(struct cs_writer *w, struct cs_region *region)
{
    release(w->regions, job_of(region));
}

int cs_region_drain(struct cs_writer *w, struct cs_error *err)
{
    (void)err;
    for (struct cs_job *job; (job = cs_lane_take(&w->regions->lane)) != NULL;)
        complete(w, (struct region_job *)job);
    return 0;
}

void cs_region_forget(struct cs_writer *w, struct cs_tree_builder *builder)
{
    for (size_t i = 0; i < w->regions->count; i++)
        for (size_t k = 0; k < w->regions->jobs[i].builder_count; k++)
            if (w->regions->jobs[i].builders[k] == builder)
                w->regions->jobs[i].builders[k] = NULL;
}
