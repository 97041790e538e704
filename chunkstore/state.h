/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_STATE_H
#define CS_STATE_H

#include "bytes.h"
#include "chunkstore.h"
#include "crypt.h"

/*
 * What the log says is true: the fold over its entries (FORMAT.md, 7.2). Pure;
 * reading and verifying entries is log.c's.
 */

enum cs_entry_type {
    CS_ENTRY_KEY = 1,
    CS_ENTRY_PUBLISH = 2,
    CS_ENTRY_ARCHIVE = 3,
    CS_ENTRY_REPLACE = 4,
    CS_ENTRY_CHECKPOINT = 5,
};

enum { CS_ENTRY_OPTIONAL = 1 }; /* flag */
enum { CS_PAYLOAD_HEAD = 12 };  /* bytes of type, flags and time */

enum cs_key_change { CS_KEY_ADD = 1, CS_KEY_REMOVE = 2, CS_KEY_EPOCH = 3 };

struct cs_state_key {
    struct cs_name slot;
    enum cs_role role;
    enum cs_slot_kind kind;
    bool removed;
    uint16_t last_epoch; /* the current one when it was removed; 0 before */
    uint8_t dh_public[CS_KEY_SIZE];
    uint8_t sign_public[CS_KEY_SIZE];
    char *label;
    int64_t added; /* Unix seconds */
};

struct cs_state_pack {
    struct cs_name id;
    uint64_t size; /* bytes */
    enum cs_class class;
};

struct cs_state_segment {
    struct cs_name id;
    uint64_t size; /* bytes */
    uint64_t entries;
};

struct cs_state {
    struct cs_state_key *keys;
    size_t key_count;
    uint8_t (*epochs)[CS_KEY_SIZE]; /* data public key of each */
    size_t epoch_count;
    struct cs_state_pack *packs;
    size_t pack_count;
    struct cs_state_segment *segments;
    size_t segment_count;
    struct cs_archive *archives;
    size_t archive_count;
    uint64_t key_entries; /* key entries applied since loading, to notice that there are new ones */
    uint64_t unknown_entry;       /* number + 1 of an entry of unknown optional type; 0: none */
    struct cs_name *sorted_packs; /* names of the live packs, made when first asked for */
    size_t sorted_count;
};

void cs_state_clear(struct cs_state *state);

const struct cs_state_key *cs_state_key(const struct cs_state *state, const struct cs_name *slot);
int cs_state_pack_live(struct cs_state *state, const struct cs_name *pack, bool *live,
                       struct cs_error *err);

/* Whether ${key} (may be NULL) may have issued keyrings of ${epoch}: role full, and not removed
 * before it began. */
bool cs_state_may_issue(const struct cs_state_key *key, uint16_t epoch);

/* Whether a key of ${role} may append an entry of ${type}. */
bool cs_state_may(enum cs_role role, uint16_t type);

/*
 * Applies the payload of entry ${number}, whose signer and rights have been verified. A payload
 * that does not parse is CS_CORRUPT and changes nothing; an unknown type that is not optional is
 * CS_UNSUPPORTED.
 */
int cs_state_apply(struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                   struct cs_error *err);

/* Whether cs_state_apply would take this payload; changes nothing. */
int cs_state_try(const struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                 struct cs_error *err);

/* Replaces ${state} by what a checkpoint's payload holds. */
int cs_state_load_checkpoint(struct cs_state *state, uint64_t number, const uint8_t *payload,
                             size_t len, struct cs_error *err);

/* ---- building payloads ---- */

struct cs_added {
    const struct cs_state_pack *packs;
    size_t pack_count;
    const struct cs_state_segment *segments;
    size_t segment_count;
};

void cs_entry_begin(struct cs_buf *out, enum cs_entry_type type, int64_t time);
void cs_entry_put_added(struct cs_buf *out, const struct cs_added *added);
void cs_entry_put_checkpoint(struct cs_buf *out, const struct cs_state *state);

#endif
