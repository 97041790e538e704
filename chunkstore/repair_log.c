/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repairing the log: folds the sound beginning, then whatever can still be read
 * behind the damage, and states the outcome in one reset entry behind the last.
 * Nothing is deleted or overwritten. What the folders tell beside the log is
 * repair_log_files.c's and repair_log_archives.c's.
 */
#include "repair_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "head.h"
#include "index.h"
#include "state_parts.h"

enum { TRIES = 3 }; /* where others write meanwhile */

void cs_log_repair_say(const struct cs_log_repair *r, const char *fmt, ...)
{
    char message[1200];
    va_list args;
    if (r->options->report == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    r->options->report(r->options->arg, message);
}

bool cs_log_repair_is_damage(int rc, const struct cs_error *err)
{
    return rc == CS_CORRUPT || rc == CS_NOT_FOUND || (rc == CS_IO && err->sys == EIO);
}

const char *cs_log_damage(const struct cs_store *store)
{
    return store->damage;
}

int cs_log_repair_load(struct cs_store *store, bool even_damaged, struct cs_error *err)
{
    struct cs_error why;
    int rc = cs_log_load(store, &why);
    if (rc == 0)
        return 0;
    if (!even_damaged || !cs_log_repair_is_damage(rc, &why)) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    store->damage = strdup(why.message);
    return store->damage != NULL ? 0 : cs_fail_memory(err);
}

/* ---- entries behind the damage ---- */

static int lose(struct cs_log_repair *r, uint64_t number)
{
    uint64_t *slot = CS_STATE_GROW(r->numbers, r->number_count);
    if (slot == NULL)
        return CS_NO_MEMORY;
    *slot = number;
    r->lost = true;
    return 0;
}

struct search {
    uint16_t epoch;
    bool found;
};

static int see_keyring(void *arg, const char *name, struct cs_error *err)
{
    struct search *s = arg;
    char ending[8];
    (void)err;
    snprintf(ending, sizeof ending, ".%04x", s->epoch);
    s->found |= strlen(name) == 37 && strcmp(name + 32, ending) == 0;
    return 0;
}

/* An entry of an epoch that others have keyrings of is not damaged because we cannot open it. */
static int require_keyring(struct cs_log_repair *r, uint64_t number, struct cs_error *err)
{
    struct cs_log_head head;
    const struct cs_epoch *keys = NULL;
    struct cs_error why;
    struct cs_backend *backend = r->store->backend;
    if (cs_log_head_read(r->store, number, &head, NULL) < 0)
        return 0;
    int rc = cs_store_epoch(r->store, head.epoch, &keys, &why);
    if (rc == 0)
        return 0;
    struct search search = {.epoch = head.epoch};
    int listed = backend->ops->list(backend, "keys", see_keyring, &search, err);
    if (listed < 0 || !search.found)
        return listed;
    return cs_fail(err, rc, "%s: the log cannot be repaired with this key", why.message);
}

int cs_log_repair_epochs(struct cs_log_repair *r, uint16_t last)
{
    while (r->state.epoch_count <= last) {
        uint16_t epoch = (uint16_t)r->state.epoch_count;
        const struct cs_epoch *keys = NULL;
        int rc = cs_store_epoch(r->store, epoch, &keys, NULL);
        if (rc < 0)
            return rc == CS_NO_MEMORY ? rc : CS_CORRUPT;
        const struct cs_state_key *issuer = cs_state_key(&r->state, &keys->keyring.issuer);
        if (!cs_state_may_issue(issuer, epoch) ||
            !cs_keyring_verify(keys->raw, &r->store->config.repository_id, issuer->sign_public))
            return CS_CORRUPT;
        uint8_t(*slot)[CS_KEY_SIZE] = CS_STATE_GROW(r->state.epochs, r->state.epoch_count);
        if (slot == NULL)
            return CS_NO_MEMORY;
        memcpy(slot, keys->keyring.data_public, CS_KEY_SIZE);
        cs_log_repair_say(r, "key epoch %u was begun by an entry that is lost", epoch);
    }
    return 0;
}

/* Whether the whole state is said by ${e}, of a full key: then it is taken. */
static int take_statement(struct cs_log_repair *r, const struct cs_log_entry *e)
{
    struct cs_state state = {0};
    int rc = cs_state_load_checkpoint(&state, e->head.number, e->payload, e->payload_len, NULL);
    if (rc == 0 && state.epoch_count != e->head.epoch + 1U)
        rc = CS_CORRUPT;
    if (rc < 0) {
        cs_state_clear(&state);
        return rc;
    }
    cs_state_clear(&r->state);
    r->state = state;
    if (r->lost)
        cs_log_repair_say(r, "entry %" PRIu64 " of the log says again what was lost before it",
                          e->head.number);
    r->lost = r->freed = false;
    r->number_count = 0;
    return 0;
}

/* Why ${e} cannot be taken; NULL: it was, or it changes nothing. */
static const char *apply(struct cs_log_repair *r, const struct cs_log_entry *e, int *rc,
                         struct cs_error *err)
{
    const struct cs_state_key *key = cs_state_key(&r->state, &e->head.signer);
    uint16_t type = cs_log_entry_type(e);
    *rc = 0;
    if (key == NULL || !cs_log_entry_signed_by(r->store, e, key->sign_public))
        return "is not signed by a key that is known";
    bool full = key->role == CS_ROLE_FULL;
    if (!cs_log_entry_counts(&r->state, e))
        return NULL;
    if (full && (type == CS_ENTRY_CHECKPOINT || type == CS_ENTRY_RESET)) {
        *rc = take_statement(r, e);
        if (*rc != CS_CORRUPT)
            return NULL;
        *rc = 0;
        return "states what cannot be";
    }
    *rc = cs_log_repair_epochs(r, e->head.epoch);
    if (*rc == CS_NO_MEMORY)
        return NULL;
    if (*rc < 0 || e->head.epoch + 1U != r->state.epoch_count) {
        *rc = 0;
        return "is of a key epoch out of its turn";
    }
    *rc = cs_state_apply(&r->state, e->head.number, e->payload, e->payload_len, err);
    if (*rc == 0 && type == CS_ENTRY_CONDEMN)
        r->freed |= r->lost;
    if (*rc != CS_CORRUPT)
        return NULL;
    *rc = 0;
    return full ? "does not go with what is left before it" : NULL;
}

/* One that could not be read, because of ${why}. */
static int pass_over(struct cs_log_repair *r, uint64_t number, int why_code,
                     const struct cs_error *why, struct cs_error *err)
{
    int rc = require_keyring(r, number, err);
    if (rc < 0)
        return rc;
    if (why_code == CS_NOT_FOUND)
        cs_log_repair_say(r, "log entry %" PRIu64 ": is missing", number);
    else
        cs_log_repair_say(r, "%s", why->message);
    return lose(r, number) < 0 ? cs_fail_memory(err) : 0;
}

static int replay(struct cs_log_repair *r, struct cs_error *err)
{
    uint8_t before[CS_HASH_SIZE];
    bool known = true; /* the hash of the entry before */
    memcpy(before, r->pos.head, sizeof before);
    for (uint64_t number = r->pos.next; number <= r->last; number++) {
        struct cs_log_entry e;
        struct cs_error why;
        int rc = cs_log_entry_read(r->store, &e, number, &why);
        if (rc < 0 && !cs_log_repair_is_damage(rc, &why))
            return cs_fail(err, rc, "%s", why.message);
        if (rc < 0) {
            rc = pass_over(r, number, rc, &why, err);
            if (rc < 0)
                return rc;
            known = false;
            continue;
        }
        bool follows =
            e.head.reset || !known || memcmp(e.head.previous, before, sizeof before) == 0;
        cs_hash(before, e.data, e.len);
        known = true;
        if (!follows) {
            cs_log_repair_say(r, "log entry %" PRIu64 " does not follow the one before it", number);
            rc = lose(r, number > r->pos.next ? number - 1 : number);
        }
        const char *problem = rc == 0 ? apply(r, &e, &rc, &why) : NULL;
        cs_log_entry_clear(&e);
        if (problem != NULL) {
            cs_log_repair_say(r, "log entry %" PRIu64 " %s; it is passed over", number, problem);
            rc = lose(r, number);
        }
        if (rc == CS_NO_MEMORY)
            return cs_fail_memory(err);
        if (rc < 0)
            return cs_fail(err, rc, "%s", why.message);
        rc = cs_store_cancelled(r->store, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the whole repair ---- */

static int may_repair(const struct cs_log_repair *r, struct cs_error *err)
{
    const struct cs_store *store = r->store;
    const struct cs_state_key *key = cs_state_key(&r->state, &store->identity.slot);
    if (r->pos.next == 0)
        return cs_fail(err, CS_CORRUPT,
                       "log entry 0 cannot be read: every key slot pins its hash, so that only a "
                       "copy of this very file can take its place");
    if (key == NULL)
        return cs_fail(err, CS_AUTH,
                       "the log is damaged at entry %" PRIu64 ", before the entry that added this "
                       "key: repair it with an older key of role full, as the first one or the "
                       "recovery code",
                       r->pos.next);
    if (key->removed)
        return cs_fail(err, CS_AUTH, "the key in use has been removed from the repository");
    if (key->role != CS_ROLE_FULL)
        return cs_fail(err, CS_AUTH,
                       "a key of role %s cannot repair the log; a key of role full is needed",
                       cs_role_name(key->role));
    if (store->rollback != NULL)
        return cs_fail(err, CS_CORRUPT, "%s; nothing is written to it", store->rollback);
    if (store->config.write_features != 0 || r->state.unknown_entry != 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "the repository is of a newer program; only that one may repair its log");
    return 0;
}

/* Folds the beginning. ${*damaged}: it ends before the log does. */
static int fold_beginning(struct cs_log_repair *r, bool *damaged, struct cs_error *err)
{
    struct cs_error why;
    int rc = cs_log_find_head(r->store, &r->last, err);
    if (rc < 0)
        return rc;
    struct cs_fold_options options = {.last = r->last, .whole = true, .tolerant = true};
    rc = cs_log_fold_path(r->store, &options, &r->state, &r->pos, &why);
    *damaged = cs_log_repair_is_damage(rc, &why);
    if (rc < 0 && !*damaged)
        return cs_fail(err, rc, "%s", why.message);
    return *damaged ? require_keyring(r, r->pos.next, err) : 0;
}

static int sync_all(const struct cs_log_repair *r, struct cs_error *err)
{
    static const char *const folders[] = {"keys", "packs", "segments", "log"};
    const struct cs_backend_ops *ops = r->store->backend->ops;
    char folder[64];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof folders / sizeof *folders; i++)
        rc = ops->sync(r->store->backend, folders[i], err);
    cs_entry_folder(folder, r->pos.next - 1);
    if (rc == 0)
        rc = ops->sync(r->store->backend, folder, err);
    cs_entry_folder(folder, r->last);
    return rc == 0 ? ops->sync(r->store->backend, folder, err) : rc;
}

/* CS_EXISTS: somebody else has written an entry meanwhile. */
static int write_reset(struct cs_log_repair *r, struct cs_error *err)
{
    struct cs_buf payload = {0}, entry = {0};
    struct cs_state read_back = {0};
    struct cs_log_head head = {
        .epoch = (uint16_t)(r->state.epoch_count - 1),
        .number = r->last + 1,
        .checkpoint = r->pos.last_checkpoint,
        .reset = true,
        .signer = r->store->identity.slot,
    };
    char name[64], folder[64];
    memcpy(head.previous, r->pos.head, CS_HASH_SIZE);
    cs_entry_begin(&payload, CS_ENTRY_RESET, (int64_t)time(NULL));
    cs_put_u64(&payload, r->pos.next);
    cs_entry_put_checkpoint(&payload, &r->state);
    int rc = payload.failed ? cs_fail_memory(err) : 0;
    if (rc == 0 && cs_entry_size(payload.len) > CS_ENTRY_MAX)
        rc = cs_fail(err, CS_UNSUPPORTED, "a log entry of %zu bytes is too large", payload.len);
    if (rc == 0) /* what nobody could read must not become durable */
        rc = cs_state_load_checkpoint(&read_back, head.number, payload.data, payload.len, err);
    cs_state_clear(&read_back);
    head.sealed = (uint32_t)(payload.len + CS_SEAL_OVERHEAD);
    if (rc == 0)
        rc = cs_log_entry_build(r->store, &head, &payload, &entry, err);
    if (rc == 0)
        rc = sync_all(r, err);
    cs_entry_file(name, head.number);
    cs_entry_folder(folder, head.number);
    if (rc == 0)
        rc = cs_backend_put(r->store->backend, name, entry.data, entry.len, false, err);
    if (rc == 0)
        rc = r->store->backend->ops->sync(r->store->backend, folder, err);
    if (rc == 0)
        rc = r->store->backend->ops->sync(r->store->backend, "log", err);
    cs_buf_clear(&payload);
    cs_buf_clear(&entry);
    return rc;
}

static int repair_once(struct cs_log_repair *r, bool *written, struct cs_error *err)
{
    bool damaged = false;
    int rc = fold_beginning(r, &damaged, err);
    if (rc < 0 || !damaged)
        return rc;
    rc = may_repair(r, err);
    if (rc < 0)
        return rc;
    cs_log_repair_say(r, "the log is damaged at entry %" PRIu64 "; it goes on to entry %" PRIu64,
                      r->pos.next, r->last);
    rc = replay(r, err);
    if (rc == 0 && r->lost) {
        rc = cs_log_repair_keys(r, err);
        if (rc == 0)
            rc = cs_log_repair_files(r, err);
        if (rc == 0)
            rc = cs_log_repair_archives(r, err);
        if (rc == 0)
            rc = cs_log_repair_ended(r, err);
    }
    if (rc == 0) { /* it may be gone, or removed, by what comes behind the damage */
        const struct cs_state_key *own = cs_state_key(&r->state, &r->store->identity.slot);
        if (own == NULL || own->removed || r->state.unknown_entry != 0)
            rc = may_repair(r, err);
    }
    if (rc < 0)
        return rc;
    if (r->lost)
        cs_log_repair_say(r, "what else the lost entries said is not known: archives may be back "
                             "that had been forgotten, and tags be gone; keys that they added or "
                             "removed are not known either: run byre key list, and remove what "
                             "does not belong there");
    else
        cs_log_repair_say(r, "nothing that the log said is lost");
    cs_log_repair_say(r,
                      "entry %" PRIu64 " will state the repository as it is now: %zu archives, "
                      "%zu packs, %zu keys",
                      r->last + 1, r->state.archive_count, r->state.pack_count, r->state.key_count);
    rc = write_reset(r, err);
    *written = rc == 0;
    return rc;
}

/* The store as the log has it now, with nothing left of before. */
static int load_anew(struct cs_store *store, struct cs_error *err)
{
    cs_index_free(store->index);
    store->index = NULL;
    cs_state_clear(&store->state);
    store->position = (struct cs_log_position){0};
    int rc = cs_log_load(store, err);
    if (rc < 0)
        return rc;
    free(store->damage);
    store->damage = NULL;
    cs_head_remember(store);
    return 0;
}

int cs_repair_log(struct cs_store *store, const struct cs_repair_log_options *options,
                  bool *written, struct cs_error *err)
{
    bool loaded = store->log_loaded;
    int rc = CS_EXISTS;
    *written = false;
    store->log_loaded = false; /* keyrings are held against the log when it has been repaired */
    for (unsigned n = 0; rc == CS_EXISTS && n < TRIES; n++) {
        struct cs_log_repair r = {.store = store, .options = options};
        rc = repair_once(&r, written, err);
        cs_state_clear(&r.state);
        free(r.numbers);
    }
    if (rc == CS_EXISTS)
        rc = cs_fail(err, CS_CONFLICT, "others write to the log all the time; try again");
    if (rc == 0 && (*written || store->damage != NULL))
        return load_anew(store, err);
    store->log_loaded = loaded;
    return rc;
}
