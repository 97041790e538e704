/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Freeing what no live archive needs, in the order that lets it be stopped, or race with others, at
 * any time: look, mark, decide; then, step by step, add what has moved, condemn, delete.
 */
#include "prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "reserve.h"

static const uint64_t batch_bytes = 1ULL << 30;

/* The packs that are live now, and whether they are there. */
static int take_packs(struct cs_prune *p, struct cs_error *err)
{
    const struct cs_state *state = &p->store->state;
    for (size_t i = 0; i < state->pack_count; i++)
        if (cs_names_add(&p->pack_names, &state->packs[i].id, (uint32_t)i) < 0)
            return cs_fail_memory(err);
    p->packs = calloc(state->pack_count + 1, sizeof *p->packs);
    if (p->packs == NULL)
        return cs_fail_memory(err);
    p->pack_count = state->pack_count;
    for (size_t i = 0; i < p->pack_count; i++) {
        struct cs_pack_use *use = &p->packs[i];
        use->pack = state->packs[i];
        const struct cs_listed *file = cs_prune_listed(p, CS_FILE_PACK, &use->pack.id);
        use->present = file != NULL && file->size == use->pack.size;
    }
    return 0;
}

static uint64_t listed_bytes(const struct cs_prune *p)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->file_count; i++)
        bytes += p->files[i].size;
    return bytes;
}

static void tell_lost(const struct cs_prune *p)
{
    char message[128];
    if (p->result->lost == 0 || p->options->warning == NULL)
        return;
    snprintf(message, sizeof message,
             "%llu objects that archives need are lost, as byre check has said: they are passed "
             "over",
             (unsigned long long)p->result->lost);
    p->options->warning(p->options->arg, message);
}

/* What is there, and what is to become of it. */
static int look(struct cs_prune *p, struct cs_error *err)
{
    struct cs_store *store = p->store;
    int rc = cs_log_catch_up(store, err);
    p->condemn_entries = store->state.condemn_entries;
    if (rc == 0)
        rc = cs_index_refresh(store, err);
    if (rc < 0)
        return rc;
    cs_index_clear_marks(store->index);
    p->lost_entries = store->state.lost_entries;
    rc = cs_prune_list(p, err);
    if (rc == 0)
        rc = take_packs(p, err);
    p->result->bytes_before = listed_bytes(p);
    if (rc == 0)
        rc = cs_prune_mark_archives(p, err);
    if (rc == 0) /* reading may have read the log on */
        rc = cs_index_refresh(store, err);
    tell_lost(p);
    if (rc == 0)
        rc = cs_prune_find_orphans(p, err);
    return rc < 0 ? rc : cs_prune_plan(p, err);
}

static void foretell(struct cs_prune *p)
{
    struct cs_prune_result *r = p->result;
    const struct cs_state *state = &p->store->state;
    uint64_t freed = 0;
    for (size_t i = 0; i < p->pack_count; i++) {
        const struct cs_pack_use *use = &p->packs[i];
        r->packs_deleted += use->fate == CS_FATE_DROP;
        r->packs_rewritten += use->fate == CS_FATE_REWRITE;
        if (use->fate == CS_FATE_DROP && use->present)
            freed += use->pack.size;
        else if (use->fate == CS_FATE_REWRITE)
            freed += use->unused;
    }
    for (size_t i = 0; i < p->file_count; i++)
        if (cs_names_find(&state->dead[p->files[i].kind], &p->files[i].name, NULL))
            freed += p->files[i].size;
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        for (size_t i = 0; i < p->orphans[kind].count; i++)
            freed += cs_prune_listed(p, kind, &p->orphans[kind].at[i])->size;
    r->bytes_after = r->bytes_before - freed;
}

/* That objects were found nowhere is forgotten where none of them is missed any more. */
static int forget_lost(struct cs_prune *p, struct cs_step *step, struct cs_error *err)
{
    static const struct cs_name nowhere;
    bool any = false;
    int rc = cs_state_has_lost(&p->store->state, &nowhere, &any, err);
    if (rc == 0 && any && p->result->lost == 0)
        rc = cs_names_to_add(&step->condemned[CS_FILE_PACK], &nowhere, err);
    return rc;
}

/* The first step: all that can go without moving anything. */
static int drop(struct cs_prune *p, struct cs_error *err)
{
    struct cs_step step = {.prune = p};
    int rc = cs_prune_sync_log(p->store, err);
    if (rc == 0)
        rc = cs_prune_delete_condemned(p, step.gone, err);
    for (size_t i = 0; rc == 0 && i < p->pack_count; i++)
        if (p->packs[i].fate == CS_FATE_DROP)
            rc = cs_names_to_add(&step.condemned[CS_FILE_PACK], &p->packs[i].pack.id, err);
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        for (size_t i = 0; rc == 0 && i < p->orphans[kind].count; i++)
            rc = cs_names_to_add(&step.condemned[kind], &p->orphans[kind].at[i], err);
    if (rc == 0)
        rc = forget_lost(p, &step, err);
    if (rc == 0)
        rc = cs_step_append(&step, err);
    cs_step_clear(&step);
    return rc;
}

/* On a full disk one pack at a time, and at last with what the reserve gives. */
static int move(struct cs_prune *p, struct cs_error *err)
{
    bool given = false;
    int rc = cs_prune_move(p, batch_bytes, err);
    if (rc == CS_NO_SPACE)
        rc = cs_prune_move(p, 0, err);
    if (rc == CS_NO_SPACE) {
        struct cs_error e;
        int gave = cs_reserve_give_up(p->store, &given, &e);
        if (gave < 0)
            return cs_fail(err, gave, "%s", e.message);
        if (given)
            rc = cs_prune_move(p, 0, err);
    }
    return rc;
}

static int free_space(struct cs_prune *p, struct cs_error *err)
{
    int rc = cs_prune_sweep(p, err);
    if (rc == 0)
        rc = drop(p, err);
    if (rc == 0)
        rc = move(p, err);
    if (rc == 0)
        rc = cs_prune_segments(p, err);
    if (rc == 0)
        rc = cs_prune_list(p, err);
    if (rc == 0)
        p->result->bytes_after = listed_bytes(p);
    return rc;
}

/* Whether somebody else has condemned something since it began: then what is missing is no damage.
 */
static bool overtaken(const struct cs_prune *p)
{
    return cs_log_catch_up(p->store, NULL) == 0 &&
           p->store->state.condemn_entries != p->condemn_entries;
}

static int prune_once(struct cs_store *store, const struct cs_prune_options *options, bool no_grace,
                      struct cs_prune_result *result, struct cs_error *err)
{
    struct cs_prune p = {
        .store = store,
        .options = options,
        .result = result,
        .now = (int64_t)time(NULL),
        .no_grace = no_grace,
    };
    *result = (struct cs_prune_result){0};
    int rc = look(&p, err);
    if (rc == 0 && options->dry_run)
        foretell(&p);
    else if (rc == 0)
        rc = free_space(&p, err);
    if (rc == CS_CORRUPT && overtaken(&p))
        rc = cs_prune_conflict(err);
    cs_index_clear_marks(store->index);
    cs_prune_list_clear(&p);
    cs_prune_plan_clear(&p);
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        free(p.orphans[kind].at);
    return rc;
}

int cs_prune(struct cs_store *store, const struct cs_prune_options *options,
             struct cs_prune_result *result, struct cs_error *err)
{
    *result = (struct cs_prune_result){0};
    if (store->writers > 0)
        return cs_fail(err, CS_USAGE, "a run of this store is not finished");
    int rc = cs_log_may_append(store, CS_ENTRY_CONDEMN, err);
    if (rc < 0)
        return rc;
    rc = prune_once(store, options, options->no_grace, result, err);
    if (rc == CS_NO_SPACE && !options->no_grace)
        rc = prune_once(store, options, true, result, err);
    if (!options->dry_run)
        cs_reserve_put_back(store);
    return rc;
}
