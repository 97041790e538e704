/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading many chunks: the owner's thread decides which frame is next and what
 * is wanted of it; workers read it, open it, hold the chunks against their ids
 * and let the caller use them. What a worker cannot read is left to read.c,
 * which knows about other copies and about logs that went on.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fetch_plan.h"
#include "log.h"
#include "pack_read.h"

enum {
    JOBS_MAX = 32,     /* whatever the number of threads */
    WAITING = 2,       /* workers more than threads: some wait for a disk */
    CHUNKS_MAX = 4096, /* of one job; a frame may have more */
    HUGE_PAGE = 2 << 20
};

struct part { /* of a frame */
    uint32_t at;
    uint8_t type;
};

struct fetch_job {
    struct cs_job job;
    bool busy;
    uint64_t last_used;
    bool holds; /* ${plain} is this frame */
    struct cs_name pack;
    uint32_t number;

    struct cs_identifier *const *identifiers; /* of each worker */
    struct cs_backend *backend;               /* reading is safe from any thread */
    const struct cs_fetch_user *user;         /* as of the begin */
    struct cs_frame_opener opener;
    uint8_t *sealed;
    uint8_t *plain;
    size_t first; /* item of the plan */
    size_t count;
    struct part *parts;
    struct cs_fetched *chunks;

    int read_rc;
    int use_rc;
    uint64_t done[2];
    struct cs_error err;
};

struct cs_fetch {
    struct cs_store *store;
    struct cs_pool *pool;
    struct cs_lane lane;
    struct fetch_job *jobs;
    size_t job_count;
    uint64_t clock;
    struct cs_identifier **identifiers; /* of each worker */
    uint8_t *spare;                     /* a chunk that was read in another way */

    struct cs_fetch_user user;
    const struct cs_wanted *wanted; /* NULL: nothing is going on */
    struct cs_plan plan;
    size_t next; /* item of the plan */
    bool again;  /* the rest is to be planned anew */
};

/* ---- in the workers ---- */

static int read_frame(struct fetch_job *j, struct cs_identifier *identifier)
{
    struct cs_error *err = &j->err;
    const struct cs_frame *f = &j->opener.frame;
    int rc = 0;
    if (!j->holds) {
        rc =
            cs_backend_read_exact(j->backend, j->opener.file, f->offset, j->sealed, f->stored, err);
        if (rc == 0)
            rc = cs_frame_open(&j->opener, j->sealed, j->plain, err);
    }
    j->holds = rc == 0;
    for (size_t i = 0; rc == 0 && i < j->count; i++) {
        const struct cs_fetched *chunk = &j->chunks[i];
        struct cs_id actual;
        if (i > 0 && chunk->data == chunk[-1].data) /* wanted again */
            continue;
        rc = cs_identify(identifier, CS_DATA, j->parts[i].type, chunk->data, chunk->wanted->length,
                         &actual, err);
        if (rc == 0 && memcmp(&actual, &chunk->wanted->id, sizeof actual) != 0)
            rc = cs_fail(err, CS_CORRUPT, "%s: frame %u: a chunk has other bytes", j->opener.file,
                         (unsigned)j->number);
    }
    return rc;
}

static void run(struct cs_job *job, unsigned worker)
{
    struct fetch_job *j = (struct fetch_job *)job;
    j->read_rc = read_frame(j, j->identifiers[worker]);
    if (j->read_rc == 0)
        j->use_rc = j->user->use(j->user->arg, j->chunks, j->count, j->done, &j->err);
}

/* ---- made and freed ---- */

static int make_identifiers(struct cs_fetch *f, struct cs_error *err)
{
    unsigned n = cs_pool_threads(f->pool);
    int rc = 0;
    f->identifiers = calloc(n, sizeof *f->identifiers);
    if (f->identifiers == NULL)
        return cs_fail_memory(err);
    for (unsigned i = 0; rc == 0 && i < n; i++)
        rc = cs_store_identifier(f->store, &f->identifiers[i], err);
    return rc;
}

/* Where a user writes it by direct I/O, its pages are counted one by one: few large ones help. */
static uint8_t *new_plain(void)
{
    void *plain = NULL;
    if (posix_memalign(&plain, HUGE_PAGE, CS_FRAME_MAX) != 0)
        return NULL;
    madvise(plain, CS_FRAME_MAX, MADV_HUGEPAGE);
    return plain;
}

int cs_fetch_new(struct cs_fetch **out, struct cs_store *store, struct cs_error *err)
{
    struct cs_fetch *f = calloc(1, sizeof *f);
    *out = NULL;
    if (f == NULL)
        return cs_fail_memory(err);
    f->store = store;
    unsigned threads = store->threads > 1 ? store->threads + WAITING : 1;
    int rc = cs_pool_new(&f->pool, threads, err);
    if (rc == 0)
        rc = make_identifiers(f, err);
    size_t n = threads + 2 < JOBS_MAX ? threads + 2 : JOBS_MAX;
    f->jobs = calloc(n, sizeof *f->jobs);
    f->spare = malloc(CS_DATA_OBJECT_MAX);
    if (rc == 0 && (f->jobs == NULL || f->spare == NULL))
        rc = cs_fail_memory(err);
    for (; rc == 0 && f->job_count < n; f->job_count++) {
        struct fetch_job *j = &f->jobs[f->job_count];
        j->job.run = run;
        j->identifiers = f->identifiers;
        j->backend = store->backend;
        j->user = &f->user;
        j->sealed = malloc(CS_FRAME_MAX + CS_SEAL_OVERHEAD);
        j->plain = new_plain();
        j->parts = calloc(CHUNKS_MAX, sizeof *j->parts);
        j->chunks = calloc(CHUNKS_MAX, sizeof *j->chunks);
        if (j->sealed == NULL || j->plain == NULL || j->parts == NULL || j->chunks == NULL)
            rc = cs_fail_memory(err);
    }
    if (rc < 0) {
        cs_fetch_free(f);
        return rc;
    }
    cs_lane_init(&f->lane, f->pool);
    *out = f;
    return 0;
}

void cs_fetch_stop(struct cs_fetch *f)
{
    struct cs_job *job;
    if (f->wanted == NULL)
        return;
    while ((job = cs_lane_take(&f->lane)) != NULL)
        ((struct fetch_job *)job)->busy = false;
    f->wanted = NULL;
}

void cs_fetch_free(struct cs_fetch *f)
{
    if (f == NULL)
        return;
    cs_fetch_stop(f);
    for (unsigned i = 0; f->identifiers != NULL && i < cs_pool_threads(f->pool); i++)
        cs_identifier_free(f->identifiers[i]);
    free(f->identifiers);
    cs_pool_free(f->pool);
    for (size_t i = 0; i < f->job_count; i++) {
        struct fetch_job *j = &f->jobs[i];
        cs_wipe(&j->opener, sizeof j->opener);
        free(j->sealed);
        free(j->plain);
        free(j->parts);
        free(j->chunks);
    }
    free(f->jobs);
    free(f->spare);
    cs_plan_clear(&f->plan);
    free(f);
}

unsigned cs_fetch_threads(const struct cs_fetch *f)
{
    return cs_pool_threads(f->pool);
}

/* ---- in the owner's thread ---- */

/* What a worker could not read, chunk by chunk, from wherever it is. */
static int read_otherwise(struct cs_fetch *f, size_t first, size_t count, struct cs_error *err)
{
    uint64_t known = f->store->position.next;
    for (size_t i = first; i < first + count; i++) {
        const struct cs_wanted *w = &f->wanted[f->plan.items[i].wanted];
        struct cs_fetched chunk = {.wanted = w, .data = f->spare};
        uint64_t done[2] = {0};
        if (w->length > CS_DATA_OBJECT_MAX)
            return cs_fail(err, CS_CORRUPT, "a chunk of %u bytes is too long", (unsigned)w->length);
        int rc = cs_read_chunk(f->store, &w->id, f->spare, w->length, err);
        if (rc == 0)
            rc = f->user.use(f->user.arg, &chunk, 1, done, err);
        if (rc == 0)
            rc = f->user.used(f->user.arg, done, err);
        if (rc < 0)
            return rc;
    }
    f->again |= f->store->position.next != known;
    return 0;
}

static int finish(struct cs_fetch *f, struct fetch_job *j, struct cs_error *err)
{
    j->busy = false;
    if (j->read_rc < 0)
        return read_otherwise(f, j->first, j->count, err);
    if (j->use_rc < 0) {
        if (err != NULL)
            *err = j->err;
        return j->use_rc;
    }
    return f->user.used(f->user.arg, j->done, err);
}

/* A job that is free: the one that has the frame already, else the one that was used longest ago.
 */
static struct fetch_job *free_job(struct cs_fetch *f, const struct cs_plan_item *item)
{
    struct fetch_job *oldest = NULL;
    for (size_t i = 0; i < f->job_count; i++) {
        struct fetch_job *j = &f->jobs[i];
        if (j->busy)
            continue;
        if (j->holds && j->number == item->frame &&
            memcmp(&j->pack, &item->pack, sizeof j->pack) == 0)
            return j;
        if (oldest == NULL || j->last_used < oldest->last_used)
            oldest = j;
    }
    return oldest;
}

/* The items from ${first} on that are of one frame. */
static size_t same_frame(const struct cs_plan *plan, size_t first)
{
    const struct cs_plan_item *a = &plan->items[first];
    size_t n = 1;
    while (n < CHUNKS_MAX && first + n < plan->count && a[n].frame == a->frame &&
           memcmp(&a[n].pack, &a->pack, sizeof a->pack) == 0)
        n++;
    return n;
}

/* Fills in what the trailer says. False: it does not agree with the index, or with the caller. */
static bool describe(struct cs_fetch *f, struct fetch_job *j, const struct cs_pack *pack)
{
    const struct cs_trailer *t = &pack->trailer;
    const struct cs_plan_item *items = &f->plan.items[j->first];
    uint32_t slot = 0, at = 0;
    if (pack->header.class != CS_DATA || items->frame >= t->frame_count)
        return false;
    const struct cs_frame *frame = &t->frames[items->frame];
    for (size_t i = 0; i < j->count; i++) {
        const struct cs_wanted *w = &f->wanted[items[i].wanted];
        if (items[i].slot >= frame->objects)
            return false;
        for (; slot < items[i].slot; slot++)
            at += t->objects[frame->first + slot].length;
        const struct cs_object *o = &t->objects[frame->first + slot];
        if (memcmp(&o->id, &w->id, sizeof o->id) != 0 || o->length != w->length)
            return false;
        j->parts[i] = (struct part){.at = at, .type = o->type};
        j->chunks[i] = (struct cs_fetched){.wanted = w, .data = j->plain + at};
    }
    return true;
}

/* Puts the next frame into ${j}, or reads what is wanted of it in another way. */
static int put(struct cs_fetch *f, struct fetch_job *j, struct cs_error *err)
{
    const struct cs_plan_item *item = &f->plan.items[f->next];
    const struct cs_pack *pack = NULL;
    bool sound = item->frame != CS_PLAN_NOWHERE;
    j->first = f->next;
    j->count = same_frame(&f->plan, f->next);
    f->next += j->count;
    if (sound)
        sound = cs_read_pack(f->store, &item->pack, &pack, NULL) == 0 && describe(f, j, pack);
    bool held =
        j->holds && j->number == item->frame && memcmp(&j->pack, &item->pack, sizeof j->pack) == 0;
    if (sound && !held) {
        j->holds = false;
        j->pack = item->pack;
        j->number = item->frame;
        sound = cs_frame_opener_make(&j->opener, f->store, pack, item->frame, NULL) == 0;
    }
    if (!sound)
        return read_otherwise(f, j->first, j->count, err);
    j->busy = true;
    j->last_used = ++f->clock;
    j->done[0] = j->done[1] = 0;
    j->use_rc = 0;
    cs_lane_put(&f->lane, &j->job);
    return 0;
}

static int fill(struct cs_fetch *f, struct cs_error *err)
{
    int rc = 0;
    while (rc == 0 && f->next < f->plan.count) {
        if (f->again && f->lane.count > 0)
            return 0; /* their items are still needed as they are */
        if (f->again) {
            f->again = false;
            rc = cs_plan_again(&f->plan, f->next, f->store, f->wanted, err);
            if (rc < 0)
                return rc;
        }
        struct fetch_job *j = free_job(f, &f->plan.items[f->next]);
        if (j == NULL)
            return 0;
        rc = put(f, j, err);
    }
    return rc;
}

int cs_fetch_begin(struct cs_fetch *f, const struct cs_fetch_user *user,
                   const struct cs_wanted *wanted, size_t n, struct cs_error *err)
{
    if (f->wanted != NULL)
        return cs_fail(err, CS_USAGE, "chunks are being read already");
    f->user = *user;
    f->next = 0;
    f->again = false;
    int rc = cs_plan_make(&f->plan, f->store, wanted, n, err);
    if (rc == 0)
        f->wanted = wanted;
    return rc;
}

int cs_fetch_step(struct cs_fetch *f, bool wait, bool *more, struct cs_error *err)
{
    struct cs_job *job;
    *more = false;
    if (f->wanted == NULL)
        return 0;
    int rc = cs_store_cancelled(f->store, err);
    if (rc == 0)
        rc = fill(f, err);
    job = rc < 0 ? NULL : wait ? cs_lane_take(&f->lane) : cs_lane_poll(&f->lane);
    for (; rc == 0 && job != NULL; job = cs_lane_poll(&f->lane))
        rc = finish(f, (struct fetch_job *)job, err);
    if (rc == 0)
        rc = fill(f, err);
    *more = rc == 0 && (f->lane.count > 0 || f->next < f->plan.count);
    if (!*more)
        cs_fetch_stop(f);
    return rc;
}

/* ---- other work ---- */

struct each_job {
    struct cs_job job;
    void (*run)(void *arg, size_t i, unsigned worker);
    void *arg;
    size_t i;
};

static void run_each(struct cs_job *job, unsigned worker)
{
    struct each_job *e = (struct each_job *)job;
    e->run(e->arg, e->i, worker);
}

void cs_fetch_each(struct cs_fetch *f, size_t n, void (*work)(void *arg, size_t i, unsigned worker),
                   void *arg)
{
    struct each_job jobs[JOBS_MAX];
    struct cs_lane lane;
    size_t next = 0;
    cs_lane_init(&lane, f->pool);
    while (next < n || lane.count > 0) {
        struct each_job *e = lane.count < JOBS_MAX && next < n
                                 ? &jobs[next % JOBS_MAX]
                                 : (struct each_job *)cs_lane_take(&lane);
        if (next == n)
            continue;
        *e = (struct each_job){.job.run = run_each, .run = work, .arg = arg, .i = next++};
        cs_lane_put(&lane, &e->job);
    }
}
