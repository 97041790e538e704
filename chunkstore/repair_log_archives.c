/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Archives whose log entries are lost: the record of each is an object in some
 * pack, and what a record means is the caller's to say. Also what is sure to
 * have been ended by lost entries.
 */
#include <stdlib.h>
#include <string.h>

#include "pack_read.h"
#include "repair_log.h"
#include "state_parts.h"

/* ---- reading as if the repair were done ---- */

struct before { /* of the store */
    struct cs_state state;
    struct cs_log_position position;
};

static struct before enter(struct cs_log_repair *r)
{
    struct before before = {r->store->state, r->store->position};
    r->store->state = r->state;
    r->store->position.next = r->last + 1; /* nothing of the damaged log is read on from here */
    return before;
}

static void leave(struct cs_log_repair *r, const struct before *before)
{
    r->state = r->store->state;
    r->store->state = before->state;
    r->store->position = before->position;
}

/* ---- ids that entries name, as archives that were there or were forgotten ---- */

struct ids {
    struct cs_id *at;
    size_t count;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, CS_ID_SIZE);
}

static int add_id(struct ids *ids, const void *id)
{
    struct cs_id *slot = CS_STATE_GROW(ids->at, ids->count);
    if (slot == NULL)
        return CS_NO_MEMORY;
    memcpy(slot, id, sizeof *slot);
    return 0;
}

static bool has_id(const struct ids *ids, const struct cs_id *id)
{
    return ids->count > 0 && bsearch(id, ids->at, ids->count, sizeof *ids->at, compare_ids) != NULL;
}

static int add_stated(struct ids *ids, const struct cs_log_entry *e)
{
    struct cs_state state = {0};
    int rc = cs_state_load_checkpoint(&state, e->head.number, e->payload, e->payload_len, NULL);
    for (size_t i = 0; rc == 0 && i < state.archive_count; i++)
        rc = add_id(ids, &state.archives[i]->id);
    cs_state_clear(&state);
    return rc == CS_CORRUPT ? 0 : rc;
}

static int add_named(struct ids *ids, const struct cs_log_entry *e)
{
    struct cs_reader r = cs_reader_of(e->payload, e->payload_len);
    uint16_t type = cs_get_u16(&r);
    cs_get_bytes(&r, CS_PAYLOAD_HEAD - 2);
    uint32_t n = 0;
    if (type == CS_ENTRY_ARCHIVE) {
        struct cs_state added = {0};
        int rc = cs_state_get_packs(&r, &added);
        if (rc == 0)
            rc = cs_state_get_segments(&r, &added);
        cs_state_clear(&added);
        if (rc < 0)
            return rc;
        n = 1;
    } else if (type == CS_ENTRY_FORGET) {
        n = cs_get_count32(&r, CS_ID_SIZE);
    }
    const uint8_t *at = cs_get_bytes(&r, (size_t)n * CS_ID_SIZE);
    for (uint32_t i = 0; at != NULL && i < n; i++)
        if (add_id(ids, at + (size_t)i * CS_ID_SIZE) < 0)
            return CS_NO_MEMORY;
    return 0;
}

/* Of every entry that can be read, also of those that no longer count. */
static int find_named(const struct cs_log_repair *r, struct ids *ids, struct cs_error *err)
{
    int rc = 0;
    for (uint64_t number = 0; rc == 0 && number <= r->last; number++) {
        struct cs_log_entry e;
        rc = cs_log_entry_read(r->store, &e, number, NULL);
        if (rc == CS_NO_MEMORY)
            break;
        if (rc < 0) {
            rc = 0;
            continue;
        }
        const struct cs_state_key *key = cs_state_key(&r->state, &e.head.signer);
        uint16_t type = cs_log_entry_type(&e);
        if (key != NULL && cs_state_may(key->role, type) &&
            cs_log_entry_signed_by(r->store, &e, key->sign_public))
            rc =
                key->role == CS_ROLE_FULL && (type == CS_ENTRY_CHECKPOINT || type == CS_ENTRY_RESET)
                    ? add_stated(ids, &e)
                    : add_named(ids, &e);
        cs_log_entry_clear(&e);
        if (rc == 0)
            rc = cs_store_cancelled(r->store, err);
    }
    if (rc == CS_NO_MEMORY)
        return cs_fail_memory(err);
    if (rc == 0 && ids->count > 1)
        qsort(ids->at, ids->count, sizeof *ids->at, compare_ids);
    return rc;
}

/* ---- records that none of them names ---- */

/* A number that stands for the lost entry: by it archives are ordered. */
static uint64_t entry_for(const struct cs_log_repair *r, int64_t time)
{
    uint64_t after = 0;
    for (size_t i = 0; i < r->state.archive_count; i++)
        if (r->state.archives[i]->time < time && r->state.archives[i]->entry > after)
            after = r->state.archives[i]->entry;
    for (size_t i = 0; i < r->number_count; i++)
        if (r->numbers[i] > after)
            return r->numbers[i];
    return r->numbers[r->number_count - 1];
}

static int add_archive(struct cs_log_repair *r, struct cs_archive *archive)
{
    struct cs_archive **slot = CS_STATE_GROW(r->state.archives, r->state.archive_count);
    if (slot == NULL)
        return CS_NO_MEMORY;
    size_t at = r->state.archive_count - 1;
    for (; at > 0 && r->state.archives[at - 1]->entry > archive->entry; at--)
        r->state.archives[at] = r->state.archives[at - 1];
    r->state.archives[at] = archive;
    return 0;
}

/* Sets ${*is} to whether ${bytes} have the id that the trailer says. */
static int is_object(const struct cs_log_repair *r, const struct cs_object *o, const uint8_t *bytes,
                     bool *is, struct cs_error *err)
{
    struct cs_id id;
    int rc = cs_object_id(r->store, CS_META, o->type, bytes, o->length, &id, err);
    *is = rc == 0 && memcmp(&id, &o->id, sizeof id) == 0;
    return rc;
}

static bool is_text(const char *text)
{
    return text != NULL && strlen(text) <= UINT16_MAX;
}

static bool can_be_stated(const struct cs_archive *archive)
{
    bool can = is_text(archive->name) && is_text(archive->host) &&
               archive->tag_count <= CS_TAGS_MAX && archive->summary_len <= CS_META_OBJECT_MAX;
    for (size_t i = 0; can && i < archive->tag_count; i++)
        can = is_text(archive->tags[i]);
    return can;
}

static int take_record(struct cs_log_repair *r, const struct cs_id *id, const void *record,
                       size_t len, struct cs_error *err)
{
    char hex[CS_ID_HEX];
    struct cs_error why = {0};
    struct cs_state holder = {0};
    struct cs_archive *archive = cs_state_new_archive(&holder);
    if (archive == NULL)
        return cs_fail_memory(err);
    archive->id = *id;
    int rc = r->options->describe(r->options->arg, record, len, archive, &why);
    if (rc == 0 && !can_be_stated(archive))
        rc = cs_fail(&why, CS_CORRUPT, "it has no name, or too long a one");
    if (rc == 0) {
        archive->entry = entry_for(r, archive->time);
        rc = add_archive(r, archive);
    }
    if (rc == 0) {
        holder.archive_count = 0;
        cs_log_repair_say(r,
                          "archive %.16s (%s) is back: its log entry is lost; it may have been "
                          "forgotten before",
                          cs_id_hex(id, hex), archive->name);
    }
    cs_state_clear(&holder);
    if (rc == CS_CORRUPT) {
        cs_log_repair_say(r, "the archive record %.16s cannot be read: %s", cs_id_hex(id, hex),
                          why.message);
        rc = 0;
    }
    return rc == CS_NO_MEMORY ? cs_fail_memory(err)
           : rc < 0           ? cs_fail(err, rc, "%s", why.message)
                              : 0;
}

static bool is_record(const struct cs_object *o)
{
    return (o->type & ~CS_LIST) == CS_ARCHIVE_RECORD;
}

static int take_large_record(struct cs_log_repair *r, const struct cs_id *id, struct cs_error *err)
{
    char hex[CS_ID_HEX];
    void *data = NULL;
    size_t len = 0;
    struct cs_error why;
    struct before before = enter(r);
    int rc = cs_index_refresh(r->store, &why);
    if (rc == 0)
        rc = cs_read_object(r->store, CS_ARCHIVE_RECORD, id, &data, &len, &why);
    leave(r, &before);
    if (rc == CS_CORRUPT || rc == CS_IO) {
        cs_log_repair_say(r, "the archive record %.16s cannot be read: %s", cs_id_hex(id, hex),
                          why.message);
        return 0;
    }
    if (rc < 0)
        return cs_fail(err, rc, "%s", why.message);
    rc = take_record(r, id, data, len, err);
    free(data);
    return rc;
}

/* The records in one frame that no entry names. */
static int take_frame(struct cs_log_repair *r, const struct cs_pack *pack, uint32_t n,
                      const struct ids *named, struct cs_error *err)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    uint8_t *sealed = NULL, *plain = NULL;
    size_t at = 0;
    int rc = 0;
    struct cs_error why;
    for (uint32_t i = 0; rc == 0 && i < f->objects; i++) {
        const struct cs_object *o = &pack->trailer.objects[f->first + i];
        size_t begin = at;
        at += o->length;
        if (!is_record(o) || has_id(named, &o->id) ||
            cs_state_archive(&r->state, &o->id) < r->state.archive_count)
            continue;
        if (plain == NULL) {
            sealed = malloc(f->stored);
            plain = malloc(f->plain);
            if (sealed == NULL || plain == NULL) {
                rc = cs_fail_memory(err);
                break;
            }
            rc = cs_pack_read_frame(r->store, pack, n, sealed, &why);
            if (rc == 0)
                rc = cs_pack_open_frame(r->store, pack, n, sealed, plain, &why);
            if (cs_log_repair_is_damage(rc, &why)) {
                cs_log_repair_say(r, "an archive record cannot be read: %s", why.message);
                rc = 0;
                break;
            }
            if (rc < 0) {
                rc = cs_fail(err, rc, "%s", why.message);
                break;
            }
        }
        bool sound = false;
        rc = is_object(r, o, plain + begin, &sound, err);
        if (!sound)
            continue;
        rc = o->type & CS_LIST ? take_large_record(r, &o->id, err)
                               : take_record(r, &o->id, plain + begin, o->length, err);
    }
    free(sealed);
    free(plain);
    return rc;
}

int cs_log_repair_archives(struct cs_log_repair *r, struct cs_error *err)
{
    struct ids named = {0};
    int rc = r->options->describe != NULL ? find_named(r, &named, err) : 0;
    for (size_t i = 0; rc == 0 && r->options->describe != NULL && i < r->state.pack_count; i++) {
        struct cs_pack pack;
        if (r->state.packs[i].class != CS_META ||
            cs_pack_load(&pack, r->store, &r->state.packs[i].id, NULL) < 0)
            continue;
        for (uint32_t n = 0; rc == 0 && n < pack.trailer.frame_count; n++)
            rc = take_frame(r, &pack, n, &named, err);
        cs_pack_clear(&pack);
        if (rc == 0)
            rc = cs_store_cancelled(r->store, err);
    }
    free(named.at);
    return rc;
}

/* ---- what lost entries have ended ---- */

/* Live archives that are not whole, in a repository as ${r->state} says. ${*unreadable}: something
 * that is there could not be read, so that nothing is sure. */
static int find_damaged(struct cs_log_repair *r, struct ids *damaged, bool *unreadable,
                        struct cs_error *err)
{
    struct cs_store *store = r->store;
    struct cs_error why;
    struct before before = enter(r);
    cs_names_clear(&store->unreadable);
    int rc = cs_index_refresh(store, &why);
    *unreadable = rc < 0;
    if (rc == 0)
        rc = r->options->damaged(r->options->arg, &damaged->at, &damaged->count, &why);
    *unreadable |= store->unreadable.count > 0;
    leave(r, &before);
    if (cs_log_repair_is_damage(rc, &why))
        return 0; /* the index cannot be read: the check will tell */
    return rc < 0 ? cs_fail(err, rc, "%s", why.message) : 0;
}

static int forget(struct cs_log_repair *r, const struct ids *ids, struct cs_error *err)
{
    struct cs_buf payload = {0};
    char hex[CS_ID_HEX];
    cs_entry_begin(&payload, CS_ENTRY_FORGET, 0);
    cs_put_u32(&payload, (uint32_t)ids->count);
    for (size_t i = 0; i < ids->count; i++) {
        size_t at = cs_state_archive(&r->state, &ids->at[i]);
        cs_put_bytes(&payload, &ids->at[i], sizeof ids->at[i]);
        if (at < r->state.archive_count)
            cs_log_repair_say(r,
                              "archive %.16s (%s) was forgotten by a lost entry: a prune has freed "
                              "what it needs",
                              cs_id_hex(&ids->at[i], hex), r->state.archives[at]->name);
    }
    int rc = payload.failed
                 ? cs_fail_memory(err)
                 : cs_state_apply(&r->state, r->last + 1, payload.data, payload.len, err);
    cs_buf_clear(&payload);
    return rc;
}

static int drop_packs(struct cs_log_repair *r, const struct cs_names *missing)
{
    struct cs_state *state = &r->state;
    size_t packs = 0, lost = 0;
    for (size_t i = 0; i < state->pack_count; i++)
        if (!cs_names_find(missing, &state->packs[i].id, NULL))
            state->packs[packs++] = state->packs[i];
    for (size_t i = 0; i < state->lost_count; i++)
        if (!cs_names_find(missing, &state->lost[i].pack, NULL))
            state->lost[lost++] = state->lost[i];
    state->pack_count = packs;
    state->lost_count = lost;
    free(state->sorted_lost);
    state->sorted_lost = NULL;
    return cs_state_make_names(state);
}

static int find_missing(const struct cs_log_repair *r, struct cs_names *missing,
                        struct cs_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->state.pack_count; i++) {
        char name[64];
        uint64_t size;
        cs_pack_file(name, &r->state.packs[i].id);
        rc = r->store->backend->ops->size(r->store->backend, name, &size, err);
        if (rc == CS_NOT_FOUND)
            rc = cs_names_add(missing, &r->state.packs[i].id, 0) < 0 ? cs_fail_memory(err) : 0;
    }
    return rc;
}

/* Packs that are gone and that no archive needs were condemned by a lost entry. */
static int drop_missing(struct cs_log_repair *r, const struct cs_names *missing,
                        const struct ids *damaged, struct cs_error *err)
{
    struct ids without = {0};
    bool unreadable = false;
    struct cs_buf kept = {0};
    cs_entry_begin(&kept, CS_ENTRY_CHECKPOINT, 0);
    cs_entry_put_checkpoint(&kept, &r->state);
    int rc = kept.failed || drop_packs(r, missing) < 0 ? cs_fail_memory(err) : 0;
    if (rc == 0)
        rc = find_damaged(r, &without, &unreadable, err);
    if (rc == 0 && (without.count > damaged->count || unreadable)) {
        rc = cs_state_load_checkpoint(&r->state, r->last, kept.data, kept.len, err);
        cs_log_repair_say(r,
                          "%zu packs are missing that archives need, or may need; forget what "
                          "check finds damaged, if a lost entry may have done so",
                          missing->count);
    } else if (rc == 0) {
        cs_log_repair_say(r, "%zu packs are gone that no archive needs, and count no longer",
                          missing->count);
    }
    cs_buf_clear(&kept);
    free(without.at);
    return rc;
}

/*
 * A prune frees only what no archive needs, and gives up where one lacks something: so whoever is
 * not whole, once a prune came behind what is lost, was forgotten before. But only where everything
 * that is there can be read: else it may be some other damage.
 */
int cs_log_repair_ended(struct cs_log_repair *r, struct cs_error *err)
{
    struct cs_names missing = {0};
    struct ids damaged = {0};
    bool unreadable = false;
    int rc = r->options->damaged != NULL ? find_missing(r, &missing, err) : 0;
    if (r->options->damaged == NULL || (rc == 0 && !r->freed && missing.count == 0))
        goto out;
    if (rc == 0)
        rc = find_damaged(r, &damaged, &unreadable, err);
    if (rc == 0 && r->freed && !unreadable && damaged.count > 0) {
        rc = forget(r, &damaged, err);
        damaged.count = 0;
    }
    if (rc == 0 && missing.count > 0)
        rc = drop_missing(r, &missing, &damaged, err);
out:
    cs_names_clear(&missing);
    free(damaged.at);
    return rc;
}
