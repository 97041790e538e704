/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CRASH_WORLD_H
#define CRASH_WORLD_H

#include "chunkstore.h"

/*
 * What users do to a repository, step by step, and what each step promises them. To try more of the
 * store, add a step to world.c's table: it announces what may be true from now on (MAYBE), acts,
 * and then says what is true (SURE, or NO).
 */

enum {
    WORLD_ARCHIVES = 40,
    WORLD_CHUNKS = 4,
    WORLD_KEYS = 4,
    WORLD_WHY = 1200,
    WORLD_PATH = 512,
    WORLD_NAME = 32
};

#define WORLD_TAG "gold"

enum certainty { NO, MAYBE, SURE };

struct stored { /* noise */
    struct cs_id id;
    uint64_t seed;
    size_t len;
};

struct world_archive {
    enum certainty there;
    enum certainty tagged; /* with WORLD_TAG */
    struct stored record;
    struct stored chunks[WORLD_CHUNKS];
    size_t chunk_count;
};

struct world {
    char repo[WORLD_PATH];
    char heads[WORLD_PATH]; /* state folder; "": none */
    struct cs_name slots[WORLD_KEYS];

    /* the promise */
    enum certainty founded;
    enum certainty opens[WORLD_KEYS];              /* key files of the fixture */
    struct world_archive archives[WORLD_ARCHIVES]; /* in the order of the log */
    size_t archive_count;
    struct stored published; /* a chunk */
    enum certainty has_published;

    struct cs_prune_result pruned; /* by the last prune */
};

struct world_step {
    const char *name;
    /* 0 or a negative code, as from the store. */
    int (*run)(struct world *world, struct cs_error *err);
    bool quiet; /* only gets there: no states are looked at */
    bool usual; /* does to the disk what an earlier step does */
    bool again; /* must succeed on what a try that was cut short has left */
    bool frees; /* must succeed on a full disk, if what it deletes gives room */
};

extern const struct world_step world_steps[];
extern const size_t world_step_count;
const struct world_step *world_step_named(const char *name);

/* Appends entries that change nothing until the log has ${length} of them. */
int world_fill_log(struct world *world, uint64_t length, struct cs_error *err);

/* For the steps and their judge: with the key that has all rights; with key file ${key}. */
int world_open(struct cs_store **store, const struct world *world, struct cs_error *err);
int world_open_with(struct cs_store **store, const char *repo, const char *heads, unsigned key,
                    struct cs_error *err);
void world_archive_name(char out[WORLD_NAME], size_t n);
/* Commits an archive of a record, a chunk of its own of ${len} bytes, and one that all share. */
int world_back_up(struct world *world, size_t len, struct cs_error *err);

/* Opens the world's repository, checks it and reads all archives. What is found wrong is
 * CS_CORRUPT, unless something failed. */
int world_read(struct world *world, struct cs_error *err);

/*
 * Whether the repository at ${repo}, with the log's head remembered in ${heads}, keeps what the
 * world promises: it opens, is found whole, has the archives byte for byte, takes another commit.
 * Writes to both. Where ${step} (may be NULL) can be taken again, it is. If not, ${why} says what
 * is wrong.
 */
bool world_holds(const struct world *world, const char *repo, const char *heads,
                 const struct world_step *step, char why[WORLD_WHY]);

#endif
