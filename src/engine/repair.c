/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repairing: the store does it, and asks here what archives need, to know what
 * of it is lost. Which archives suffer is for the check to tell, afterwards.
 */
#include "engine/repair.h"

#include <stdio.h>

#include "engine/needs.h"

struct repair {
    struct cs_store *store;
    const struct engine_check_options *options;
    struct cs_repairer *repairer;
};

static int need(void *arg, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    bool ignored;
    return cs_repair_need(((const struct repair *)arg)->repairer, id,
                          fresh != NULL ? fresh : &ignored, err);
}

/* What is malformed, but stored as it was written, cannot be repaired. */
static int on_missing(void *arg, const struct cs_id *id, struct cs_error *err)
{
    return id != NULL ? cs_repair_unreadable(((const struct repair *)arg)->repairer, id, err) : 0;
}

static int mark_archive(void *arg, const struct cs_archive *archive, struct cs_repairer *repairer,
                        struct cs_error *err)
{
    struct repair *r = arg;
    struct needs needs = {
        .store = r->store,
        .need = need,
        .missing = on_missing,
        .arg = r,
        .cancel = r->options->listener.cancel,
    };
    r->repairer = repairer;
    return needs_walk(&needs, &archive->id, err);
}

static void say(void *arg, const char *message)
{
    const struct engine_check_options *o = ((const struct repair *)arg)->options;
    if (o->plan != NULL)
        o->plan(o->listener.arg, message);
}

static bool did_something(const struct cs_repair_result *r)
{
    return r->segments_dropped + r->segments_written + r->packs_dropped + r->objects_damaged > 0;
}

static void report_nothing(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* What the structure is like now. Frames need not be read again: what is bad was called lost. */
static int count_remaining(struct cs_store *store, struct engine_check_result *result,
                           struct error *err)
{
    struct cs_error ce;
    struct cs_check_result again;
    struct cs_check_options options = {.report = report_nothing};
    if (cs_check(store, &options, &again, &ce) < 0)
        return engine_store_error(err, &ce);
    result->remaining = again.errors;
    return 0;
}

int repair_store(struct cs_store *store, const struct engine_check_options *options,
                 const struct cs_damage *damage, struct engine_check_result *result,
                 struct error *err)
{
    struct repair r = {.store = store, .options = options};
    struct cs_error ce = {0};
    char message[sizeof ce.message + 32];
    struct cs_repair_options store_options = {
        .damage = damage, .mark = mark_archive, .say = say, .arg = &r};
    int rc = cs_repair(store, &store_options, &result->repair, &ce);
    if (rc == 0)
        return did_something(&result->repair) ? count_remaining(store, result, err) : 0;
    if (rc != CS_CORRUPT && rc != CS_IO && rc != CS_UNSUPPORTED)
        return engine_store_error(err, &ce);
    snprintf(message, sizeof message, "not repaired: %s", ce.message);
    options->report(options->listener.arg, message);
    result->errors++;
    result->remaining++;
    return 0;
}
