/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting right what a check found, as far as what is there allows: the index
 * from packs; then the log, so that nobody relies on what is not there. No file
 * is deleted. Each step is an entry, and is decided anew when others were faster.
 */
#include "repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "reserve.h"

enum { LOST_IN_ENTRY = 1 << 20, NAMES_IN_ENTRY = 1 << 20 };

void cs_repair_say(const struct cs_repair *r, const char *format, ...)
{
    char message[512];
    va_list args;
    if (r->options->say == NULL)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->options->say(r->options->arg, message);
}

/* ---- may it be done at all ---- */

/* A keyring that cannot be opened makes sound packs and segments look damaged. */
static int have_all_keys(struct cs_store *store, struct cs_error *err)
{
    const struct cs_epoch *keys = NULL;
    int rc = 0;
    for (size_t epoch = 0; rc == 0 && epoch < store->state.epoch_count; epoch++)
        rc = cs_store_epoch(store, (uint16_t)epoch, &keys, err);
    return rc;
}

static int may_repair(const struct cs_repair *r, struct cs_error *err)
{
    const struct cs_damage *d = r->options->damage;
    const struct cs_state *state = &r->store->state;
    char name[64];
    int rc = have_all_keys(r->store, err);
    if (rc == 0)
        rc = cs_log_may_append(r->store, CS_ENTRY_REPLACE, err);
    if (rc == 0 && d->object_count + d->gone_count + d->broken_count > 0)
        rc = cs_log_may_append(r->store, CS_ENTRY_CONDEMN, err);
    if (rc == 0 && d->unread_count > 0) {
        cs_pack_file(name, &d->unread[0]);
        rc = cs_fail(err, CS_IO,
                     "%zu packs cannot be read, %s for one: copy the repository to a sound disk "
                     "first, as far as it can be read, and repair it there",
                     d->unread_count, name);
    }
    if (rc == 0 && d->gone_count > 0 && d->gone_count >= state->pack_count)
        rc = cs_fail(err, CS_CORRUPT,
                     "not one of %zu packs is there: this looks like a disk that is not mounted, "
                     "or a copy that is not complete; nothing was repaired",
                     state->pack_count);
    return rc;
}

/* ---- objects that are lost ---- */

static int compare_by_pack(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct cs_lost));
}

/* Makes ${lost} have nothing twice, and only what the log does not say yet. */
static int keep_news(struct cs_store *store, struct cs_lost *lost, size_t *count,
                     struct cs_error *err)
{
    size_t kept = 0;
    int rc = 0;
    if (*count > 0)
        qsort(lost, *count, sizeof *lost, compare_by_pack);
    for (size_t i = 0; rc == 0 && i < *count; i++) {
        bool known = kept > 0 && compare_by_pack(&lost[i], &lost[kept - 1]) == 0;
        if (!cs_state_is_no_pack(&lost[i].pack) &&
            cs_state_pack(&store->state, &lost[i].pack) == NULL)
            known = true; /* a prune has made an end of it */
        if (!known)
            rc = cs_state_lost(&store->state, &lost[i].pack, &lost[i].id, &known, err);
        if (rc == 0 && !known)
            lost[kept++] = lost[i];
    }
    *count = kept;
    return rc;
}

/* A line for each pack. */
static void say_lost(struct cs_repair *r, const struct cs_lost *lost, size_t count)
{
    for (size_t i = 0, n; i < count; i += n) {
        char name[64];
        for (n = 1;
             i + n < count && memcmp(&lost[i + n].pack, &lost[i].pack, sizeof lost->pack) == 0;)
            n++;
        cs_pack_file(name, &lost[i].pack);
        if (cs_state_is_no_pack(&lost[i].pack))
            cs_repair_say(r, "archives need %zu objects that are nowhere: the log will say so", n);
        else
            cs_repair_say(r, "%s: damaged objects in it: %zu; the log will say so", name, n);
    }
}

static int append_lost(struct cs_repair *r, struct cs_lost *lost, size_t count,
                       struct cs_error *err)
{
    int rc = keep_news(r->store, lost, &count, err);
    if (rc < 0)
        return rc;
    say_lost(r, lost, count);
    for (size_t at = 0; rc == 0 && at < count; at += LOST_IN_ENTRY) {
        struct cs_buf payload = {0};
        size_t n = count - at < LOST_IN_ENTRY ? count - at : LOST_IN_ENTRY;
        cs_entry_begin(&payload, CS_ENTRY_LOST, (int64_t)time(NULL));
        cs_put_u32(&payload, (uint32_t)n);
        for (size_t i = at; i < at + n; i++) {
            cs_put_bytes(&payload, &lost[i].pack, sizeof lost[i].pack);
            cs_put_bytes(&payload, &lost[i].id, sizeof lost[i].id);
            r->result->objects_damaged += !cs_state_is_no_pack(&lost[i].pack);
        }
        rc = cs_reserve_append(r->store, &payload, NULL, NULL, err);
        cs_buf_clear(&payload);
    }
    return rc;
}

/* What the check has found, but for what lies in packs that are dropped. */
static int say_damaged(struct cs_repair *r, struct cs_error *err)
{
    const struct cs_damage *d = r->options->damage;
    struct cs_lost *lost = calloc(d->object_count + 1, sizeof *lost);
    size_t n = 0;
    if (lost == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < d->object_count; i++)
        if (!cs_names_find(&r->dropped, &d->objects[i].pack, NULL))
            lost[n++] = d->objects[i];
    int rc = append_lost(r, lost, n, err);
    free(lost);
    return rc;
}

/* What is known to be lost now of what archives need; again for those that came meanwhile. */
static int say_needed(struct cs_repair *r, struct cs_error *err)
{
    int rc = cs_repair_mark_archives(r, err);
    while (rc == 0 && r->lost_said < r->lost_count) {
        size_t n = r->lost_count - r->lost_said;
        struct cs_lost *lost = r->lost + r->lost_said;
        rc = append_lost(r, lost, n, err);
        r->lost_said += n;
        if (rc == 0)
            rc = cs_repair_mark_archives(r, err);
    }
    return rc;
}

/* ---- packs that are not there ---- */

/* Looks again: whoever mounts or copies something may have been late. */
static int is_bad_pack(struct cs_repair *r, const struct cs_state_pack *which, bool *gone,
                       bool *bad, struct cs_error *err)
{
    struct cs_pack pack = {0};
    struct cs_error e = {0};
    char name[64];
    uint64_t size;
    cs_pack_file(name, &which->id);
    int rc = r->store->backend->ops->size(r->store->backend, name, &size, &e);
    *gone = *bad = rc == CS_NOT_FOUND;
    if (*gone)
        return 0;
    if (rc == 0)
        rc = cs_pack_load(&pack, r->store, &which->id, &e);
    if (rc == 0)
        *bad = pack.size != which->size || pack.header.class != which->class;
    else if (rc == CS_CORRUPT)
        *bad = true;
    cs_pack_clear(&pack);
    return rc < 0 && rc != CS_CORRUPT ? cs_fail(err, rc, "%s", e.message) : 0;
}

static int add_dropped(struct cs_repair *r, const struct cs_name *names, size_t n, size_t *gone,
                       struct cs_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct cs_state_pack *pack = cs_state_pack(&r->store->state, &names[i]);
        bool is_gone = false, bad = false;
        char name[64];
        if (pack == NULL || cs_names_find(&r->dropped, &names[i], NULL))
            continue;
        int rc = is_bad_pack(r, pack, &is_gone, &bad, err);
        if (rc < 0)
            return rc;
        cs_pack_file(name, &names[i]);
        if (bad && cs_names_add(&r->dropped, &names[i], 0) < 0)
            return cs_fail_memory(err);
        if (bad)
            cs_repair_say(r, "%s: is %s: nothing will be looked for in it any more", name,
                          is_gone ? "missing" : "damaged as a whole");
        *gone += is_gone;
    }
    return 0;
}

static int choose_dropped(struct cs_repair *r, struct cs_error *err)
{
    const struct cs_damage *d = r->options->damage;
    size_t gone = 0;
    if (d->gone_count > 0)
        cs_repair_say(r, "packs that are missing: %zu of %zu", d->gone_count,
                      r->store->state.pack_count);
    int rc = add_dropped(r, d->gone, d->gone_count, &gone, err);
    return rc < 0 ? rc : add_dropped(r, d->broken, d->broken_count, &gone, err);
}

struct condemning { /* an entry to come */
    struct cs_repair *repair;
    struct cs_name *packs;
    size_t count;
    bool again; /* it has to be decided anew */
};

/* It counts only where all is known that archives before it need. */
static int holds(void *arg, struct cs_error *err)
{
    struct condemning *c = arg;
    struct cs_repair *r = c->repair;
    int rc = cs_repair_mark_archives(r, err);
    if (rc < 0)
        return rc;
    c->again = r->lost_said < r->lost_count;
    for (size_t i = 0; i < c->count; i++)
        c->again |= cs_state_pack(&r->store->state, &c->packs[i]) == NULL;
    return c->again ? cs_fail(err, CS_CONFLICT, "something has changed meanwhile") : 0;
}

static int condemn_once(struct condemning *c, struct cs_error *err)
{
    struct cs_repair *r = c->repair;
    const struct cs_state *state = &r->store->state;
    struct cs_buf payload = {0};
    c->count = 0;
    c->again = false;
    for (size_t i = 0; i < state->pack_count && c->count < NAMES_IN_ENTRY; i++)
        if (cs_names_find(&r->dropped, &state->packs[i].id, NULL))
            c->packs[c->count++] = state->packs[i].id;
    if (c->count == 0)
        return 0;
    cs_entry_begin(&payload, CS_ENTRY_CONDEMN, (int64_t)time(NULL));
    cs_entry_put_names(&payload, c->packs, c->count);
    for (unsigned list = 0; list < 3; list++)
        cs_entry_put_names(&payload, NULL, 0);
    cs_entry_put_added(&payload, &(struct cs_added){0});
    int rc = cs_reserve_append(r->store, &payload, holds, c, err);
    cs_buf_clear(&payload);
    r->result->packs_dropped += rc == 0 ? c->count : 0;
    return rc;
}

static int condemn(struct cs_repair *r, struct cs_error *err)
{
    struct condemning c = {.repair = r};
    c.packs = calloc(r->dropped.count + 1, sizeof *c.packs);
    if (c.packs == NULL)
        return cs_fail_memory(err);
    int rc;
    do {
        rc = say_needed(r, err);
        if (rc == 0)
            rc = condemn_once(&c, err);
    } while (c.count > 0 && (rc == 0 || (rc == CS_CONFLICT && c.again)));
    free(c.packs);
    return rc;
}

/* ---- all of it ---- */

static int repair(struct cs_repair *r, struct cs_error *err)
{
    int rc = cs_log_catch_up(r->store, err);
    if (rc == 0)
        rc = may_repair(r, err);
    if (rc == 0)
        rc = cs_frame_check_init(&r->frame, r->store, err);
    if (rc == 0)
        rc = choose_dropped(r, err);
    if (rc == 0)
        rc = cs_repair_index(r, err);
    if (rc == 0)
        rc = say_damaged(r, err);
    if (rc == 0)
        rc = cs_index_refresh(r->store, err);
    if (rc < 0)
        return rc;
    cs_index_clear_marks(r->store->index);
    rc = condemn(r, err);
    cs_index_clear_marks(r->store->index);
    return rc < 0 ? rc : cs_index_refresh(r->store, err);
}

int cs_repair(struct cs_store *store, const struct cs_repair_options *options,
              struct cs_repair_result *result, struct cs_error *err)
{
    struct cs_repair r = {.store = store, .options = options, .result = result};
    *result = (struct cs_repair_result){0};
    if (store->writers > 0)
        return cs_fail(err, CS_USAGE, "a run of this store is not finished");
    int rc = repair(&r, err);
    cs_names_clear(&r.dropped);
    cs_names_clear(&r.nowhere);
    cs_names_clear(&r.bad);
    cs_frame_check_clear(&r.frame);
    free(r.lost);
    if (store->reserve_wanted > 0)
        cs_reserve_put_back(store);
    return rc;
}
