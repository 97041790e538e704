/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PRUNE_FIXTURE_H
#define CS_PRUNE_FIXTURE_H

#include "cs_fixture.h"

/* Archives that are lists of chunks, which a table says, so that a prune can be told what they
 * need. */

enum { CHUNKS = 24, CHUNK = 400000, MADE = 16 };

struct made { /* an archive: its record, and chunks of noise by their seeds */
    struct cs_id record;
    uint64_t seed;
    uint64_t seeds[CHUNKS];
    struct cs_id chunks[CHUNKS];
    size_t count;
};

extern struct made table[MADE];
extern size_t made_count;

int table_setup(void **state); /* of a test with a repository: an empty table */

/* Stores ${n} chunks of the seeds from ${first} on, every ${step}th, and a large record. */
struct made *store_some(struct cs_writer *writer, uint64_t seed, uint64_t first, size_t n,
                        uint64_t step);
struct made *commit_some(struct cs_store *store, uint64_t seed, uint64_t first, size_t n,
                         uint64_t step);
void expect_made(struct cs_store *store, const struct made *made);

/* Every archive that is live is whole, and the repository is sound, for a store that begins anew.
 */
void assert_whole(const struct repo *repo);

int try_prune(struct cs_store *store, struct cs_prune_options options,
              struct cs_prune_result *result, struct cs_error *err);
struct cs_prune_result prune(struct cs_store *store, struct cs_prune_options options);
void forget(struct cs_store *store, const struct made *made);

uint64_t stored_bytes(const struct repo *repo); /* of packs and segments */

#endif
