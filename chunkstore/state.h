/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_STATE_H
#define CS_STATE_H

#include "bytes.h"
#include "chunkstore.h"
#include "crypt.h"
#include "names.h"

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
    CS_ENTRY_FORGET = 6,
    CS_ENTRY_CONDEMN = 7,
    CS_ENTRY_TAG = 8,
    CS_ENTRY_LOST = 10,
    CS_ENTRY_RESET = 11,
};

enum { CS_ENTRY_OPTIONAL = 1 };                           /* flag */
enum { CS_PAYLOAD_HEAD = 12 };                            /* bytes of type, flags and time */
enum { CS_TAGS_MAX = UINT16_MAX, CS_TAG_CHANGES = 1024 }; /* of an archive; of one entry */

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
    int64_t published; /* Unix seconds, by a publish entry; 0: what it came with needs it */
};

struct cs_state_segment {
    struct cs_name id;
    uint64_t size; /* bytes */
    uint64_t entries;
};

enum cs_file_kind { CS_FILE_PACK, CS_FILE_SEGMENT, CS_FILE_KINDS };

struct cs_condemned { /* a name that may not become live any more, whose file may still be there */
    struct cs_name name;
    enum cs_file_kind kind;
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
    struct cs_archive **archives;
    size_t archive_count;
    struct cs_condemned *condemned;
    size_t condemned_count;
    struct cs_lost *lost;
    size_t lost_count;

    /* what follows is no part of what the log says, but made of it */
    struct cs_names live[CS_FILE_KINDS]; /* positions in packs and segments */
    struct cs_names dead[CS_FILE_KINDS]; /* those of condemned */
    struct cs_names gone[CS_FILE_KINDS]; /* names that have left condemned since loading */
    struct cs_lost *sorted_lost;         /* made when first asked for */
    struct cs_archive **forgotten;       /* since loading: they may be lent */
    size_t forgotten_count;
    uint64_t key_entries; /* key entries applied since loading, to notice that there are new ones */
    uint64_t condemn_entries; /* the same, of condemn entries */
    uint64_t lost_entries;    /* the same, of lost entries */
    uint64_t unknown_entry;   /* number + 1 of an entry of unknown optional type; 0: none */
};

void cs_state_clear(struct cs_state *state);

const struct cs_state_key *cs_state_key(const struct cs_state *state, const struct cs_name *slot);
/* NULL: not live. */
const struct cs_state_pack *cs_state_pack(const struct cs_state *state, const struct cs_name *pack);
const struct cs_state_segment *cs_state_segment(const struct cs_state *state,
                                                const struct cs_name *segment);
/* Position in archives; archive_count: not live. */
size_t cs_state_archive(const struct cs_state *state, const struct cs_id *id);

/* Whether the file is condemned, or was at any time since loading. */
bool cs_state_condemned(const struct cs_state *state, enum cs_file_kind kind,
                        const struct cs_name *name);

/* The name of zeros, which stands for no pack. */
bool cs_state_is_no_pack(const struct cs_name *name);

/* Whether the object in that pack was proven bad; with the name that stands for no pack, whether
 * the log says that it was found nowhere. */
int cs_state_lost(struct cs_state *state, const struct cs_name *pack, const struct cs_id *id,
                  bool *lost, struct cs_error *err);

/* Whether any object of ${pack} was proven bad. */
int cs_state_has_lost(struct cs_state *state, const struct cs_name *pack, bool *lost,
                      struct cs_error *err);

/* Whether ${key} (may be NULL) may have issued keyrings of ${epoch}: role full, and not removed
 * before it began. */
bool cs_state_may_issue(const struct cs_state_key *key, uint16_t epoch);

/* Whether a key of ${role} may append an entry of ${type}. */
bool cs_state_may(enum cs_role role, uint16_t type);

/*
 * Applies the payload of entry ${number}, whose signer and rights have been verified. A payload
 * that does not parse, or breaks a rule, is CS_CORRUPT and changes nothing; an unknown type that is
 * not optional is CS_UNSUPPORTED.
 */
int cs_state_apply(struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                   struct cs_error *err);

/* Whether cs_state_apply would take this payload; changes nothing. */
int cs_state_try(const struct cs_state *state, uint64_t number, const uint8_t *payload, size_t len,
                 struct cs_error *err);

/* Whether this is the payload of an archive entry that adds ${id}. */
bool cs_state_adds_archive(const uint8_t *payload, size_t len, const struct cs_id *id);

/* Replaces ${state} by what the payload of a checkpoint, or of a reset, holds. */
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
void cs_entry_put_names(struct cs_buf *out, const struct cs_name *names, size_t n);
void cs_entry_put_checkpoint(struct cs_buf *out, const struct cs_state *state);

/* The first entry that a reset's payload makes an end of. CS_CORRUPT where it is none. */
int cs_state_reset_from(uint64_t *from, uint64_t number, const uint8_t *payload, size_t len,
                        struct cs_error *err);

#endif
