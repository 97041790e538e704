/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding a repository against its format: log, packs, segments, and as many
 * stored bytes as are asked for; slots and keyrings are check_keys.c's. One
 * damage does not hide the next.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_keys.h"
#include "damage.h"
#include "log.h"
#include "names.h"
#include "pack_read.h"
#include "sample.h"

struct check {
    struct cs_store *store;
    const struct cs_check_options *options;
    struct cs_check_result *result;
    struct cs_state state; /* folded from entry 0 */
    uint64_t bytes_total;  /* of all packs */
    uint64_t bytes_done;
    uint64_t bytes_read; /* of packs that were read whole */
    bool *chosen;        /* packs to read */
    struct cs_segment *segments;
    size_t segment_count;
    uint64_t **expected; /* entries that each segment has of each of its packs, less those found */
    struct cs_damage *damage;
    struct cs_names listed; /* packs that are there; made when one is first missed */
    bool is_listed;
};

static void report(void *arg, const char *message)
{
    struct check *c = arg;
    c->result->errors++;
    c->options->report(c->options->arg, message);
}

/* Damage is reported and the check goes on; anything else ends it. */
static int tolerate(void *arg, int rc, struct cs_error *err)
{
    struct check *c = arg;
    if (rc != CS_CORRUPT && rc != CS_NOT_FOUND && rc != CS_UNSUPPORTED && rc != CS_IO)
        return rc;
    report(c, err->message);
    return 0;
}

static int check_config(struct check *c, struct cs_error *err)
{
    uint8_t *data = NULL, hash[CS_HASH_SIZE];
    size_t len = 0;
    struct cs_config config;
    int rc = cs_backend_read_all(c->store->backend, "config", 4096, &data, &len, err);
    if (rc == 0)
        rc = cs_config_decode(&config, data, len, err);
    if (rc == 0) {
        cs_hash(hash, data, len);
        if (memcmp(hash, c->store->config_hash, sizeof hash) != 0)
            rc = cs_fail(err, CS_CORRUPT, "config: was replaced");
    }
    free(data);
    return tolerate(c, rc, err);
}

/* ---- segments and packs ---- */

/* Whether a prune has made an end of it since the log was read, so that it is rightly missing. */
static bool is_condemned(struct check *c, enum cs_file_kind kind, const struct cs_name *name)
{
    return cs_log_catch_up(c->store, NULL) == 0 && cs_state_condemned(&c->store->state, kind, name);
}

static int add_segment(struct check *c, const struct cs_name *name, struct cs_error *err)
{
    return cs_damage_add_name(&c->damage->segments, &c->damage->segment_count, name, err);
}

/* ${*overtaken}: a prune has put other segments in the place of these. */
static int load_segments(struct check *c, bool *overtaken, struct cs_error *err)
{
    size_t n = c->state.segment_count;
    c->segments = calloc(n + 1, sizeof *c->segments);
    c->expected = calloc(n + 1, sizeof *c->expected);
    if (c->segments == NULL || c->expected == NULL)
        return cs_fail_memory(err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct cs_segment *s = &c->segments[c->segment_count];
        rc = cs_segment_fetch(s, c->store, &c->state.segments[i], err);
        *overtaken = rc < 0 && is_condemned(c, CS_FILE_SEGMENT, &c->state.segments[i].id);
        if (*overtaken)
            return 0;
        if (rc < 0) {
            rc = tolerate(c, rc, err);
            if (rc == 0)
                rc = add_segment(c, &c->state.segments[i].id, err);
            continue;
        }
        uint64_t *expected = calloc(s->pack_count, sizeof *expected);
        c->expected[c->segment_count++] = expected;
        if (expected == NULL)
            return cs_fail_memory(err);
        for (uint64_t k = 0; k < s->entry_count; k++) {
            struct cs_entry e;
            rc = cs_segment_entry(s, k, &e, err);
            if (rc < 0)
                return rc;
            expected[e.pack]++;
        }
        if (rc == 0)
            rc = cs_store_cancelled(c->store, err);
    }
    return rc;
}

/* Finds the entry of one object, exactly; takes it off what is expected. */
static bool find_entry(struct check *c, const struct cs_name *pack, const struct cs_object *object,
                       uint16_t frame, uint16_t slot)
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

static int check_entries(struct check *c, const struct cs_pack *pack, struct cs_error *err)
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
                rc = add_segment(c, &c->segments[i].id, err);
            }
    c->damage->unindexed += missing;
    if (missing > 0) {
        snprintf(message, sizeof message, "%s: %" PRIu64 " of its %zu objects are not in the index",
                 name, missing, t->object_count);
        report(c, message);
    }
    if (strange > 0) {
        snprintf(message, sizeof message,
                 "%s: the index names %" PRIu64 " objects in it that are not there", name, strange);
        report(c, message);
    }
    return rc;
}

/* Notes the bad objects of frame ${n}, but for those of which the log says so already. */
static int add_bad(struct check *c, const struct cs_pack *pack, uint32_t n, const bool *bad,
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
static int add_unread_frame(struct check *c, const struct cs_pack *pack, uint32_t n,
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
static int add_unread(struct check *c, const struct cs_name *pack, int rc, struct cs_error *err)
{
    int added = cs_damage_add_name(&c->damage->unread, &c->damage->unread_count, pack, err);
    return added < 0 ? added : rc;
}

static int check_frame(struct check *c, const struct cs_pack *pack, uint32_t n,
                       struct cs_frame_check *frame, struct cs_error *err)
{
    size_t known = c->damage->object_count;
    int rc = cs_pack_check_frame(c->store, pack, n, frame, err);
    c->result->data_unopened |= frame->unopened;
    if (rc == CS_IO) {
        int added = add_unread_frame(c, pack, n, err);
        return added < 0 ? added : add_unread(c, &pack->name, rc, err);
    }
    if (rc != CS_CORRUPT)
        return rc;
    int added = add_bad(c, pack, n, frame->bad, err);
    if (added < 0)
        return added;
    /* what the log says is no news; who suffers from it is told by the archives */
    return c->damage->object_count > known ? rc : 0;
}

static int check_frames(struct check *c, const struct cs_pack *pack, struct cs_error *err)
{
    struct cs_frame_check frame;
    struct cs_damage *d = c->damage;
    size_t known = d->object_count, known_unread = d->unread_object_count;
    bool whole = true;
    int rc = cs_frame_check_init(&frame, err);
    for (uint32_t n = 0; rc == 0 && n < pack->trailer.frame_count; n++) {
        rc = check_frame(c, pack, n, &frame, err);
        if (rc < 0 && is_condemned(c, CS_FILE_PACK, &pack->name)) {
            d->object_count = known;
            d->unread_object_count = known_unread;
            whole = false;
            rc = 0;
            break;
        }
        if (rc < 0)
            rc = tolerate(c, rc, err);
        c->result->bytes_checked += pack->trailer.frames[n].stored;
        if (rc == 0)
            rc = cs_store_cancelled(c->store, err);
    }
    if (rc == 0 && whole) {
        c->result->packs_read++;
        c->bytes_read += pack->size;
    }
    cs_frame_check_clear(&frame);
    return rc;
}

static uint64_t random64(void *arg)
{
    uint64_t random;
    (void)arg;
    cs_random(&random, sizeof random);
    return random;
}

/* Chooses the packs to read. */
static int choose(struct check *c, struct cs_error *err)
{
    size_t n = c->state.pack_count;
    uint64_t *sizes = calloc(n + 1, sizeof *sizes);
    int rc = 0;
    c->chosen = calloc(n + 1, sizeof *c->chosen);
    if (sizes == NULL || c->chosen == NULL)
        rc = cs_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        sizes[i] = c->state.packs[i].size;
    if (rc == 0 && c->options->read_data > 0)
        rc = cs_sample_draw(c->chosen, sizes, n, c->options->read_data, random64, NULL, err);
    free(sizes);
    return rc;
}

/* What was read, and what it says of all where nothing was found wrong. */
static void conclude(const struct check *c, bool whole)
{
    struct cs_check_result *r = c->result;
    if (r->packs_read == 0)
        return;
    r->read_share = (double)c->bytes_read / (double)c->bytes_total;
    if (whole)
        r->damaged_share_below =
            (double)cs_sample_bound(r->packs_checked, r->packs_read, CS_CHECK_CONFIDENCE) /
            (double)r->packs_checked;
}

static int see_pack(void *arg, const char *text, struct cs_error *err)
{
    struct check *c = arg;
    struct cs_name name;
    if (!cs_name_parse(&name, text) || cs_names_find(&c->listed, &name, NULL))
        return 0;
    return cs_names_add(&c->listed, &name, 0) < 0 ? cs_fail_memory(err) : 0;
}

/* A pack that cannot be loaded, because of ${rc} and ${err}: is it gone, broken, or unreadable?
 * Returns ${rc}, or the failure to find out. */
static int add_bad_pack(struct check *c, const struct cs_name *pack, int rc, struct cs_error *err)
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

static int check_pack(struct check *c, const struct cs_state_pack *which, bool read,
                      struct cs_error *err)
{
    struct cs_pack pack;
    char name[64];
    cs_pack_file(name, &which->id);
    int rc = cs_pack_load(&pack, c->store, &which->id, err);
    if (rc < 0 && is_condemned(c, CS_FILE_PACK, &which->id))
        return 0;
    if (rc < 0)
        return tolerate(c, add_bad_pack(c, &which->id, rc, err), err);
    if (pack.size != which->size || pack.header.class != which->class) {
        rc = cs_fail(err, CS_CORRUPT,
                     "%s: has %" PRIu64 " bytes of class %d, the log says %" PRIu64 " of class %d",
                     name, pack.size, pack.header.class, which->size, which->class);
        rc = tolerate(c, add_bad_pack(c, &which->id, rc, err), err);
    }
    if (rc == 0)
        rc = check_entries(c, &pack, err);
    if (rc == 0 && read)
        rc = check_frames(c, &pack, err);
    c->result->packs_checked++;
    cs_pack_clear(&pack);
    return rc;
}

static int check_packs(struct check *c, struct cs_error *err)
{
    int rc = choose(c, err);
    uint64_t before = c->result->errors;
    for (size_t i = 0; i < c->state.pack_count; i++)
        c->bytes_total += c->state.packs[i].size;
    for (size_t i = 0; rc == 0 && i < c->state.pack_count; i++) {
        rc = check_pack(c, &c->state.packs[i], c->chosen[i], err);
        c->bytes_done += c->state.packs[i].size;
        if (c->options->progress != NULL)
            c->options->progress(c->options->arg, c->bytes_done, c->bytes_total);
        if (rc == 0)
            rc = cs_store_cancelled(c->store, err);
    }
    if (rc == 0)
        conclude(c, c->result->errors == before);
    return rc;
}

static void clear(struct check *c)
{
    for (size_t i = 0; i < c->segment_count; i++) {
        cs_segment_clear(&c->segments[i]);
        free(c->expected[i]);
    }
    free(c->segments);
    free(c->expected);
    free(c->chosen);
    cs_state_clear(&c->state);
    c->segments = NULL;
    c->expected = NULL;
    c->chosen = NULL;
    c->segment_count = 0;
}

static void no_report(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* The log, and the segments that it names. While a prune goes on, that may take several looks. */
static int load(struct check *c, struct cs_error *err)
{
    int rc;
    bool overtaken;
    void (*tell)(void *arg, const char *message) = report;
    do {
        clear(c);
        c->damage->segment_count = 0;
        overtaken = false;
        rc = cs_log_verify(c->store, &c->state, tell, c, err);
        if (rc < 0)
            rc = tolerate(c, rc, err);
        if (rc == 0)
            rc = load_segments(c, &overtaken, err);
        tell = no_report; /* what is wrong with the log was said */
    } while (rc == 0 && overtaken);
    return rc;
}

int cs_check(struct cs_store *store, const struct cs_check_options *options,
             struct cs_check_result *result, struct cs_error *err)
{
    struct cs_damage unasked = {0};
    struct check c = {
        .store = store,
        .options = options,
        .result = result,
        .damage = options->damage != NULL ? options->damage : &unasked,
    };
    struct cs_error e = {0};
    *result = (struct cs_check_result){0};
    int rc = check_config(&c, &e);
    if (rc == 0)
        rc = load(&c, &e);
    if (rc == 0 && store->rollback != NULL)
        report(&c, store->rollback);
    if (rc == 0)
        rc = cs_check_keys(store, &c.state, tolerate, &c, &e);
    if (rc == 0)
        rc = check_packs(&c, &e);
    clear(&c);
    cs_names_clear(&c.listed);
    cs_damage_sort(c.damage);
    cs_damage_clear(&unasked);
    return rc < 0 ? cs_fail(err, rc, "%s", e.message) : 0;
}
