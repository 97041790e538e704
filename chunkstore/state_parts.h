/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_STATE_PARTS_H
#define CS_STATE_PARTS_H

#include "state.h"

/* What entries and checkpoints have in common; for state*.c. The getters append to ${state}, mark
 * ${r} bad where something is malformed, and return CS_NO_MEMORY or 0. */

/* Grows an array by one zeroed element and returns it; NULL where there is no memory. */
void *cs_state_grow(void **array, size_t *count, size_t size);
#define CS_STATE_GROW(array, count) cs_state_grow((void **)&(array), &(count), sizeof *(array))

void cs_state_get_pack(struct cs_reader *r, struct cs_state_pack *pack); /* id, size, class */
int cs_state_get_packs(struct cs_reader *r, struct cs_state *state);
int cs_state_get_segments(struct cs_reader *r, struct cs_state *state);
int cs_state_get_lost(struct cs_reader *r, struct cs_state *state);
int cs_state_get_archive_text(struct cs_reader *r, struct cs_archive *archive);
struct cs_archive *cs_state_new_archive(struct cs_state *state);           /* NULL: no memory */
void cs_state_get_key(struct cs_reader *r, struct cs_state_key *key);      /* slot, role, kind */
void cs_state_get_key_rest(struct cs_reader *r, struct cs_state_key *key); /* public keys, label */

void cs_state_put_packs(struct cs_buf *out, const struct cs_state_pack *packs, size_t n);
void cs_state_put_segments(struct cs_buf *out, const struct cs_state_segment *segments, size_t n);

/* Makes the tables of names from the lists. CS_NO_MEMORY; CS_CORRUPT where a name comes twice. */
int cs_state_make_names(struct cs_state *state);

/* CS_CORRUPT, naming entry ${number} and where ${r} stands. */
int cs_state_corrupt(struct cs_error *err, uint64_t number, const struct cs_reader *r);

/*
 * Apply the body at ${r} of entry ${number}. With ${change} false they only say whether they would
 * take it; with true, it was asked before, and nothing but want of memory can fail.
 */
int cs_state_apply_keys(struct cs_state *state, uint64_t number, struct cs_reader r, int64_t time,
                        bool change, struct cs_error *err);
int cs_state_apply_files(struct cs_state *state, uint64_t number, struct cs_reader r, uint16_t type,
                         int64_t time, bool change, struct cs_error *err);
int cs_state_apply_forget(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                          struct cs_error *err);
int cs_state_apply_tag(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                       struct cs_error *err);
int cs_state_apply_lost(struct cs_state *state, uint64_t number, struct cs_reader r, bool change,
                        struct cs_error *err);

#endif
