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
    struct cs_name signer;
};

struct cs_log_entry { /* one that was read */
    struct cs_log_head head;
    uint8_t *data;
    size_t len;
    uint8_t *payload;
    size_t payload_len;
};

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

/* Holds ${entry} against the chain at ${pos} and applies it to ${state}. */
int cs_log_fold(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                const struct cs_log_entry *entry, struct cs_error *err);

/* The number of the newest entry. A folder may be there before its first entry is. */
int cs_log_find_head(struct cs_store *store, uint64_t *number, struct cs_error *err);

/* The newest checkpoint of our own before ${head}: the only ones believed. 0: none. */
int cs_log_find_checkpoint(struct cs_store *store, uint64_t head, uint64_t *number,
                           struct cs_error *err);

#endif
