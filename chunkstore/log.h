/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_LOG_H
#define CS_LOG_H

#include "bytes.h"
#include "store.h"

/*
 * The log: reading, verifying and folding entries; the one compare-and-append
 * (FORMAT.md, 7.2).
 */

enum { CS_ENTRY_HEAD = 80, CS_ENTRY_MAX = 256 << 20 };

/* The name of entry ${number}, and of the folder it lies in. */
void cs_entry_file(char out[64], uint64_t number);
void cs_entry_folder(char out[64], uint64_t number);

/* A store whose keys are known but for the log's: folds it, from an own checkpoint where there is
 * one, and verifies the keyrings. */
int cs_log_load(struct cs_store *store, struct cs_error *err);

/* Folds the whole log anew from entry 0, and demands that it meets the head known before: for
 * whoever manages keys. On failure nothing has changed. */
int cs_log_fold_whole(struct cs_store *store, struct cs_error *err);

/* Applies the entries that others have appended since. */
int cs_log_catch_up(struct cs_store *store, struct cs_error *err);

/*
 * Appends an entry with ${payload}; entries that others append meanwhile are applied first. A key
 * entry is not appended after one of somebody else: CS_USAGE, and the caller begins anew. On 0 it
 * is durable and applied, and ${*size} (may be NULL) is its size in bytes. CS_AUTH where the own
 * key may not.
 */
int cs_log_append(struct cs_store *store, const struct cs_buf *payload, uint64_t *size,
                  struct cs_error *err);

/*
 * The same, for an entry that rests on something: before each try, when all that came before has
 * been applied, ${holds} is asked whether it still does, and its failure is ours.
 */
int cs_log_append_if(struct cs_store *store, const struct cs_buf *payload,
                     int (*holds)(void *arg, struct cs_error *err), void *arg, uint64_t *size,
                     struct cs_error *err);

/* Whether the own key may append entries of ${type} now: CS_AUTH; CS_CORRUPT after a rollback;
 * CS_UNSUPPORTED where only a newer program may. */
int cs_log_may_append(const struct cs_store *store, uint16_t type, struct cs_error *err);

/* Bytes that an entry with a payload of ${len} bytes takes. */
uint64_t cs_entry_size(size_t len);

/* Writes a checkpoint where the log since the last one has become longer than the state. Adds its
 * size to ${*size}. */
int cs_log_checkpoint(struct cs_store *store, uint64_t *size, struct cs_error *err);

/* Entry 0 of a new repository. ${hash}: what every slot pins. */
int cs_log_found(struct cs_store *store, const struct cs_buf *payload, uint8_t hash[CS_HASH_SIZE],
                 struct cs_error *err);

/*
 * Folds the whole log from entry 0 into ${state}, and holds every checkpoint against it. ${report}
 * is called for a checkpoint that does not agree.
 */
int cs_log_verify(struct cs_store *store, struct cs_state *state,
                  void (*report)(void *arg, const char *message), void *arg, struct cs_error *err);

#endif
