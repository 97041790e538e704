/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding a repository against its format: config, log, segments; packs are
 * check_packs.c's, slots and keyrings check_keys.c's. One damage does not hide
 * the next.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "check_keys.h"
#include "damage.h"
#include "log.h"

void cs_check_report(void *arg, const char *message)
{
    struct cs_check *c = arg;
    c->result->errors++;
    c->options->report(c->options->arg, message);
}

int cs_check_tolerate(void *arg, int rc, struct cs_error *err)
{
    struct cs_check *c = arg;
    if (rc != CS_CORRUPT && rc != CS_NOT_FOUND && rc != CS_UNSUPPORTED && rc != CS_IO)
        return rc;
    cs_check_report(c, err->message);
    return 0;
}

static int check_config(struct cs_check *c, struct cs_error *err)
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
    return cs_check_tolerate(c, rc, err);
}

/* ---- segments ---- */

bool cs_check_is_condemned(struct cs_check *c, enum cs_file_kind kind, const struct cs_name *name)
{
    return cs_log_catch_up(c->store, NULL) == 0 && cs_state_condemned(&c->store->state, kind, name);
}

int cs_check_add_segment(struct cs_check *c, const struct cs_name *name, struct cs_error *err)
{
    return cs_damage_add_name(&c->damage->segments, &c->damage->segment_count, name, err);
}

/* ${*overtaken}: a prune has put other segments in the place of these. */
static int load_segments(struct cs_check *c, bool *overtaken, struct cs_error *err)
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
        *overtaken = rc < 0 && cs_check_is_condemned(c, CS_FILE_SEGMENT, &c->state.segments[i].id);
        if (*overtaken)
            return 0;
        if (rc < 0) {
            rc = cs_check_tolerate(c, rc, err);
            if (rc == 0)
                rc = cs_check_add_segment(c, &c->state.segments[i].id, err);
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

static void clear(struct cs_check *c)
{
    for (size_t i = 0; i < c->segment_count; i++) {
        cs_segment_clear(&c->segments[i]);
        free(c->expected[i]);
    }
    free(c->segments);
    free(c->expected);
    cs_state_clear(&c->state);
    c->segments = NULL;
    c->expected = NULL;
    c->segment_count = 0;
}

static void no_report(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* The log, and the segments that it names. While a prune goes on, that may take several looks. */
static int load(struct cs_check *c, struct cs_error *err)
{
    int rc;
    bool overtaken;
    void (*tell)(void *arg, const char *message) = cs_check_report;
    do {
        clear(c);
        c->damage->segment_count = 0;
        overtaken = false;
        rc = cs_log_verify(c->store, &c->state, tell, c, err);
        if (rc < 0)
            rc = cs_check_tolerate(c, rc, err);
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
    struct cs_check c = {
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
        cs_check_report(&c, store->rollback);
    if (rc == 0)
        rc = cs_check_keys(store, &c.state, cs_check_tolerate, &c, &e);
    if (rc == 0)
        rc = cs_check_packs(&c, &e);
    clear(&c);
    cs_names_clear(&c.listed);
    cs_damage_sort(c.damage);
    cs_damage_clear(&unasked);
    return rc < 0 ? cs_fail(err, rc, "%s", e.message) : 0;
}
