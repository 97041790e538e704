/* SPDX-License-Identifier: BSD-2-Clause */
/* The state as one payload of sections, and back: of a checkpoint, or of a reset. */
#include <stdlib.h>
#include <string.h>

#include "state_parts.h"

enum cs_section {
    SECTION_KEYS = 1,
    SECTION_EPOCHS,
    SECTION_PACKS,
    SECTION_SEGMENTS,
    SECTION_ARCHIVES,
    SECTION_CONDEMNED,
    SECTION_LOST,
    SECTIONS = SECTION_LOST
};

static void put_section(struct cs_buf *out, enum cs_section type, struct cs_buf *body)
{
    out->failed |= body->failed || body->len > UINT32_MAX;
    cs_put_u16(out, (uint16_t)type);
    cs_put_u32(out, (uint32_t)body->len);
    cs_put_bytes(out, body->data, body->len);
    cs_buf_clear(body);
}

static void put_archives(struct cs_buf *out, const struct cs_state *state)
{
    cs_put_u32(out, (uint32_t)state->archive_count);
    for (size_t i = 0; i < state->archive_count; i++) {
        const struct cs_archive *a = state->archives[i];
        cs_put_bytes(out, &a->id, sizeof a->id);
        cs_put_u64(out, a->entry);
        cs_put_u64(out, (uint64_t)a->time);
        cs_put_u64(out, a->bytes_stored);
        cs_put_str16(out, a->name);
        cs_put_str16(out, a->host);
        cs_put_u16(out, (uint16_t)a->tag_count);
        for (size_t k = 0; k < a->tag_count; k++)
            cs_put_str16(out, a->tags[k]);
        cs_put_u32(out, (uint32_t)a->summary_len);
        cs_put_bytes(out, a->summary, a->summary_len);
    }
}

static void put_packs(struct cs_buf *out, const struct cs_state *state)
{
    cs_put_u32(out, (uint32_t)state->pack_count);
    for (size_t i = 0; i < state->pack_count; i++) {
        const struct cs_state_pack *p = &state->packs[i];
        cs_put_bytes(out, &p->id, sizeof p->id);
        cs_put_u64(out, p->size);
        cs_put_u8(out, (uint8_t)p->class);
        cs_put_u64(out, (uint64_t)p->published);
    }
}

void cs_entry_put_checkpoint(struct cs_buf *out, const struct cs_state *state)
{
    struct cs_buf body = {0};
    cs_put_u32(out, SECTIONS);
    cs_put_u16(&body, (uint16_t)state->key_count);
    for (size_t i = 0; i < state->key_count; i++) {
        const struct cs_state_key *k = &state->keys[i];
        cs_put_bytes(&body, &k->slot, sizeof k->slot);
        cs_put_u8(&body, (uint8_t)k->role);
        cs_put_u8(&body, (uint8_t)k->kind);
        cs_put_u8(&body, k->removed);
        cs_put_u16(&body, k->last_epoch);
        cs_put_bytes(&body, k->dh_public, CS_KEY_SIZE);
        cs_put_bytes(&body, k->sign_public, CS_KEY_SIZE);
        cs_put_str16(&body, k->label);
        cs_put_u64(&body, (uint64_t)k->added);
    }
    put_section(out, SECTION_KEYS, &body);
    cs_put_u16(&body, (uint16_t)state->epoch_count);
    cs_put_bytes(&body, state->epochs, state->epoch_count * CS_KEY_SIZE);
    put_section(out, SECTION_EPOCHS, &body);
    put_packs(&body, state);
    put_section(out, SECTION_PACKS, &body);
    cs_state_put_segments(&body, state->segments, state->segment_count);
    put_section(out, SECTION_SEGMENTS, &body);
    put_archives(&body, state);
    put_section(out, SECTION_ARCHIVES, &body);
    cs_put_u32(&body, (uint32_t)state->condemned_count);
    for (size_t i = 0; i < state->condemned_count; i++) {
        cs_put_u8(&body, (uint8_t)state->condemned[i].kind);
        cs_put_bytes(&body, &state->condemned[i].name, CS_NAME_SIZE);
    }
    put_section(out, SECTION_CONDEMNED, &body);
    cs_put_u32(&body, (uint32_t)state->lost_count);
    for (size_t i = 0; i < state->lost_count; i++) {
        cs_put_bytes(&body, &state->lost[i].pack, CS_NAME_SIZE);
        cs_put_bytes(&body, &state->lost[i].id, CS_ID_SIZE);
    }
    put_section(out, SECTION_LOST, &body);
}

static int get_checkpoint_keys(struct cs_reader *r, struct cs_state *state)
{
    uint16_t n = cs_get_count16(r, 16 + 3 + 2 + 64 + 2 + 8);
    for (uint16_t i = 0; i < n && !r->bad; i++) {
        struct cs_state_key *key = CS_STATE_GROW(state->keys, state->key_count);
        if (key == NULL)
            return CS_NO_MEMORY;
        cs_state_get_key(r, key);
        uint8_t removed = cs_get_u8(r);
        key->removed = removed != 0;
        r->bad |= removed > 1;
        key->last_epoch = cs_get_u16(r);
        cs_state_get_key_rest(r, key);
        key->added = (int64_t)cs_get_u64(r);
    }
    return 0;
}

static int get_checkpoint_epochs(struct cs_reader *r, struct cs_state *state)
{
    uint16_t n = cs_get_count16(r, CS_KEY_SIZE);
    for (uint16_t i = 0; i < n && !r->bad; i++) {
        uint8_t(*epoch)[CS_KEY_SIZE] = CS_STATE_GROW(state->epochs, state->epoch_count);
        if (epoch == NULL)
            return CS_NO_MEMORY;
        cs_get_copy(r, epoch, CS_KEY_SIZE);
    }
    return 0;
}

static int get_checkpoint_packs(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, 16 + 8 + 1 + 8);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_state_pack *pack = CS_STATE_GROW(state->packs, state->pack_count);
        if (pack == NULL)
            return CS_NO_MEMORY;
        cs_state_get_pack(r, pack);
        pack->published = (int64_t)cs_get_u64(r);
    }
    return 0;
}

static int get_checkpoint_condemned(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, 1 + CS_NAME_SIZE);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_condemned *d = CS_STATE_GROW(state->condemned, state->condemned_count);
        if (d == NULL)
            return CS_NO_MEMORY;
        uint8_t kind = cs_get_u8(r);
        r->bad |= kind >= CS_FILE_KINDS;
        d->kind = kind < CS_FILE_KINDS ? (enum cs_file_kind)kind : CS_FILE_PACK;
        cs_get_copy(r, &d->name, sizeof d->name);
    }
    return 0;
}

static int get_checkpoint_archives(struct cs_reader *r, struct cs_state *state)
{
    uint32_t n = cs_get_count32(r, 32 + 24 + 6 + 4);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct cs_archive *archive = cs_state_new_archive(state);
        if (archive == NULL)
            return CS_NO_MEMORY;
        cs_get_copy(r, &archive->id, sizeof archive->id);
        archive->entry = cs_get_u64(r);
        archive->time = (int64_t)cs_get_u64(r);
        archive->bytes_stored = cs_get_u64(r);
        int rc = cs_state_get_archive_text(r, archive);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cs_state_load_checkpoint(struct cs_state *state, uint64_t number, const uint8_t *payload,
                             size_t len, struct cs_error *err)
{
    static int (*const sections[])(struct cs_reader *, struct cs_state *) = {
        get_checkpoint_keys,   get_checkpoint_epochs,   get_checkpoint_packs,
        cs_state_get_segments, get_checkpoint_archives, get_checkpoint_condemned,
        cs_state_get_lost,
    };
    struct cs_state fresh = {0};
    struct cs_reader r = cs_reader_of(payload, len);
    int rc = 0;
    uint16_t type = cs_get_u16(&r);
    bool right = type == CS_ENTRY_CHECKPOINT || type == CS_ENTRY_RESET;
    cs_get_bytes(&r, 10); /* flags and time */
    if (type == CS_ENTRY_RESET)
        cs_get_u64(&r); /* from */
    right = right && cs_get_u32(&r) == SECTIONS;
    for (unsigned i = 0; right && rc == 0 && i < SECTIONS; i++) {
        right = cs_get_u16(&r) == i + 1;
        uint32_t size = cs_get_u32(&r);
        const uint8_t *body = cs_get_bytes(&r, size);
        if (!right || body == NULL)
            break;
        struct cs_reader section = cs_reader_of(body, size);
        rc = sections[i](&section, &fresh);
        right = cs_reader_done(&section);
    }
    if (rc == 0 && (!right || !cs_reader_done(&r) || fresh.epoch_count == 0))
        rc = CS_CORRUPT;
    if (rc == 0)
        rc = cs_state_make_names(&fresh);
    for (size_t i = 0; rc == 0 && i < fresh.lost_count; i++)
        if (!cs_state_is_no_pack(&fresh.lost[i].pack) &&
            cs_state_pack(&fresh, &fresh.lost[i].pack) == NULL)
            rc = CS_CORRUPT;
    if (rc == CS_CORRUPT)
        cs_state_corrupt(err, number, &r);
    else if (rc < 0)
        cs_fail_memory(err);
    if (rc < 0) {
        cs_state_clear(&fresh);
        return rc;
    }
    cs_state_clear(state);
    *state = fresh;
    return 0;
}

int cs_state_reset_from(uint64_t *from, uint64_t number, const uint8_t *payload, size_t len,
                        struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(payload, len);
    uint16_t type = cs_get_u16(&r);
    cs_get_bytes(&r, 10); /* flags and time */
    *from = cs_get_u64(&r);
    if (r.bad || type != CS_ENTRY_RESET || *from == 0 || *from >= number)
        return cs_state_corrupt(err, number, &r);
    return 0;
}
