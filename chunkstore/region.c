/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions on their way into content trees: the caller fills a buffer, a worker
 * cuts and hashes it, and in the order of putting the owner's thread stores what
 * is new and adds the leaf.
 */
#include <stdlib.h>
#include <string.h>

#include "content.h"
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
    size_t chunk_count;
    struct cs_error err;
    struct region_job *next_free;
};

struct cs_regions {
    struct cs_lane lane;
    struct region_job *jobs;
    size_t count;
    struct region_job *free;
};

/* In a worker: cut, identify, fingerprint. */
static void run_region(struct cs_job *job, unsigned worker)
{
    struct region_job *r = (struct region_job *)job;
    struct cs_writer *w = r->writer;
    const uint8_t *id_key = w->id_key; /* the store's keys may move meanwhile */
    cs_chunker_cut(&w->store->chunker, r->region.data, r->region.runs, &r->region.run_count,
                   r->cuts, &r->chunk_count);
    for (size_t i = 0; i < r->chunk_count; i++) {
        const uint8_t *data = r->region.data + r->cuts[i].offset;
        struct cs_chunk *chunk = &r->chunks[i];
        chunk->length = r->cuts[i].length;
        cs_crypt_object_id(&chunk->id, id_key, CS_DATA, CS_CHUNK, data, chunk->length);
        if (cs_fingerprint(w->workers[worker].fingerprinter, data, chunk->length,
                           chunk->fingerprint, &r->err) < 0)
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
    return r->region.data != NULL && r->region.runs != NULL && r->cuts != NULL && r->chunks != NULL;
}

int cs_regions_new(struct cs_writer *w, struct cs_error *err)
{
    struct cs_regions *all = calloc(1, sizeof *all);
    if (all == NULL)
        return cs_fail_memory(err);
    w->regions = all;
    cs_lane_init(&all->lane, w->pool);
    all->count = cs_pool_threads(w->pool) + 2;
    if (all->count > MOST_BUFFERS)
        all->count = MOST_BUFFERS;
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
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->chunk_count; i++)
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
    r->chunk_count = 0;
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
        if (run->length == 0 || run->offset < end)
            return false;
        end = (uint64_t)run->offset + run->length;
    }
    return end <= w->store->config.region_size;
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
                  struct cs_error *err)
{
    struct region_job *r = job_of(region);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = cs_tree_failure(builders[i], err);
    if (rc == 0 && !runs_are_right(r->writer, region))
        rc = cs_fail(err, CS_USAGE, "the runs of a region overlap, descend or leave it");
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
