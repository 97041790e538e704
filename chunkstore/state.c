/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of a repository as the fold over its log. Payloads are parsed whole
 * before anything is changed. What each kind of entry means is in state_keys.c,
 * state_files.c and state_archives.c.
 */
#include "state_parts.h"

#include <stdlib.h>
#include <string.h>

static void archive_free(struct cs_archive *archive)
{
    if (archive == NULL)
        return;
    free(archive->name);
    free(archive->host);
    for (size_t i = 0; i < archive->tag_count; i++)
        free(archive->tags[i]);
    free(archive->tags);
    free(archive->summary);
    free(archive);
}

void cs_state_clear(struct cs_state *state)
{
    for (size_t i = 0; i < state->key_count; i++)
        free(state->keys[i].label);
    for (size_t i = 0; i < state->archive_count; i++)
        archive_free(state->archives[i]);
    for (size_t i = 0; i < state->forgotten_count; i++)
        archive_free(state->forgotten[i]);
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++) {
        cs_names_clear(&state->live[kind]);
        cs_names_clear(&state->dead[kind]);
        cs_names_clear(&state->gone[kind]);
    }
    free(state->keys);
    free(state->epochs);
    free(state->packs);
    free(state->segments);
    free(state->archives);
    free(state->forgotten);
    free(state->condemned);
    free(state->lost);
    free(state->sorted_lost);
    *state = (struct cs_state){0};
}

const struct cs_state_key *cs_state_key(const struct cs_state *state, const struct cs_name *slot)
{
    for (size_t i = 0; i < state->key_count; i++)
        if (memcmp(&state->keys[i].slot, slot, sizeof *slot) == 0)
            return &state->keys[i];
    return NULL;
}

const struct cs_state_pack *cs_state_pack(const struct cs_state *state, const struct cs_name *pack)
{
    uint32_t position;
    return cs_names_find(&state->live[CS_FILE_PACK], pack, &position) ? &state->packs[position]
                                                                      : NULL;
}

const struct cs_state_segment *cs_state_segment(const struct cs_state *state,
                                                const struct cs_name *segment)
{
    uint32_t position;
    return cs_names_find(&state->live[CS_FILE_SEGMENT], segment, &position)
               ? &state->segments[position]
               : NULL;
}

size_t cs_state_archive(const struct cs_state *state, const struct cs_id *id)
{
    size_t i = 0;
    while (i < state->archive_count && memcmp(&state->archives[i]->id, id, sizeof *id) != 0)
        i++;
    return i;
}

bool cs_state_condemned(const struct cs_state *state, enum cs_file_kind kind,
                        const struct cs_name *name)
{
    return cs_names_find(&state->dead[kind], name, NULL) ||
           cs_names_find(&state->gone[kind], name, NULL);
}

static int compare_lost(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct cs_lost));
}

static int sort_lost(struct cs_state *state, struct cs_error *err)
{
    if (state->lost_count == 0 || state->sorted_lost != NULL)
        return 0;
    struct cs_lost *sorted = calloc(state->lost_count, sizeof *sorted);
    if (sorted == NULL)
        return cs_fail_memory(err);
    memcpy(sorted, state->lost, state->lost_count * sizeof *sorted);
    qsort(sorted, state->lost_count, sizeof *sorted, compare_lost);
    state->sorted_lost = sorted;
    return 0;
}

int cs_state_lost(struct cs_state *state, const struct cs_name *pack, const struct cs_id *id,
                  bool *lost, struct cs_error *err)
{
    struct cs_lost wanted = {.pack = *pack, .id = *id};
    int rc = sort_lost(state, err);
    *lost = rc == 0 && state->lost_count > 0 &&
            bsearch(&wanted, state->sorted_lost, state->lost_count, sizeof wanted, compare_lost) !=
                NULL;
    return rc;
}

static int compare_pack(const void *pack, const void *lost)
{
    return memcmp(pack, &((const struct cs_lost *)lost)->pack, sizeof(struct cs_name));
}

int cs_state_has_lost(struct cs_state *state, const struct cs_name *pack, bool *lost,
                      struct cs_error *err)
{
    int rc = sort_lost(state, err);
    *lost = rc == 0 && state->lost_count > 0 &&
            bsearch(pack, state->sorted_lost, state->lost_count, sizeof(struct cs_lost),
                    compare_pack) != NULL;
    return rc;
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
    case CS_ENTRY_FORGET:
    case CS_ENTRY_CONDEMN:
    case CS_ENTRY_TAG:
    case 9: /* hold: reserved, but the right stands already */
    case CS_ENTRY_LOST:
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

int cs_state_corrupt(struct cs_error *err, uint64_t number, const struct cs_reader *r)
{
    return cs_fail(err, CS_CORRUPT, "log entry %llu: its payload is malformed near %zu",
                   (unsigned long long)number, r->pos);
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
        return cs_state_apply_keys(state, number, r, time, change, err);
    case CS_ENTRY_PUBLISH:
    case CS_ENTRY_ARCHIVE:
    case CS_ENTRY_REPLACE:
    case CS_ENTRY_CONDEMN:
        return cs_state_apply_files(state, number, r, type, time, change, err);
    case CS_ENTRY_FORGET:
        return cs_state_apply_forget(state, number, r, change, err);
    case CS_ENTRY_TAG:
        return cs_state_apply_tag(state, number, r, change, err);
    case CS_ENTRY_LOST:
        return cs_state_apply_lost(state, number, r, change, err);
    case CS_ENTRY_CHECKPOINT:
        return 0;
    case CS_ENTRY_RESET: /* one in its place is loaded, not applied */
        return cs_fail(err, CS_CONFLICT,
                       "log entry %llu: the log was repaired meanwhile; begin anew",
                       (unsigned long long)number);
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
