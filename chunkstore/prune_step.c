/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One step of a prune: an entry that condemns, and may add what has moved. It counts only where
 * every archive before it is marked: whoever commits one in between makes us look again.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "prune.h"
#include "reserve.h"

int cs_prune_conflict(struct cs_error *err)
{
    return cs_fail(err, CS_CONFLICT, "another prune is at work here; try again later");
}

/* What came since is applied: marks find their new places, archives that are new are marked. */
static int catch_up(struct cs_prune *p, struct cs_error *err)
{
    int rc = 0;
    uint64_t seen;
    do {
        seen = p->store->position.next;
        rc = cs_index_refresh(p->store, err);
        if (rc == 0 && cs_index_lost_marks(p->store->index) > 0)
            return cs_prune_conflict(err);
        if (rc == 0 && p->store->state.lost_entries != p->lost_entries)
            return cs_fail(err, CS_CONFLICT, "a repair is at work here; try again later");
        if (rc == 0)
            rc = cs_prune_mark_archives(p, err);
    } while (rc == 0 && seen != p->store->position.next);
    return rc;
}

/* Whether a pack on the list must stay after all: an archive that came meanwhile needs more of it
 * than was planned for, or it is a file of nobody's that somebody has made live. */
static bool pack_is_needed(const struct cs_prune *p, const struct cs_name *pack)
{
    uint32_t position;
    if (cs_names_find(&p->pack_names, pack, &position))
        return p->packs[position].uncovered;
    return cs_state_pack(&p->store->state, pack) != NULL;
}

static bool segment_is_needed(const struct cs_step *step, const struct cs_name *segment)
{
    return !step->replaces && cs_state_segment(&step->prune->store->state, segment) != NULL;
}

/* Takes off the list what must stay. */
static bool spare_needed(struct cs_step *step)
{
    size_t count[CS_FILE_KINDS] = {0};
    bool spared = false;
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++) {
        struct cs_names_to *list = &step->condemned[kind];
        for (size_t i = 0; i < list->count; i++)
            if (!(kind == CS_FILE_PACK ? pack_is_needed(step->prune, &list->at[i])
                                       : segment_is_needed(step, &list->at[i])))
                list->at[count[kind]++] = list->at[i];
        spared |= count[kind] < list->count;
        list->count = count[kind];
    }
    return spared;
}

static int holds(void *arg, struct cs_error *err)
{
    struct cs_step *step = arg;
    struct cs_prune *p = step->prune;
    const struct cs_state *state = &p->store->state;
    if (p->marked_through == p->store->position.next)
        return 0;
    int rc = catch_up(p, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < step->source_count; i++)
        if (cs_state_pack(state, &step->sources[i]->pack.id) == NULL)
            return cs_prune_conflict(err);
    for (size_t i = 0; i < step->pack_count; i++)
        if (cs_state_condemned(state, CS_FILE_PACK, &step->packs[i].id))
            return cs_prune_conflict(err);
    if (step->segment_count > 0 && cs_state_condemned(state, CS_FILE_SEGMENT, &step->segment.id))
        return cs_prune_conflict(err);
    rc = cs_prune_find_uncovered(p, err);
    if (rc < 0)
        return rc;
    step->again = spare_needed(step);
    return step->again ? cs_fail(err, CS_CONFLICT, "a pack is needed again") : 0;
}

static void put_entry(struct cs_buf *payload, const struct cs_step *step)
{
    payload->len = 0;
    cs_entry_begin(payload, CS_ENTRY_CONDEMN, (int64_t)time(NULL));
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_entry_put_names(payload, step->condemned[kind].at, step->condemned[kind].count);
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_entry_put_names(payload, step->gone[kind].at, step->gone[kind].count);
    cs_entry_put_added(payload, &(struct cs_added){.packs = step->packs,
                                                   .pack_count = step->pack_count,
                                                   .segments = &step->segment,
                                                   .segment_count = step->segment_count});
}

static bool is_empty(const struct cs_step *step)
{
    if (step->pack_count > 0 && step->condemned[CS_FILE_PACK].count == 0)
        return true; /* what has moved is needed where it was */
    return step->condemned[CS_FILE_PACK].count == 0 &&
           step->condemned[CS_FILE_SEGMENT].count == 0 && step->pack_count == 0 &&
           step->segment_count == 0 &&
           step->gone[CS_FILE_PACK].count + step->gone[CS_FILE_SEGMENT].count < CS_PRUNE_GONE_MAX;
}

static void mark_done(struct cs_step *step)
{
    struct cs_prune *p = step->prune;
    for (size_t i = 0; i < step->condemned[CS_FILE_PACK].count; i++) {
        uint32_t position;
        if (!cs_names_find(&p->pack_names, &step->condemned[CS_FILE_PACK].at[i], &position))
            continue;
        struct cs_pack_use *use = &p->packs[position];
        use->done = true;
        if (use->fate == CS_FATE_REWRITE)
            p->result->packs_rewritten++;
        else
            p->result->packs_deleted++;
    }
}

int cs_step_append(struct cs_step *step, struct cs_error *err)
{
    struct cs_prune *p = step->prune;
    struct cs_buf payload = {0};
    bool empty;
    int rc;
    do {
        rc = 0;
        step->again = false;
        empty = is_empty(step);
        if (!empty) {
            put_entry(&payload, step);
            rc = cs_reserve_append(p->store, &payload, holds, step, err);
        }
    } while (rc == CS_CONFLICT && step->again);
    cs_buf_clear(&payload);
    if (empty)
        return 0;
    /* any other failure may have come when the entry was there already */
    step->appended = rc != CS_CONFLICT;
    if (rc < 0)
        return rc;
    p->marked_through = p->store->position.next; /* the last entry is ours, and no archive's */
    p->condemn_entries++;
    mark_done(step);
    rc = cs_index_refresh(p->store, err);
    if (rc == 0 && cs_index_lost_marks(p->store->index) > 0)
        rc = cs_fail(err, CS_CORRUPT, "something that an archive needs has no place any more");
    for (unsigned kind = 0; rc == 0 && kind < CS_FILE_KINDS; kind++)
        rc = cs_prune_delete(p, kind, &step->condemned[kind], err);
    return rc;
}

static void take_back_file(const struct cs_prune *p, enum cs_file_kind kind,
                           const struct cs_name *name)
{
    char path[64];
    if (cs_names_find(&p->store->state.live[kind], name, NULL))
        return;
    cs_prune_file_name(path, kind, name);
    p->store->backend->ops->remove(p->store->backend, path, NULL);
}

/* A first try of the entry may have got its name, and failed for all that; then a second one finds
 * its own packs condemned. What the log says counts. */
void cs_step_take_back(struct cs_step *step)
{
    struct cs_prune *p = step->prune;
    if (step->appended || step->pack_count + step->segment_count == 0 ||
        cs_log_catch_up(p->store, NULL) < 0)
        return;
    for (size_t i = 0; i < step->pack_count; i++)
        take_back_file(p, CS_FILE_PACK, &step->packs[i].id);
    if (step->segment_count > 0)
        take_back_file(p, CS_FILE_SEGMENT, &step->segment.id);
}

void cs_step_clear(struct cs_step *step)
{
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++) {
        free(step->condemned[kind].at);
        free(step->gone[kind].at);
    }
    free(step->sources);
    free(step->packs);
}
