/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packs and segments in the fold: which are live, and which are condemned and
 * may never be again. Entries publish, archive, replace and condemn.
 */
#include <stdlib.h>
#include <string.h>

#include "state_parts.h"

void cs_state_get_pack(struct cs_reader *r, struct cs_state_pack *pack)
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
        cs_state_get_pack(r, pack);
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

bool cs_state_is_no_pack(const struct cs_name *name)
{
    static const struct cs_name none;
    return memcmp(name, &none, sizeof none) == 0;
}

struct name_list { /* names in a payload, end to end */
    const uint8_t *at;
    uint32_t count;
};

static struct cs_name name_at(const struct name_list *list, uint32_t i)
{
    struct cs_name name;
    memcpy(&name, list->at + (size_t)i * CS_NAME_SIZE, sizeof name);
    return name;
}

static void get_names(struct cs_reader *r, struct name_list *list)
{
    list->count = cs_get_count32(r, CS_NAME_SIZE);
    list->at = cs_get_bytes(r, (size_t)list->count * CS_NAME_SIZE);
    if (list->at == NULL)
        list->count = 0;
}

struct changes { /* the body of an entry */
    struct name_list removed[CS_FILE_KINDS];
    struct name_list gone[CS_FILE_KINDS];
    struct cs_state fresh; /* what is added */
};

static int parse(struct changes *c, uint64_t number, struct cs_reader *r, uint16_t type,
                 int64_t time, struct cs_error *err)
{
    if (type == CS_ENTRY_CONDEMN)
        get_names(r, &c->removed[CS_FILE_PACK]);
    if (type == CS_ENTRY_CONDEMN || type == CS_ENTRY_REPLACE)
        get_names(r, &c->removed[CS_FILE_SEGMENT]);
    for (unsigned kind = 0; type == CS_ENTRY_CONDEMN && kind < CS_FILE_KINDS; kind++)
        get_names(r, &c->gone[kind]);
    int rc = cs_state_get_packs(r, &c->fresh);
    for (size_t i = 0; type == CS_ENTRY_PUBLISH && i < c->fresh.pack_count; i++)
        c->fresh.packs[i].published = time;
    if (rc == 0)
        rc = cs_state_get_segments(r, &c->fresh);
    if (rc == 0 && type == CS_ENTRY_ARCHIVE) {
        struct cs_archive *archive = cs_state_new_archive(&c->fresh);
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

/* ---- what may be added ---- */

static int fail_added(struct cs_error *err, uint64_t number, enum cs_file_kind kind,
                      const struct cs_name *name, const char *why)
{
    char hex[CS_NAME_HEX];
    return cs_fail(err, CS_CORRUPT, "log entry %llu: adds the %s %s, which %s",
                   (unsigned long long)number, kind == CS_FILE_PACK ? "pack" : "segment",
                   cs_name_hex(name, hex), why);
}

/* Holds a name to be added against the state, and against ${taken}: what the entry removes and what
 * it has added before. */
static int may_add(const struct cs_state *state, struct cs_names *taken, enum cs_file_kind kind,
                   const struct cs_name *name, uint64_t number, struct cs_error *err)
{
    if (kind == CS_FILE_PACK && cs_state_is_no_pack(name))
        return fail_added(err, number, kind, name, "no pack may be called");
    if (cs_names_find(&state->live[kind], name, NULL))
        return fail_added(err, number, kind, name, "is live already");
    if (cs_names_find(&state->dead[kind], name, NULL))
        return fail_added(err, number, kind, name, "was condemned");
    if (cs_names_find(taken, name, NULL))
        return fail_added(err, number, kind, name, "it names twice");
    return cs_names_add(taken, name, 0) < 0 ? cs_fail_memory(err) : 0;
}

static int take_removed(struct cs_names *taken, const struct name_list *removed,
                        struct cs_error *err)
{
    for (uint32_t i = 0; i < removed->count; i++) {
        struct cs_name name = name_at(removed, i);
        if (!cs_names_find(taken, &name, NULL) && cs_names_add(taken, &name, 0) < 0)
            return cs_fail_memory(err);
    }
    return 0;
}

static int may_change(const struct cs_state *state, const struct changes *c, uint64_t number,
                      struct cs_error *err)
{
    struct cs_names taken[CS_FILE_KINDS] = {{0}};
    int rc = 0;
    for (unsigned kind = 0; rc == 0 && kind < CS_FILE_KINDS; kind++)
        rc = take_removed(&taken[kind], &c->removed[kind], err);
    for (size_t i = 0; rc == 0 && i < c->fresh.pack_count; i++)
        rc = may_add(state, &taken[CS_FILE_PACK], CS_FILE_PACK, &c->fresh.packs[i].id, number, err);
    for (size_t i = 0; rc == 0 && i < c->fresh.segment_count; i++)
        rc = may_add(state, &taken[CS_FILE_SEGMENT], CS_FILE_SEGMENT, &c->fresh.segments[i].id,
                     number, err);
    if (rc == 0 && c->fresh.archive_count > 0 &&
        cs_state_archive(state, &c->fresh.archives[0]->id) < state->archive_count)
        rc = cs_fail(err, CS_CORRUPT, "log entry %llu: adds an archive that is there already",
                     (unsigned long long)number);
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_names_clear(&taken[kind]);
    return rc;
}

/* ---- the change ---- */

static int make_live_names(struct cs_state *state, enum cs_file_kind kind)
{
    bool packs = kind == CS_FILE_PACK;
    size_t n = packs ? state->pack_count : state->segment_count;
    cs_names_clear(&state->live[kind]);
    for (size_t i = 0; i < n; i++) {
        const struct cs_name *name = packs ? &state->packs[i].id : &state->segments[i].id;
        if (cs_names_find(&state->live[kind], name, NULL))
            return CS_CORRUPT;
        if (cs_names_add(&state->live[kind], name, (uint32_t)i) < 0)
            return CS_NO_MEMORY;
    }
    return 0;
}

static int make_dead_names(struct cs_state *state)
{
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_names_clear(&state->dead[kind]);
    for (size_t i = 0; i < state->condemned_count; i++) {
        const struct cs_condemned *d = &state->condemned[i];
        if (cs_names_find(&state->dead[d->kind], &d->name, NULL))
            return CS_CORRUPT;
        if (cs_names_add(&state->dead[d->kind], &d->name, 0) < 0)
            return CS_NO_MEMORY;
    }
    return 0;
}

int cs_state_make_names(struct cs_state *state)
{
    int rc = make_live_names(state, CS_FILE_PACK);
    if (rc == 0)
        rc = make_live_names(state, CS_FILE_SEGMENT);
    return rc < 0 ? rc : make_dead_names(state);
}

/* Names that a listing has shown gone need not be remembered. */
static int drop_gone(struct cs_state *state, const struct changes *c)
{
    struct cs_names gone[CS_FILE_KINDS] = {{0}};
    size_t kept = 0;
    int rc = 0;
    for (unsigned kind = 0; rc == 0 && kind < CS_FILE_KINDS; kind++)
        rc = take_removed(&gone[kind], &c->gone[kind], NULL);
    for (size_t i = 0; rc == 0 && i < state->condemned_count; i++) {
        struct cs_condemned d = state->condemned[i];
        if (!cs_names_find(&gone[d.kind], &d.name, NULL))
            state->condemned[kept++] = d;
        else if (!cs_names_find(&state->gone[d.kind], &d.name, NULL))
            rc = cs_names_add(&state->gone[d.kind], &d.name, 0);
    }
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_names_clear(&gone[kind]);
    if (rc == 0 && kept < state->condemned_count) {
        state->condemned_count = kept;
        rc = make_dead_names(state);
    }
    return rc;
}

/* ${all}: also names that were never live. */
static int condemn(struct cs_state *state, enum cs_file_kind kind, const struct name_list *removed,
                   bool all)
{
    for (uint32_t i = 0; i < removed->count; i++) {
        struct cs_name name = name_at(removed, i);
        if (cs_names_find(&state->dead[kind], &name, NULL) ||
            (kind == CS_FILE_PACK && cs_state_is_no_pack(&name)) ||
            (!all && !cs_names_find(&state->live[kind], &name, NULL)))
            continue;
        struct cs_condemned *d = CS_STATE_GROW(state->condemned, state->condemned_count);
        if (d == NULL || cs_names_add(&state->dead[kind], &name, 0) < 0)
            return CS_NO_MEMORY;
        *d = (struct cs_condemned){.name = name, .kind = kind};
    }
    return 0;
}

static bool names_no_pack(const struct name_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct cs_name name = name_at(list, i);
        if (cs_state_is_no_pack(&name))
            return true;
    }
    return false;
}

/* What is condemned is not live, and what was bad in it is of no interest any more. ${nowhere}: nor
 * is what was found nowhere. */
static int drop_condemned(struct cs_state *state, bool nowhere)
{
    size_t packs = 0, segments = 0, lost = 0;
    for (size_t i = 0; i < state->pack_count; i++)
        if (!cs_names_find(&state->dead[CS_FILE_PACK], &state->packs[i].id, NULL))
            state->packs[packs++] = state->packs[i];
    for (size_t i = 0; i < state->segment_count; i++)
        if (!cs_names_find(&state->dead[CS_FILE_SEGMENT], &state->segments[i].id, NULL))
            state->segments[segments++] = state->segments[i];
    for (size_t i = 0; i < state->lost_count; i++)
        if (!cs_names_find(&state->dead[CS_FILE_PACK], &state->lost[i].pack, NULL) &&
            !(nowhere && cs_state_is_no_pack(&state->lost[i].pack)))
            state->lost[lost++] = state->lost[i];
    bool changed = packs < state->pack_count || segments < state->segment_count;
    state->pack_count = packs;
    state->segment_count = segments;
    if (lost < state->lost_count) {
        free(state->sorted_lost);
        state->sorted_lost = NULL;
        state->lost_count = lost;
    }
    return changed ? cs_state_make_names(state) : 0;
}

/* Moves what was added behind what was there. */
static int append(struct cs_state *to, struct cs_state *from)
{
    for (size_t i = 0; i < from->pack_count; i++) {
        struct cs_state_pack *pack = CS_STATE_GROW(to->packs, to->pack_count);
        if (pack == NULL || cs_names_add(&to->live[CS_FILE_PACK], &from->packs[i].id,
                                         (uint32_t)(to->pack_count - 1)) < 0)
            return CS_NO_MEMORY;
        *pack = from->packs[i];
    }
    for (size_t i = 0; i < from->segment_count; i++) {
        struct cs_state_segment *segment = CS_STATE_GROW(to->segments, to->segment_count);
        if (segment == NULL || cs_names_add(&to->live[CS_FILE_SEGMENT], &from->segments[i].id,
                                            (uint32_t)(to->segment_count - 1)) < 0)
            return CS_NO_MEMORY;
        *segment = from->segments[i];
    }
    for (size_t i = 0; i < from->archive_count; i++) {
        struct cs_archive **archive = CS_STATE_GROW(to->archives, to->archive_count);
        if (archive == NULL)
            return CS_NO_MEMORY;
        *archive = from->archives[i];
        from->archives[i] = NULL;
    }
    return 0;
}

static int change_files(struct cs_state *state, struct changes *c, uint16_t type)
{
    bool all = type == CS_ENTRY_CONDEMN;
    int rc = drop_gone(state, c);
    for (unsigned kind = 0; rc == 0 && kind < CS_FILE_KINDS; kind++)
        rc = condemn(state, kind, &c->removed[kind], all);
    if (rc == 0 && (all || type == CS_ENTRY_REPLACE))
        rc = drop_condemned(state, names_no_pack(&c->removed[CS_FILE_PACK]));
    state->condemn_entries += all;
    return rc < 0 ? rc : append(state, &c->fresh);
}

int cs_state_apply_files(struct cs_state *state, uint64_t number, struct cs_reader r, uint16_t type,
                         int64_t time, bool change, struct cs_error *err)
{
    struct changes c = {0};
    int rc = parse(&c, number, &r, type, time, err);
    if (rc == 0 && !change)
        rc = may_change(state, &c, number, err);
    else if (rc == 0 && change_files(state, &c, type) < 0)
        rc = cs_fail_memory(err);
    cs_state_clear(&c.fresh);
    return rc;
}

bool cs_state_adds_archive(const uint8_t *payload, size_t len, const struct cs_id *id)
{
    struct changes c = {0};
    struct cs_reader r = cs_reader_of(payload, len);
    uint16_t type = cs_get_u16(&r);
    cs_get_bytes(&r, CS_PAYLOAD_HEAD - sizeof type);
    bool adds = type == CS_ENTRY_ARCHIVE && parse(&c, 0, &r, type, 0, NULL) == 0 &&
                memcmp(&c.fresh.archives[0]->id, id, sizeof *id) == 0;
    cs_state_clear(&c.fresh);
    return adds;
}

/* ---- objects that were proven bad ---- */

enum { LOST_BYTES = CS_NAME_SIZE + CS_ID_SIZE };

int cs_state_get_lost(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, LOST_BYTES);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_lost *lost = CS_STATE_GROW(state->lost, state->lost_count);
        if (lost == NULL)
            return CS_NO_MEMORY;
        cs_get_copy(r, &lost->pack, sizeof lost->pack);
        cs_get_copy(r, &lost->id, sizeof lost->id);
    }
    return 0;
}

static int compare_positions(const void *a, const void *b, void *arg)
{
    const struct cs_lost *lost = arg;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int order = memcmp(&lost[x], &lost[y], sizeof *lost);
    return order != 0 ? order : (x > y) - (x < y);
}

/* Makes ${fresh} have nothing twice, and nothing that ${state} has, or that is in no live pack. */
static int keep_news(struct cs_state *state, struct cs_state *fresh, struct cs_error *err)
{
    size_t n = fresh->lost_count, kept = 0;
    size_t *order = calloc(n + 1, sizeof *order);
    bool *old = calloc(n + 1, sizeof *old);
    int rc = order == NULL || old == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        order[i] = i;
        if (cs_state_is_no_pack(&fresh->lost[i].pack) ||
            cs_state_pack(state, &fresh->lost[i].pack) != NULL)
            rc = cs_state_lost(state, &fresh->lost[i].pack, &fresh->lost[i].id, &old[i], err);
        else
            old[i] = true;
    }
    if (rc == 0 && n > 0)
        qsort_r(order, n, sizeof *order, compare_positions, fresh->lost);
    for (size_t i = 1; rc == 0 && i < n; i++)
        if (memcmp(&fresh->lost[order[i]], &fresh->lost[order[i - 1]], sizeof *fresh->lost) == 0)
            old[order[i]] = true;
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!old[i])
            fresh->lost[kept++] = fresh->lost[i];
    fresh->lost_count = kept;
    free(order);
    free(old);
    return rc;
}

int cs_state_apply_lost(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                        struct cs_error *err)
{
    struct cs_state fresh = {0};
    int rc = cs_state_get_lost(&r, &fresh);
    if (rc < 0)
        rc = cs_fail_memory(err);
    else if (!cs_reader_done(&r))
        rc = cs_state_corrupt(err, number, &r);
    if (rc == 0 && change)
        rc = keep_news(state, &fresh, err);
    for (size_t i = 0; rc == 0 && change && i < fresh.lost_count; i++) {
        struct cs_lost *lost = CS_STATE_GROW(state->lost, state->lost_count);
        if (lost == NULL)
            rc = cs_fail_memory(err);
        else
            *lost = fresh.lost[i];
    }
    if (change) {
        state->lost_entries++;
        free(state->sorted_lost);
        state->sorted_lost = NULL;
    }
    cs_state_clear(&fresh);
    return rc;
}

/* ---- building payloads ---- */

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

void cs_entry_put_names(struct cs_buf *out, const struct cs_name *names, size_t n)
{
    cs_put_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        cs_put_bytes(out, &names[i], sizeof names[i]);
}

void cs_entry_put_added(struct cs_buf *out, const struct cs_added *added)
{
    cs_state_put_packs(out, added->packs, added->pack_count);
    cs_state_put_segments(out, added->segments, added->segment_count);
}
