/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_LOG_ENTRY_H
#define CS_LOG_ENTRY_H

#include "log.h"

/* Entries of the log, between their files and the fold; for log*.c. */

struct cs_log_head {
    uint16_t epoch;
    uint32_t sealed; /* length of the payload, sealed */
    uint64_t number;
    uint8_t previous[CS_HASH_SIZE];
    uint64_t checkpoint;
    bool reset;
    struct cs_name signer;
};

struct cs_log_entry { /* one that was read */
    struct cs_log_head head;
    uint8_t *data;
    size_t len;
    uint8_t *payload;
    size_t payload_len;
};

/* Reads the header of entry ${number} alone. */
int cs_log_head_read(struct cs_store *store, uint64_t number, struct cs_log_head *head,
                     struct cs_error *err);

void cs_log_head_encode(uint8_t out[CS_ENTRY_HEAD], const struct cs_log_head *head);

/* Decodes the header of the file of entry ${number}. */
int cs_log_head_decode(struct cs_log_head *head, const uint8_t *data, size_t len, uint64_t number,
                       struct cs_error *err);

enum { CS_ENTRY_IDENTITY = CS_ID_SIZE + CS_ENTRY_HEAD };

/* The associated data of the payload, CS_ID_SIZE + CS_ENTRY_HEAD bytes: repository id and header.
 */
void cs_log_entry_identity(uint8_t ad[CS_ENTRY_IDENTITY], const struct cs_store *store,
                           const uint8_t *head);

/* Reads and decrypts; the chain, the signature and the rights are still to be held against it. To
 * be cleared. */
int cs_log_entry_read(struct cs_store *store, struct cs_log_entry *entry, uint64_t number,
                      struct cs_error *err);
void cs_log_entry_clear(struct cs_log_entry *entry);

bool cs_log_entry_signed_by(const struct cs_store *store, const struct cs_log_entry *entry,
                            const uint8_t sign_public[CS_KEY_SIZE]);
uint16_t cs_log_entry_type(const struct cs_log_entry *entry);

/* Whether the signer is one that may append such an entry; else the entry is void. */
bool cs_log_entry_counts(const struct cs_state *state, const struct cs_log_entry *entry);

/* Puts ${pos} behind ${entry}. ${states}: it counts, and says the whole state. */
void cs_log_move_on(const struct cs_store *store, struct cs_log_position *pos,
                    const struct cs_log_entry *entry, bool states);

/* Holds ${entry} against the chain at ${pos} and applies it to ${state}. */
int cs_log_fold(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                const struct cs_log_entry *entry, struct cs_error *err);

/* The same for a reset that goes on where ${pos} is: what it says takes the place of ${state}. */
int cs_log_fold_reset(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                      const struct cs_log_entry *entry, struct cs_error *err);

/* The number of the newest entry. A folder may be there before its first entry is. */
int cs_log_find_head(struct cs_store *store, uint64_t *number, struct cs_error *err);

/* The way through the log: where to begin, and which entries are passed over. */
struct cs_log_path {
    uint64_t start; /* a checkpoint or reset of our own: the only ones believed. 0: entry 0 */
    struct cs_reset {
        uint64_t from; /* the entries from here to the one before */
        uint64_t number;
    } * resets; /* the newest first */
    size_t count;
};

struct cs_path_options {
    uint64_t below;  /* begin at none that is not below this; 0: at entry 0 */
    uint64_t end;    /* look no further when there */
    bool plain_head; /* the newest entry is no reset, whatever it says */
    bool tolerant;   /* look past entries that cannot be read */
};

/* Finds the way to the entry ${head}. To be cleared, on failure too. */
int cs_log_find_path(struct cs_store *store, uint64_t head, const struct cs_path_options *options,
                     struct cs_log_path *path, struct cs_error *err);
void cs_log_path_clear(struct cs_log_path *path);

/* Whether a reset passes over entry ${number} of a log that has been folded. ${*trusted}: each that
 * does is signed by a full key that is not among the ${n} of ${removed}. */
int cs_log_passed_over(struct cs_store *store, uint64_t number, const struct cs_name *removed,
                       size_t n, bool *passed, bool *trusted, struct cs_error *err);

struct cs_fold_options {
    uint64_t last; /* the entry to fold to */
    bool on;       /* and further, while there are more */
    bool whole;    /* from entry 0, whatever checkpoints there are */
    bool tolerant; /* as for the path */
    /* NULL, or: shown each entry before it is folded into ${state}. */
    int (*look)(void *arg, const struct cs_state *state, const struct cs_log_entry *entry,
                struct cs_error *err);
    void *arg;
};

/* Folds the log into ${state}, which is empty. On failure ${state} and ${pos} are as before the
 * entry that failed. */
int cs_log_fold_path(struct cs_store *store, const struct cs_fold_options *options,
                     struct cs_state *state, struct cs_log_position *pos, struct cs_error *err);

/* The bytes of an entry that ${store} would append behind ${pos} with ${payload}, as entry
 * ${number}, into ${out}. */
int cs_log_entry_build(struct cs_store *store, const struct cs_log_head *head,
                       const struct cs_buf *payload, struct cs_buf *out, struct cs_error *err);

#endif
