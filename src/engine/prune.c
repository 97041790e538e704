/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Freeing space: the store does it, and asks here what an archive needs. A
 * subtree that was marked for another archive is passed over; so is what the log
 * says to be lost.
 */
#include "engine/needs.h"
#include "engine/upkeep.h"

struct prune {
    struct cs_store *store;
    const struct engine_prune_options *options;
    struct cs_marker *marker; /* of the archive at hand */
};

/* What is below it is marked after it; should that fail, the whole prune does. */
static int mark(void *arg, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    bool ignored;
    return cs_mark(((const struct prune *)arg)->marker, id, fresh != NULL ? fresh : &ignored, err);
}

static int on_missing(void *arg, const struct cs_id *id, struct cs_error *err)
{
    const struct prune *p = arg;
    struct cs_error e = {0};
    bool lost = false;
    int rc = id != NULL ? cs_is_lost(p->store, id, &lost, &e) : 0;
    if (rc < 0)
        *err = e;
    return lost ? 0 : err->code;
}

static int mark_archive(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                        struct cs_error *err)
{
    struct prune *p = arg;
    struct needs needs = {
        .store = p->store,
        .need = mark,
        .missing = on_missing,
        .arg = p,
        .cancel = p->options->listener.cancel,
    };
    p->marker = marker;
    return needs_walk(&needs, &archive->id, err);
}

static void on_warning(void *arg, const char *message)
{
    const struct engine_listener *l = &((const struct prune *)arg)->options->listener;
    if (l->warning != NULL)
        l->warning(l->arg, message);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct engine_listener *l = &((const struct prune *)arg)->options->listener;
    if (l->progress != NULL)
        l->progress(l->arg, "packs", done, total);
}

int engine_prune(struct cs_store *store, const struct engine_prune_options *options,
                 struct cs_prune_result *result, struct error *err)
{
    struct cs_error ce;
    struct prune p = {.store = store, .options = options};
    struct cs_prune_options store_options = {
        .max_unused = options->max_unused,
        .dry_run = options->dry_run,
        .no_grace = options->no_grace,
        .mark = mark_archive,
        .warning = on_warning,
        .progress = on_progress,
        .arg = &p,
    };
    return cs_prune(store, &store_options, result, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}
