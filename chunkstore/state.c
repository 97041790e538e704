/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of a repository as the fold over its log. Payloads are parsed whole
 * before anything is changed.
 */
#include "state_parts.h"

#include <stdlib.h>
#include <string.h>

static void key_clear(struct cs_state_key *key)
{
    free(key->label);
}

static void archive_clear(struct cs_archive *archive)
{
    free(archive->name);
    free(archive->host);
    for (size_t i = 0; i < archive->tag_count; i++)
        free(archive->tags[i]);
    free(archive->tags);
    free(archive->summary);
}

void cs_state_clear(struct cs_state *state)
{
    for (size_t i = 0; i < state->key_count; i++)
        key_clear(&state->keys[i]);
    for (size_t i = 0; i < state->archive_count; i++)
        archive_clear(&state->archives[i]);
    free(state->keys);
    free(state->epochs);
    free(state->packs);
    free(state->sorted_packs);
    free(state->segments);
    free(state->archives);
    *state = (struct cs_state){0};
}

const struct cs_state_key *cs_state_key(const struct cs_state *state, const struct cs_name *slot)
{
    for (size_t i = 0; i < state->key_count; i++)
        if (memcmp(&state->keys[i].slot, slot, sizeof *slot) == 0)
            return &state->keys[i];
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct cs_name));
}

int cs_state_pack_live(struct cs_state *state, const struct cs_name *pack, bool *live,
                       struct cs_error *err)
{
    if (state->sorted_count != state->pack_count) {
        struct cs_name *sorted =
            reallocarray(state->sorted_packs, state->pack_count, sizeof *sorted);
        if (sorted == NULL)
            return cs_fail_memory(err);
        for (size_t i = 0; i < state->pack_count; i++)
            sorted[i] = state->packs[i].id;
        qsort(sorted, state->pack_count, sizeof *sorted, compare_names);
        state->sorted_packs = sorted;
        state->sorted_count = state->pack_count;
    }
    *live = state->pack_count > 0 && bsearch(pack, state->sorted_packs, state->sorted_count,
                                             sizeof *pack, compare_names) != NULL;
    return 0;
}

bool cs_state_may_issue(const struct cs_state_key *key, uint16_t epoch)
{
    return key != NULL && key->role == CS_ROLE_FULL && (!key->removed || epoch <= key->last_epoch);
}

bool cs_state_may(enum cs_role role, uint16_t type)
{
    switch (type) {
    case CS_ENTRY_PUBLISH:
    case CS_ENTRY_ARCHIVE:
    case CS_ENTRY_REPLACE:
    case CS_ENTRY_CHECKPOINT:
        return true;
    case 6: /* forget, condemn, tag, hold, lost: reserved, but the rights stand already */
    case 7:
    case 8:
    case 9:
    case 10:
        return role == CS_ROLE_FULL || role == CS_ROLE_BACKUP;
    default:
        return role == CS_ROLE_FULL;
    }
}

/* Grows an array by one zeroed element and returns it; NULL where there is no memory. */
void *cs_state_grow(void **array, size_t *count, size_t size)
{
    size_t n = *count;
    if ((n & (n - 1)) == 0) { /* room ends at the powers of two */
        void *bigger = reallocarray(*array, n > 0 ? 2 * n : 1, size);
        if (bigger == NULL)
            return NULL;
        *array = bigger;
    }
    *count = n + 1;
    return memset((uint8_t *)*array + n * size, 0, size);
}

static void get_pack(struct cs_reader *r, struct cs_state_pack *pack)
{
    cs_get_copy(r, &pack->id, sizeof pack->id);
    pack->size = cs_get_u64(r);
    pack->class = cs_get_u8(r);
    if (pack->class != CS_DATA && pack->class != CS_META)
        r->bad = true;
}

static void get_segment(struct cs_reader *r, struct cs_state_segment *segment)
{
    cs_get_copy(r, &segment->id, sizeof segment->id);
    segment->size = cs_get_u64(r);
    segment->entries = cs_get_u64(r);
}

enum { PACK_BYTES = 25, SEGMENT_BYTES = 32 };

/* Lists of packs and segments, appended to ${state}. */
int cs_state_get_packs(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, PACK_BYTES);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_state_pack *pack = CS_STATE_GROW(state->packs, state->pack_count);
        if (pack == NULL)
            return CS_NO_MEMORY;
        get_pack(r, pack);
    }
    return 0;
}

int cs_state_get_segments(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, SEGMENT_BYTES);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_state_segment *segment = CS_STATE_GROW(state->segments, state->segment_count);
        if (segment == NULL)
            return CS_NO_MEMORY;
        get_segment(r, segment);
    }
    return 0;
}

/* What an archive entry and a checkpoint have in common. */
int cs_state_get_archive_text(struct cs_reader *r, struct cs_archive *archive)
{
    archive->name = cs_get_str16(r);
    archive->host = cs_get_str16(r);
    uint16_t tags = cs_get_count16(r, 2);
    if (tags > 0) {
        archive->tags = calloc(tags, sizeof *archive->tags);
        if (archive->tags == NULL)
            return CS_NO_MEMORY;
    }
    for (uint16_t i = 0; i < tags && !r->bad; i++) {
        archive->tags[i] = cs_get_str16(r);
        archive->tag_count = i + 1U;
    }
    archive->summary_len = cs_get_u32(r);
    const uint8_t *summary = cs_get_bytes(r, archive->summary_len);
    if (summary == NULL) {
        archive->summary_len = 0;
        return 0;
    }
    archive->summary = malloc(archive->summary_len + 1);
    if (archive->summary == NULL)
        return CS_NO_MEMORY;
    memcpy(archive->summary, summary, archive->summary_len);
    archive->summary[archive->summary_len] = 0;
    return 0;
}

/* Moves the packs, segments and archives of ${from} behind those of ${to}. */
static int append(struct cs_state *to, struct cs_state *from)
{
    for (size_t i = 0; i < from->pack_count; i++) {
        struct cs_state_pack *pack = CS_STATE_GROW(to->packs, to->pack_count);
        if (pack == NULL)
            return CS_NO_MEMORY;
        *pack = from->packs[i];
    }
    for (size_t i = 0; i < from->segment_count; i++) {
        struct cs_state_segment *segment = CS_STATE_GROW(to->segments, to->segment_count);
        if (segment == NULL)
            return CS_NO_MEMORY;
        *segment = from->segments[i];
    }
    for (size_t i = 0; i < from->archive_count; i++) {
        struct cs_archive *archive = CS_STATE_GROW(to->archives, to->archive_count);
        if (archive == NULL)
            return CS_NO_MEMORY;
        *archive = from->archives[i];
        from->archives[i] = (struct cs_archive){0};
    }
    return 0;
}

int cs_state_corrupt(struct cs_error *err, uint64_t number, const struct cs_reader *r)
{
    return cs_fail(err, CS_CORRUPT, "log entry %llu: its payload is malformed near %zu",
                   (unsigned long long)number, r->pos);
}

struct additions { /* the body of a publish, archive or replace entry */
    struct cs_state fresh;
    const uint8_t *removed; /* names of segments, end to end */
    uint32_t removed_count;
};

static int parse_additions(struct additions *a, uint64_t number, struct cs_reader *r, uint16_t type,
                           int64_t time, struct cs_error *err)
{
    if (type == CS_ENTRY_REPLACE) {
        a->removed_count = cs_get_count32(r, CS_NAME_SIZE);
        a->removed = cs_get_bytes(r, (size_t)a->removed_count * CS_NAME_SIZE);
    }
    int rc = cs_state_get_packs(r, &a->fresh);
    if (rc == 0)
        rc = cs_state_get_segments(r, &a->fresh);
    if (rc == 0 && type == CS_ENTRY_ARCHIVE) {
        struct cs_archive *archive = CS_STATE_GROW(a->fresh.archives, a->fresh.archive_count);
        if (archive == NULL)
            return cs_fail_memory(err);
        archive->entry = number;
        archive->time = time;
        cs_get_copy(r, &archive->id, sizeof archive->id);
        archive->bytes_stored = cs_get_u64(r);
        rc = cs_state_get_archive_text(r, archive);
    }
    if (rc < 0)
        return cs_fail_memory(err);
    return cs_reader_done(r) ? 0 : cs_state_corrupt(err, number, r);
}

static void remove_segment(struct cs_state *state, const uint8_t *name)
{
    for (size_t k = 0; k < state->segment_count; k++) {
        if (memcmp(&state->segments[k].id, name, CS_NAME_SIZE) != 0)
            continue;
        state->segment_count--;
        memmove(&state->segments[k], &state->segments[k + 1],
                (state->segment_count - k) * sizeof *state->segments);
        return;
    }
}

/* With ${change} false, only parses. */
static int apply_added(struct cs_state *state, uint64_t number, struct cs_reader r, uint16_t type,
                       int64_t time, bool change, struct cs_error *err)
{
    struct additions a = {0};
    int rc = parse_additions(&a, number, &r, type, time, err);
    for (uint32_t i = 0; rc == 0 && change && i < a.removed_count; i++)
        remove_segment(state, a.removed + (size_t)i * CS_NAME_SIZE);
    if (rc == 0 && change && append(state, &a.fresh) < 0)
        rc = cs_fail_memory(err);
    cs_state_clear(&a.fresh);
    return rc;
}

void cs_state_get_key(struct cs_reader *r, struct cs_state_key *key)
{
    cs_get_copy(r, &key->slot, sizeof key->slot);
    key->role = cs_get_u8(r);
    key->kind = cs_get_u8(r);
}

void cs_state_get_key_rest(struct cs_reader *r, struct cs_state_key *key)
{
    cs_get_copy(r, key->dh_public, CS_KEY_SIZE);
    cs_get_copy(r, key->sign_public, CS_KEY_SIZE);
    key->label = cs_get_str16(r);
    if (key->role < CS_ROLE_FULL || key->role > CS_ROLE_APPEND || key->kind < CS_SLOT_PASSPHRASE ||
        key->kind > CS_SLOT_RECOVERY)
        r->bad = true;
}

/* Keys are few, and their entries rare: the changes are made one by one, after a pass that only
 * parses them. */
static int apply_keys(struct cs_state *state, uint64_t number, struct cs_reader r, int64_t time,
                      bool change, struct cs_error *err)
{
    uint16_t n = cs_get_count16(&r, 1);
    size_t epochs = state->epoch_count;
    state->key_entries += change;
    for (uint16_t i = 0; i < n && !r.bad; i++) {
        struct cs_state_key key = {.added = time};
        uint8_t data_public[CS_KEY_SIZE];
        switch (cs_get_u8(&r)) {
        case CS_KEY_ADD:
            cs_state_get_key(&r, &key);
            cs_state_get_key_rest(&r, &key);
            r.bad |= !change && cs_state_key(state, &key.slot) != NULL; /* a slot is added once */
            if (change && !r.bad) {
                struct cs_state_key *added = CS_STATE_GROW(state->keys, state->key_count);
                if (added == NULL) {
                    key_clear(&key);
                    return cs_fail_memory(err);
                }
                *added = key;
                key.label = NULL;
            }
            key_clear(&key);
            break;
        case CS_KEY_REMOVE:
            cs_get_copy(&r, &key.slot, sizeof key.slot);
            r.bad |= cs_state_key(state, &key.slot) == NULL;
            for (size_t k = 0; change && k < state->key_count; k++)
                if (memcmp(&state->keys[k].slot, &key.slot, sizeof key.slot) == 0 &&
                    !state->keys[k].removed) {
                    state->keys[k].removed = true;
                    state->keys[k].last_epoch =
                        state->epoch_count > 0 ? (uint16_t)(state->epoch_count - 1) : 0;
                }
            break;
        case CS_KEY_EPOCH:
            r.bad |= cs_get_u16(&r) != epochs++;
            cs_get_copy(&r, data_public, sizeof data_public);
            if (change && !r.bad) {
                uint8_t(*epoch)[CS_KEY_SIZE] = CS_STATE_GROW(state->epochs, state->epoch_count);
                if (epoch == NULL)
                    return cs_fail_memory(err);
                memcpy(epoch, data_public, CS_KEY_SIZE);
            }
            break;
        default:
            r.bad = true;
        }
    }
    return cs_reader_done(&r) ? 0 : cs_state_corrupt(err, number, &r);
}

static int apply(struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                 bool change, struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(payload, len);
    uint16_t type = cs_get_u16(&r);
    uint16_t flags = cs_get_u16(&r);
    int64_t time = (int64_t)cs_get_u64(&r);
    if (r.bad || (flags & ~CS_ENTRY_OPTIONAL) != 0)
        return cs_state_corrupt(err, number, &r);
    switch (type) {
    case CS_ENTRY_KEY:
        return apply_keys(state, number, r, time, change, err);
    case CS_ENTRY_PUBLISH:
    case CS_ENTRY_ARCHIVE:
    case CS_ENTRY_REPLACE:
        return apply_added(state, number, r, type, time, change, err);
    case CS_ENTRY_CHECKPOINT:
        return 0;
    default:
        if (!(flags & CS_ENTRY_OPTIONAL))
            return cs_fail(err, CS_UNSUPPORTED,
                           "log entry %llu: is of type %u, which a newer program wrote; use that "
                           "one",
                           (unsigned long long)number, type);
        if (change)
            state->unknown_entry = number + 1;
        return 0;
    }
}

int cs_state_try(const struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                 struct cs_error *err)
{
    return apply((struct cs_state *)state, number, payload, len, false, err);
}

int cs_state_apply(struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                   struct cs_error *err)
{
    int rc = cs_state_try(state, number, payload, len, err);
    return rc < 0 ? rc : apply(state, number, payload, len, true, err);
}

void cs_entry_begin(struct cs_buf *out, enum cs_entry_type type, int64_t time)
{
    cs_put_u16(out, (uint16_t)type);
    cs_put_u16(out, 0);
    cs_put_u64(out, (uint64_t)time);
}

void cs_state_put_packs(struct cs_buf *out, const struct cs_state_pack *packs, size_t n)
{
    cs_put_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        cs_put_bytes(out, &packs[i].id, sizeof packs[i].id);
        cs_put_u64(out, packs[i].size);
        cs_put_u8(out, (uint8_t)packs[i].class);
    }
}

void cs_state_put_segments(struct cs_buf *out, const struct cs_state_segment *segments, size_t n)
{
    cs_put_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        cs_put_bytes(out, &segments[i].id, sizeof segments[i].id);
        cs_put_u64(out, segments[i].size);
        cs_put_u64(out, segments[i].entries);
    }
}

void cs_entry_put_added(struct cs_buf *out, const struct cs_added *added)
{
    cs_state_put_packs(out, added->packs, added->pack_count);
    cs_state_put_segments(out, added->segments, added->segment_count);
}
