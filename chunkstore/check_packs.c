/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packs of a repository: each against log and index, and frames against all
 * that is known of them. Workers hold the frames, of some packs ahead; what they
 * find is told in the order of log and frames. What is right is pack_check.c's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "damage.h"
#include "pack_read.h"
#include "sample.h"

enum {
    JOBS_MAX = 32,  /* whatever the number of threads */
    PACKS_AHEAD = 4 /* that are loaded, with the one at hand */
};

struct pack_check { /* a pack on its way */
    struct cs_pack pack;
    int rc; /* of loading it */
    struct cs_error err;
    uint32_t frames; /* to be read */
    uint32_t put;    /* of them */
    uint32_t done;
    bool gone; /* since the log was read, and rightly */
};

struct frame_job {
    struct cs_job job; /* the first member */
    struct pack_check *of;
    uint32_t number;
    struct cs_frame_check frame;
    int rc;
    struct cs_error err;
    struct frame_job *next_free;
};

struct packs {
    struct cs_check *check;
    bool *chosen;         /* those to read */
    uint64_t bytes_total; /* of all */
    uint64_t bytes_done;
    uint64_t bytes_read; /* of those that were read whole */
    struct cs_pool *pool;
    struct cs_lane lane;
    struct frame_job *jobs;
    size_t job_count;
    struct frame_job *free;
    struct pack_check window[PACKS_AHEAD]; /* of packs ${first} .. ${loaded} - 1, at their number
                                              modulo its size */
    size_t first;
    size_t loaded;
    size_t putting; /* the pack whose frames are being put */
};

/* ---- what is found ---- */

/* Finds the entry of one object, exactly; takes it off what is expected. */
static bool find_entry(struct cs_check *c, const struct cs_name *pack,
                       const struct cs_object *object, uint16_t frame, uint16_t slot)
{
    bool found = false;
    for (size_t i = 0; i < c->segment_count; i++) {
        const struct cs_segment *s = &c->segments[i];
        struct cs_entry e;
        /* they are in memory: nothing fails */
        for (uint64_t at = 0; cs_segment_next(s, object->id.bytes, &at, &e, NULL) > 0; at++) {
            if (e.frame == frame && e.slot == slot &&
                memcmp(s->packs + (size_t)e.pack * CS_NAME_SIZE, pack, CS_NAME_SIZE) == 0) {
                c->expected[i][e.pack] -= c->expected[i][e.pack] > 0;
                found = true;
            }
        }
    }
    return found;
}

static int check_entries(struct cs_check *c, const struct cs_pack *pack, struct cs_error *err)
{
    char name[64], message[192];
    uint64_t missing = 0, strange = 0;
    const struct cs_trailer *t = &pack->trailer;
    int rc = 0;
    cs_pack_file(name, &pack->name);
    for (uint32_t f = 0; f < t->frame_count; f++)
        for (uint16_t i = 0; i < t->frames[f].objects; i++)
            missing +=
                !find_entry(c, &pack->name, &t->objects[t->frames[f].first + i], (uint16_t)f, i);
    for (size_t i = 0; rc == 0 && i < c->segment_count; i++)
        for (uint32_t p = 0; rc == 0 && p < c->segments[i].pack_count; p++)
            if (c->expected[i][p] > 0 && memcmp(c->segments[i].packs + (size_t)p * CS_NAME_SIZE,
                                                &pack->name, CS_NAME_SIZE) == 0) {
                strange += c->expected[i][p];
                rc = cs_check_add_segment(c, &c->segments[i].id, err);
            }
    c->damage->unindexed += missing;
    if (missing > 0) {
        snprintf(message, sizeof message, "%s: %" PRIu64 " of its %zu objects are not in the index",
                 name, missing, t->object_count);
        cs_check_report(c, message);
    }
    if (strange > 0) {
        snprintf(message, sizeof message,
                 "%s: the index names %" PRIu64 " objects in it that are not there", name, strange);
        cs_check_report(c, message);
    }
    return rc;
}

/* Notes the bad objects of frame ${n}, but for those of which the log says so already. */
static int add_bad(struct cs_check *c, const struct cs_pack *pack, uint32_t n, const bool *bad,
                   struct cs_error *err)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    int rc = 0;
    for (uint16_t i = 0; rc == 0 && i < f->objects; i++) {
        const struct cs_object *o = &pack->trailer.objects[f->first + i];
        bool lost = false;
        if (!bad[i])
            continue;
        rc = cs_state_lost(&c->state, &pack->name, &o->id, &lost, err);
        if (rc == 0 && !lost)
            rc = cs_damage_add_object(c->damage, &pack->name, &o->id, err);
    }
    return rc;
}

/* A frame that could not be read. */
static int add_unread_frame(struct cs_check *c, const struct cs_pack *pack, uint32_t n,
                            struct cs_error *err)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    int rc = 0;
    for (uint16_t i = 0; rc == 0 && i < f->objects; i++)
        rc = cs_damage_add_unread(c->damage, &pack->name, &pack->trailer.objects[f->first + i].id,
                                  err);
    return rc;
}

/* Returns ${rc}, or the failure to note it. */
static int add_unread(struct cs_check *c, const struct cs_name *pack, int rc, struct cs_error *err)
{
    int added = cs_damage_add_name(&c->damage->unread, &c->damage->unread_count, pack, err);
    return added < 0 ? added : rc;
}

static int see_pack(void *arg, const char *text, struct cs_error *err)
{
    struct cs_check *c = arg;
    struct cs_name name;
    if (!cs_name_parse(&name, text) || cs_names_find(&c->listed, &name, NULL))
        return 0;
    return cs_names_add(&c->listed, &name, 0) < 0 ? cs_fail_memory(err) : 0;
}

/* A pack that cannot be loaded, because of ${rc} and ${err}: is it gone, broken, or unreadable?
 * Returns ${rc}, or the failure to find out. */
static int add_bad_pack(struct cs_check *c, const struct cs_name *pack, int rc,
                        struct cs_error *err)
{
    const struct cs_backend_ops *ops = c->store->backend->ops;
    struct cs_damage *d = c->damage;
    struct cs_error e = {0};
    char name[64];
    uint64_t size = 0;
    cs_pack_file(name, pack);
    int looked = rc == CS_CORRUPT ? ops->size(c->store->backend, name, &size, &e) : CS_IO;
    if (looked == CS_NOT_FOUND && !c->is_listed) {
        c->is_listed = ops->list(c->store->backend, "packs", see_pack, c, &e) == 0;
        if (e.code == CS_NO_MEMORY)
            return cs_fail_memory(err);
    }
    int added;
    if (looked == 0)
        added = cs_damage_add_name(&d->broken, &d->broken_count, pack, err);
    else if (looked == CS_NOT_FOUND && c->is_listed && !cs_names_find(&c->listed, pack, NULL))
        added = cs_damage_add_name(&d->gone, &d->gone_count, pack, err);
    else
        added = add_unread(c, pack, cs_damage_add_name(&d->unopened, &d->unopened_count, pack, err),
                           err);
    return added < 0 ? added : rc;
}

/* A frame that a worker is done with. */
static int tell_frame(struct packs *all, struct frame_job *j, struct cs_error *err)
{
    struct cs_check *c = all->check;
    const struct cs_pack *pack = &j->of->pack;
    size_t known = c->damage->object_count;
    c->result->data_unopened |= j->frame.unopened;
    if (j->rc < 0)
        *err = j->err;
    if (j->rc == CS_IO) {
        int added = add_unread_frame(c, pack, j->number, err);
        return added < 0 ? added : add_unread(c, &pack->name, j->rc, err);
    }
    if (j->rc != CS_CORRUPT)
        return j->rc;
    int added = add_bad(c, pack, j->number, j->frame.bad, err);
    if (added < 0)
        return added;
    /* what the log says is no news; who suffers from it is told by the archives */
    return c->damage->object_count > known ? j->rc : 0;
}

/* ---- the pipeline ---- */

static void run_frame(struct cs_job *job, unsigned worker)
{
    struct frame_job *j = (struct frame_job *)job;
    (void)worker;
    j->rc = cs_frame_check_run(&j->frame, &j->err);
}

static int start_workers(struct packs *all, struct cs_error *err)
{
    unsigned threads = all->check->store->threads;
    size_t n = threads + 2 < JOBS_MAX ? threads + 2 : JOBS_MAX;
    int rc = cs_pool_new(&all->pool, threads, err);
    if (rc < 0)
        return rc;
    cs_lane_init(&all->lane, all->pool);
    all->jobs = calloc(n, sizeof *all->jobs);
    if (all->jobs == NULL)
        return cs_fail_memory(err);
    for (; rc == 0 && all->job_count < n; all->job_count++) {
        struct frame_job *j = &all->jobs[all->job_count];
        j->job.run = run_frame;
        j->next_free = all->free;
        all->free = j;
        rc = cs_frame_check_init(&j->frame, all->check->store, err);
    }
    return rc;
}

static struct pack_check *pack_at(struct packs *all, size_t i)
{
    return &all->window[i % PACKS_AHEAD];
}

static void load_pack(struct packs *all)
{
    size_t i = all->loaded++;
    struct cs_check *c = all->check;
    struct pack_check *p = pack_at(all, i);
    *p = (struct pack_check){0};
    p->rc = cs_pack_load(&p->pack, c->store, &c->state.packs[i].id, &p->err);
    if (p->rc == 0 && all->chosen[i])
        p->frames = (uint32_t)p->pack.trailer.frame_count;
}

/* Puts the frames that come next, as far as there are jobs for them. */
static void fill(struct packs *all)
{
    size_t n = all->check->state.pack_count;
    size_t end = n - all->first < PACKS_AHEAD ? n : all->first + PACKS_AHEAD;
    while (all->putting < end) {
        if (all->putting == all->loaded)
            load_pack(all);
        struct pack_check *p = pack_at(all, all->putting);
        struct frame_job *j = all->free;
        if (p->put == p->frames) {
            all->putting++;
            continue;
        }
        if (j == NULL)
            return;
        all->free = j->next_free;
        j->of = p;
        j->number = p->put++;
        cs_frame_check_begin(&j->frame, all->check->store, &p->pack, j->number);
        cs_lane_put(&all->lane, &j->job);
    }
}

/* Waits for the next frame of the pack at hand. */
static int take_frame(struct packs *all, struct cs_error *err)
{
    struct cs_check *c = all->check;
    fill(all);
    struct frame_job *j = (struct frame_job *)cs_lane_take(&all->lane);
    struct pack_check *p = j->of;
    int rc = p->gone ? 0 : tell_frame(all, j, err);
    p->done++;
    j->next_free = all->free;
    all->free = j;
    if (rc < 0 && cs_check_is_condemned(c, CS_FILE_PACK, &p->pack.name)) {
        p->gone = true;
        p->frames = p->put;
        rc = 0;
    }
    if (rc < 0)
        rc = cs_check_tolerate(c, rc, err);
    if (!p->gone)
        c->result->bytes_checked += p->pack.trailer.frames[j->number].stored;
    return rc < 0 ? rc : cs_store_cancelled(c->store, err);
}

static int take_frames(struct packs *all, struct pack_check *p, struct cs_error *err)
{
    struct cs_damage *d = all->check->damage;
    size_t known = d->object_count, known_unread = d->unread_object_count;
    bool read = p->frames > 0;
    int rc = 0;
    while (rc == 0 && p->done < p->frames)
        rc = take_frame(all, err);
    if (p->gone) { /* so nothing of it is damaged */
        d->object_count = known;
        d->unread_object_count = known_unread;
    } else if (rc == 0 && read) {
        all->check->result->packs_read++;
        all->bytes_read += p->pack.size;
    }
    return rc;
}

static int check_pack(struct packs *all, struct cs_error *err)
{
    struct cs_check *c = all->check;
    const struct cs_state_pack *which = &c->state.packs[all->first];
    struct pack_check *p = pack_at(all, all->first);
    char name[64];
    int rc = p->rc;
    cs_pack_file(name, &which->id);
    if (rc < 0 && cs_check_is_condemned(c, CS_FILE_PACK, &which->id))
        return 0;
    if (rc < 0) {
        *err = p->err;
        return cs_check_tolerate(c, add_bad_pack(c, &which->id, rc, err), err);
    }
    if (p->pack.size != which->size || p->pack.header.class != which->class) {
        rc = cs_fail(err, CS_CORRUPT,
                     "%s: has %" PRIu64 " bytes of class %d, the log says %" PRIu64 " of class %d",
                     name, p->pack.size, p->pack.header.class, which->size, which->class);
        rc = cs_check_tolerate(c, add_bad_pack(c, &which->id, rc, err), err);
    }
    if (rc == 0)
        rc = check_entries(c, &p->pack, err);
    if (rc == 0)
        rc = take_frames(all, p, err);
    c->result->packs_checked++;
    return rc;
}

static int check_all(struct packs *all, struct cs_error *err)
{
    struct cs_check *c = all->check;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->state.pack_count; i++) {
        fill(all);
        rc = check_pack(all, err);
        if (rc < 0)
            break; /* its frames may be in the workers */
        cs_pack_clear(&pack_at(all, all->first++)->pack);
        all->bytes_done += c->state.packs[i].size;
        if (c->options->progress != NULL)
            c->options->progress(c->options->arg, all->bytes_done, all->bytes_total);
        rc = cs_store_cancelled(c->store, err);
    }
    return rc;
}

static void clear(struct packs *all)
{
    while (all->pool != NULL && cs_lane_take(&all->lane) != NULL)
        ;
    cs_pool_free(all->pool);
    for (size_t i = 0; i < all->job_count; i++)
        cs_frame_check_clear(&all->jobs[i].frame);
    free(all->jobs);
    while (all->first < all->loaded)
        cs_pack_clear(&pack_at(all, all->first++)->pack);
    free(all->chosen);
}

/* ---- which, and what it means ---- */

static uint64_t random64(void *arg)
{
    uint64_t random;
    (void)arg;
    cs_random(&random, sizeof random);
    return random;
}

/* Chooses the packs to read. */
static int choose(struct packs *all, struct cs_error *err)
{
    const struct cs_check *c = all->check;
    size_t n = c->state.pack_count;
    uint64_t *sizes = calloc(n + 1, sizeof *sizes);
    int rc = 0;
    all->chosen = calloc(n + 1, sizeof *all->chosen);
    if (sizes == NULL || all->chosen == NULL)
        rc = cs_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        sizes[i] = c->state.packs[i].size;
    if (rc == 0 && c->options->read_data > 0)
        rc = cs_sample_draw(all->chosen, sizes, n, c->options->read_data, random64, NULL, err);
    free(sizes);
    return rc;
}

/* What was read, and what it says of all where nothing was found wrong. */
static void conclude(const struct packs *all, bool whole)
{
    struct cs_check_result *r = all->check->result;
    if (r->packs_read == 0)
        return;
    r->read_share = (double)all->bytes_read / (double)all->bytes_total;
    if (whole)
        r->damaged_share_below =
            (double)cs_sample_bound(r->packs_checked, r->packs_read, CS_CHECK_CONFIDENCE) /
            (double)r->packs_checked;
}

int cs_check_packs(struct cs_check *c, struct cs_error *err)
{
    struct packs all = {.check = c};
    uint64_t before = c->result->errors;
    int rc = choose(&all, err);
    for (size_t i = 0; i < c->state.pack_count; i++)
        all.bytes_total += c->state.packs[i].size;
    if (rc == 0 && c->options->read_data > 0)
        rc = start_workers(&all, err);
    if (rc == 0)
        rc = check_all(&all, err);
    if (rc == 0)
        conclude(&all, c->result->errors == before);
    clear(&all);
    return rc;
}
