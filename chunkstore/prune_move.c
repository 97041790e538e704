/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving what is needed of packs into new ones, frame by frame, as they are: no key of the data is
 * needed. Each frame is held against its checksum when it is read, and again as it lies in the new
 * pack, before anything that it was moved from is condemned.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pack_write.h"
#include "prune.h"

enum { CLASSES = 2 };

struct target { /* of one class */
    struct cs_pack_writer *writer;
    uint32_t pack;   /* its number in the segment */
    uint16_t frames; /* in it */
};

struct mover {
    struct cs_prune *prune;
    struct cs_step step;
    struct target targets[CLASSES];
    struct cs_names_to names; /* of the new packs */
    struct cs_entry *entries;
    size_t entry_count;
    size_t entry_room;
    uint8_t *sealed;
};

static struct target *target_of(struct mover *m, enum cs_class class)
{
    return &m->targets[class == CS_DATA ? 0 : 1];
}

static int close_pack(struct mover *m, struct target *t, struct cs_error *err)
{
    struct cs_step *step = &m->step;
    if (t->writer == NULL)
        return 0;
    struct cs_state_pack *packs = reallocarray(step->packs, step->pack_count + 1, sizeof *packs);
    if (packs == NULL)
        return cs_fail_memory(err);
    step->packs = packs;
    int rc = cs_pack_writer_close(t->writer, &packs[step->pack_count], err);
    t->writer = NULL;
    if (rc == 0)
        step->pack_count++;
    return rc;
}

/* Sees to it that a pack is open that has room for ${frame}. */
static int open_pack(struct mover *m, enum cs_class class, const struct cs_frame *frame,
                     struct cs_error *err)
{
    struct target *t = target_of(m, class);
    int rc = 0;
    if (t->writer != NULL && cs_pack_writer_full(t->writer, frame->stored, frame->objects))
        rc = close_pack(m, t, err);
    if (rc < 0 || t->writer != NULL)
        return rc;
    rc = cs_pack_writer_open(&t->writer, m->prune->store, class, false, err);
    if (rc < 0)
        return rc;
    t->frames = 0;
    t->pack = (uint32_t)m->names.count;
    return cs_names_to_add(&m->names, cs_pack_writer_name(t->writer), err);
}

static int add_entries(struct mover *m, const struct target *t, const struct cs_object *objects,
                       uint16_t n, struct cs_error *err)
{
    if (m->entry_count + n > m->entry_room) {
        size_t room = m->entry_room > 0 ? m->entry_room * 2 : 4096;
        while (room < m->entry_count + n)
            room *= 2;
        struct cs_entry *entries = reallocarray(m->entries, room, sizeof *entries);
        if (entries == NULL)
            return cs_fail_memory(err);
        m->entries = entries;
        m->entry_room = room;
    }
    for (uint16_t i = 0; i < n; i++) {
        struct cs_entry *e = &m->entries[m->entry_count++];
        memcpy(e->prefix, objects[i].id.bytes, sizeof e->prefix);
        e->pack = t->pack;
        e->frame = t->frames;
        e->slot = i;
    }
    return 0;
}

static int read_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                      uint8_t *sealed, struct cs_error *err)
{
    uint8_t checksum[CS_CHECKSUM_SIZE];
    const struct cs_frame *f = &pack->trailer.frames[n];
    int rc = cs_pack_read_frame(store, pack, n, sealed, err);
    if (rc < 0)
        return rc;
    cs_checksum(checksum, sealed, f->stored);
    if (memcmp(checksum, f->checksum, sizeof checksum) != 0) {
        char name[64];
        cs_pack_file(name, &pack->name);
        return cs_fail(err, CS_CORRUPT, "%s: frame %" PRIu32 " at %" PRIu64 " was altered", name, n,
                       f->offset);
    }
    return 0;
}

static int move_frame(struct mover *m, const struct cs_pack *pack, uint32_t n, struct cs_error *err)
{
    const struct cs_trailer *trailer = &pack->trailer;
    const struct cs_frame *f = &trailer->frames[n];
    struct target *t = target_of(m, pack->header.class);
    int rc = read_frame(m->prune->store, pack, n, m->sealed, err);
    if (rc == 0)
        rc = open_pack(m, pack->header.class, f, err);
    if (rc == 0)
        rc = cs_pack_writer_move(t->writer, f, &trailer->origins[f->origin], m->sealed,
                                 trailer->objects + f->first, err);
    if (rc == 0)
        rc = add_entries(m, t, trailer->objects + f->first, f->objects, err);
    t->frames++;
    return rc;
}

static void report_progress(struct cs_prune *p, uint64_t bytes)
{
    p->done += bytes;
    if (p->options->progress != NULL)
        p->options->progress(p->options->arg, p->done, p->total);
}

static bool is_live(const struct cs_prune *p, const struct cs_pack_use *use)
{
    return cs_state_pack(&p->store->state, &use->pack.id) != NULL;
}

/* A pack that cannot be read whole stays as it is; what has moved by then is there twice. */
static int move_pack(struct mover *m, struct cs_pack_use *use, struct cs_error *err)
{
    struct cs_prune *p = m->prune;
    struct cs_step *step = &m->step;
    struct cs_pack pack = {0};
    struct cs_error e = {0};
    int rc = cs_pack_load(&pack, p->store, &use->pack.id, &e);
    if (rc == 0 && pack.trailer.frame_count != use->frame_count)
        rc = cs_fail(&e, CS_CORRUPT, "a pack has changed");
    for (uint32_t n = 0; rc == 0 && n < use->frame_count; n++) {
        if (!(use->live_frames[n / 8] >> (n % 8) & 1))
            continue;
        rc = move_frame(m, &pack, n, &e);
        if (rc == 0)
            rc = cs_store_cancelled(p->store, &e);
        report_progress(p, use->stored[n]);
    }
    cs_pack_clear(&pack);
    if (rc == CS_CORRUPT && cs_log_catch_up(p->store, NULL) == 0 && !is_live(p, use))
        return 0; /* another prune has dealt with it */
    if (rc == CS_CORRUPT) {
        if (p->options->warning != NULL)
            p->options->warning(p->options->arg, e.message);
        use->fate = CS_FATE_KEEP;
        return 0;
    }
    if (rc < 0)
        return cs_fail(err, rc, "%s", e.message);
    struct cs_pack_use **sources =
        reallocarray(step->sources, step->source_count + 1, sizeof(struct cs_pack_use *));
    if (sources == NULL)
        return cs_fail_memory(err);
    step->sources = sources;
    sources[step->source_count++] = use;
    return cs_names_to_add(&step->condemned[CS_FILE_PACK], &use->pack.id, err);
}

/* The copies as they lie in the repository now. */
static int verify_copies(struct mover *m, struct cs_error *err)
{
    struct cs_store *store = m->prune->store;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->step.pack_count; i++) {
        struct cs_pack pack = {0};
        rc = cs_pack_load(&pack, store, &m->step.packs[i].id, err);
        for (uint32_t n = 0; rc == 0 && n < pack.trailer.frame_count; n++) {
            rc = read_frame(store, &pack, n, m->sealed, err);
            if (rc == 0)
                rc = cs_store_cancelled(store, err);
        }
        cs_pack_clear(&pack);
    }
    return rc;
}

/* Everything that was moved becomes durable, then true. */
static int finish(struct mover *m, struct cs_error *err)
{
    struct cs_store *store = m->prune->store;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < CLASSES; i++)
        rc = close_pack(m, &m->targets[i], err);
    if (rc < 0 || m->entry_count == 0)
        return rc;
    rc = store->backend->ops->sync(store->backend, "packs", err);
    if (rc == 0)
        rc = verify_copies(m, err);
    if (rc < 0)
        return rc;
    qsort(m->entries, m->entry_count, sizeof *m->entries, cs_entry_compare);
    rc = cs_segment_write(store, m->entries, m->entry_count, m->names.at, (uint32_t)m->names.count,
                          &m->step.segment, err);
    m->step.segment_count = rc == 0;
    if (rc == 0)
        rc = store->backend->ops->sync(store->backend, "segments", err);
    return rc < 0 ? rc : cs_step_append(&m->step, err);
}

static void mover_clear(struct mover *m)
{
    for (size_t i = 0; i < CLASSES; i++)
        cs_pack_writer_abandon(m->targets[i].writer);
    cs_step_take_back(&m->step);
    cs_step_clear(&m->step);
    free(m->names.at);
    free(m->entries);
    free(m->sealed);
}

/* One batch, from pack ${*at} on. */
static int move_some(struct cs_prune *p, size_t *at, uint64_t bytes, struct cs_error *err)
{
    struct mover m = {.prune = p, .step = {.prune = p}};
    uint64_t done = p->done;
    int rc = 0;
    m.sealed = malloc(CS_FRAME_MAX + CS_SEAL_OVERHEAD);
    if (m.sealed == NULL)
        rc = cs_fail_memory(err);
    for (; rc == 0 && *at < p->pack_count && (m.step.source_count == 0 || p->done - done < bytes);
         (*at)++) {
        struct cs_pack_use *use = &p->packs[*at];
        if (use->fate == CS_FATE_REWRITE && !use->done && !use->uncovered && is_live(p, use))
            rc = move_pack(&m, use, err);
    }
    if (rc == 0)
        rc = finish(&m, err);
    mover_clear(&m);
    return rc;
}

int cs_prune_move(struct cs_prune *p, uint64_t bytes, struct cs_error *err)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < p->pack_count;)
        rc = move_some(p, &at, bytes, err);
    return rc;
}
