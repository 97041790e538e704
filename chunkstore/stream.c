/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pipeline from objects to packs. The owner's thread fills frames and
 * appends sealed ones; what lies between runs in workers, on a fixed number of
 * buffers: where none is free, the oldest frame is waited for.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "level.h"

enum { FRAME_OBJECTS = 4096 };

struct frame_job {
    struct cs_job job; /* the first member */
    struct cs_stream *stream;
    uint8_t key[CS_KEY_SIZE];
    struct cs_origin origin;
    struct cs_frame frame;
    int level;
    uint64_t compressing; /* nanoseconds */
    struct cs_object *objects;
    uint8_t *plain;
    uint8_t *compressed;
    uint8_t *sealed;
    struct cs_error err;
    struct frame_job *next_free;
};

struct cs_stream {
    struct cs_store *store;
    struct cs_worker *workers;
    struct cs_lane lane;
    enum cs_class class;
    bool dry_run;
    uint32_t frame_max; /* bytes of objects in a frame */
    int level;          /* of the next frame */
    bool follow;        /* the level follows the bottleneck */
    int lowest, highest;
    struct frame_job *jobs;
    size_t job_count;
    struct frame_job *free;
    struct frame_job *open; /* the frame being filled */
    struct cs_pack_writer *pack;
    struct cs_pack_writer *ended; /* the one before it, while it is flushed */
    uint16_t frames;              /* given to this pack */
    uint32_t objects;             /* the same */
    uint64_t in_flight;           /* bytes of objects in frames that are not appended yet */
    struct cs_level_times times;  /* of this pack */
    uint64_t opened;              /* when it was */
    struct cs_state_pack *packs;
    size_t pack_count;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void run_frame(struct cs_job *job, unsigned worker)
{
    struct frame_job *f = (struct frame_job *)job;
    struct cs_stream *s = f->stream;
    uint8_t ad[CS_FRAME_AD_SIZE];
    size_t len = 0;
    uint64_t begin = now();
    /* What is on its way is not given up, but nobody wants to wait for the best of levels. */
    int level =
        f->level > CS_LEVEL_LOWEST && cs_store_is_stopping(s->store) ? CS_LEVEL_LOWEST : f->level;
    int rc = cs_compress(s->workers[worker].compressor, level, f->plain, f->frame.plain,
                         f->compressed, cs_compress_bound(s->frame_max), &len, &f->err);
    f->compressing = now() - begin;
    if (rc < 0)
        return;
    const uint8_t *data = f->compressed;
    f->frame.codec = CS_CODEC_ZSTD;
    if (len == 0) {
        data = f->plain;
        len = f->frame.plain;
        f->frame.codec = CS_CODEC_RAW;
    }
    f->frame.stored = (uint32_t)(len + CS_SEAL_OVERHEAD);
    cs_frame_identity(ad, &s->store->config.repository_id, s->class, &f->origin, &f->frame);
    cs_seal(f->sealed, f->key, ad, sizeof ad, data, len);
    cs_checksum(f->frame.checksum, f->sealed, f->frame.stored);
}

static int frame_alloc(struct frame_job *f, struct cs_stream *s)
{
    f->job.run = run_frame;
    f->stream = s;
    f->objects = calloc(FRAME_OBJECTS, sizeof *f->objects);
    f->plain = malloc(s->frame_max);
    f->compressed = malloc(cs_compress_bound(s->frame_max));
    f->sealed = malloc(s->frame_max + CS_SEAL_OVERHEAD);
    f->next_free = s->free;
    s->free = f;
    return f->objects != NULL && f->plain != NULL && f->compressed != NULL && f->sealed != NULL;
}

int cs_stream_new(struct cs_stream **out, struct cs_store *store, struct cs_pool *pool,
                  struct cs_worker *workers, enum cs_class class, int level, bool dry_run,
                  struct cs_error *err)
{
    struct cs_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return cs_fail_memory(err);
    s->store = store;
    s->workers = workers;
    s->class = class;
    s->dry_run = dry_run;
    s->follow = level == CS_LEVEL_AUTO;
    s->level = level == 0 || s->follow ? CS_LEVEL_DEFAULT : level;
    s->times.workers = cs_pool_threads(pool);
    s->frame_max = class == CS_DATA ? CS_FRAME_MAX : CS_META_FRAME_MAX;
    cs_lane_init(&s->lane, pool);
    s->job_count = cs_pool_threads(pool) + 2;
    s->jobs = calloc(s->job_count, sizeof *s->jobs);
    bool good = s->jobs != NULL;
    for (size_t i = 0; good && i < s->job_count; i++)
        good = frame_alloc(&s->jobs[i], s);
    if (!good) {
        cs_stream_free(s);
        return cs_fail_memory(err);
    }
    *out = s;
    return 0;
}

void cs_stream_free(struct cs_stream *s)
{
    if (s == NULL)
        return;
    while (s->jobs != NULL && cs_lane_take(&s->lane) != NULL)
        ;
    cs_pack_writer_abandon(s->pack);
    cs_pack_writer_abandon(s->ended);
    for (size_t i = 0; s->jobs != NULL && i < s->job_count; i++) {
        cs_wipe(s->jobs[i].key, sizeof s->jobs[i].key);
        free(s->jobs[i].objects);
        free(s->jobs[i].plain);
        free(s->jobs[i].compressed);
        free(s->jobs[i].sealed);
    }
    free(s->jobs);
    free(s->packs);
    free(s);
}

/* Appends a sealed frame to the pack; its buffer is free again. */
static int complete(struct cs_stream *s, struct frame_job *f, struct cs_error *err)
{
    int rc = f->err.code;
    uint64_t begin = now();
    if (rc < 0)
        cs_fail(err, rc, "%s", f->err.message);
    else
        rc = cs_pack_writer_add(s->pack, &f->frame, f->sealed, f->objects, err);
    s->times.storing += now() - begin;
    s->times.compressing += f->compressing;
    s->in_flight -= f->frame.plain;
    f->next_free = s->free;
    s->free = f;
    return rc;
}

static int drain(struct cs_stream *s, struct cs_error *err)
{
    struct cs_job *job;
    int rc = 0;
    while ((job = cs_lane_take(&s->lane)) != NULL) {
        int one = complete(s, (struct frame_job *)job, rc == 0 ? err : NULL);
        if (rc == 0)
            rc = one;
    }
    return rc;
}

static void submit(struct cs_stream *s)
{
    struct frame_job *f = s->open;
    if (f == NULL)
        return;
    s->open = NULL;
    s->in_flight += f->frame.plain;
    cs_lane_put(&s->lane, &f->job);
}

/* Waits for the pack that is flushed. */
static int close_ended(struct cs_stream *s, struct cs_error *err)
{
    if (s->ended == NULL)
        return 0;
    struct cs_state_pack *packs = reallocarray(s->packs, s->pack_count + 1, sizeof *packs);
    if (packs == NULL)
        return cs_fail_memory(err);
    s->packs = packs;
    int rc = cs_pack_writer_close(s->ended, &packs[s->pack_count], err);
    s->ended = NULL;
    if (rc == 0)
        s->pack_count++;
    return rc;
}

int cs_stream_end(struct cs_stream *s, struct cs_error *err)
{
    submit(s);
    int rc = drain(s, err);
    if (rc < 0 || s->pack == NULL)
        return rc;
    uint64_t begin = now();
    rc = close_ended(s, err);
    if (rc == 0)
        rc = cs_pack_writer_end(s->pack, err);
    if (rc < 0)
        return rc;
    s->times.storing += now() - begin;
    s->times.elapsed = now() - s->opened;
    /* a whole pack, for most of what the storage takes it takes when a file is flushed: here, the
     * one before it */
    if (s->follow)
        s->level = cs_level_next(s->level, &s->times);
    s->ended = s->pack;
    s->pack = NULL;
    return 0;
}

int cs_stream_finish(struct cs_stream *s, struct cs_error *err)
{
    int rc = cs_stream_end(s, err);
    return rc == 0 ? close_ended(s, err) : rc;
}

static bool pack_is_full(const struct cs_stream *s)
{
    return s->pack != NULL &&
           (cs_pack_writer_size(s->pack) + s->in_flight + s->frame_max > CS_PACK_TARGET ||
            s->frames == CS_PACK_MAX_FRAMES || s->objects + FRAME_OBJECTS > CS_PACK_MAX_OBJECTS);
}

/* Makes ${s->open} an empty frame of the open pack. */
static int open_frame(struct cs_stream *s, bool *new_pack, struct cs_error *err)
{
    int rc = 0;
    if (pack_is_full(s))
        rc = cs_stream_end(s, err);
    for (struct cs_job *job; rc == 0 && (job = cs_lane_poll(&s->lane)) != NULL;)
        rc = complete(s, (struct frame_job *)job, err);
    if (rc == 0 && s->free == NULL)
        rc = complete(s, (struct frame_job *)cs_lane_take(&s->lane), err);
    if (rc == 0 && s->pack == NULL) {
        rc = cs_pack_writer_open(&s->pack, s->store, s->class, s->dry_run, err);
        s->frames = 0;
        s->objects = 0;
        s->times.storing = 0;
        s->times.compressing = 0;
        s->opened = now();
        *new_pack = true;
    }
    if (rc < 0)
        return rc;
    struct frame_job *f = s->free;
    s->free = f->next_free;
    f->err = (struct cs_error){0};
    f->frame = (struct cs_frame){.number = s->frames++};
    f->level = s->level;
    if (f->level > 0) {
        s->lowest = s->lowest == 0 || f->level < s->lowest ? f->level : s->lowest;
        s->highest = f->level > s->highest ? f->level : s->highest;
    }
    cs_pack_writer_seal(s->pack, f->key, &f->origin);
    s->open = f;
    return 0;
}

int cs_stream_put(struct cs_stream *s, const struct cs_id *id, uint8_t type, const void *data,
                  size_t len, struct cs_place_in_pack *place, struct cs_error *err)
{
    place->new_pack = false;
    if (len > s->frame_max)
        return cs_fail(err, CS_USAGE, "an object of %zu bytes is too large for a frame", len);
    if (s->open != NULL &&
        (s->open->frame.plain + len > s->frame_max || s->open->frame.objects == FRAME_OBJECTS))
        submit(s);
    if (s->open == NULL) {
        int rc = open_frame(s, &place->new_pack, err);
        if (rc < 0)
            return rc;
    }
    struct frame_job *f = s->open;
    memcpy(f->plain + f->frame.plain, data, len);
    f->objects[f->frame.objects] =
        (struct cs_object){.id = *id, .type = type, .length = (uint32_t)len};
    place->pack = *cs_pack_writer_name(s->pack);
    place->frame = f->frame.number;
    place->slot = f->frame.objects++;
    f->frame.plain += (uint32_t)len;
    s->objects++;
    return 0;
}

void cs_stream_levels(const struct cs_stream *s, int *lowest, int *highest)
{
    *lowest = s->lowest;
    *highest = s->highest;
}

const struct cs_state_pack *cs_stream_packs(const struct cs_stream *s, size_t *count)
{
    *count = s->pack_count;
    return s->packs;
}

void cs_stream_forget_packs(struct cs_stream *s)
{
    s->pack_count = 0;
}
