/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_SEGMENT_H
#define CS_SEGMENT_H

#include "bytes.h"
#include "store.h"

/*
 * Index segments (FORMAT.md, 7.1): sorted entries, sealed in the repository, and in the clear in
 * the cache with buckets that answer misses and find hits in one small read.
 */

struct cs_entry {       /* where an object lies */
    uint8_t prefix[16]; /* of its id */
    uint32_t pack;      /* index into a table of pack names */
    uint16_t frame;
    uint16_t slot;
};

enum { CS_SEGMENT_HEADER = 64, CS_SEGMENT_ENTRY = 24, CS_SEGMENT_BLOCK = 1 << 20 };

/* By prefix, then by the numbers. */
int cs_entry_compare(const void *a, const void *b);

/*
 * Writes a segment of ${n} sorted ${entries} over ${packs}, durable but for its folder, and
 * describes it in ${out}.
 */
int cs_segment_write(struct cs_store *store, const struct cs_entry *entries, uint64_t n,
                     const struct cs_name *packs, uint32_t pack_count, struct cs_state_segment *out,
                     struct cs_error *err);

/* The same with entries that come one by one, ascending: exactly ${n}. ${next} returns 0, or a code
 * of enum cs_code. */
int cs_segment_write_from(struct cs_store *store,
                          int (*next)(void *arg, struct cs_entry *entry, struct cs_error *err),
                          void *arg, uint64_t n, const struct cs_name *packs, uint32_t pack_count,
                          struct cs_state_segment *out, struct cs_error *err);

/* One that is loaded; for one thread at a time. */
struct cs_segment {
    struct cs_name id;
    uint64_t entry_count;
    uint32_t pack_count;
    const uint8_t *packs; /* names, end to end */
    const uint8_t *buckets;
    uint64_t bucket_count;
    bool *live;     /* of each pack */
    bool died;      /* some were live until the last refresh (index.c) */
    uint8_t *marks; /* a bit for each entry (index.h); NULL: none is set */
    void *memory;
    size_t memory_len;
    const uint8_t *entries; /* as stored; NULL where they are in the cached file: */
    struct cs_segment_window *window;
    int fd;
    uint64_t entries_at;
};

enum { CS_SEGMENT_WINDOW = 1024 };

struct cs_segment_window { /* what was last read of them */
    uint64_t first;
    uint64_t count;
    uint8_t entries[CS_SEGMENT_WINDOW * CS_SEGMENT_ENTRY];
};

/* Loads from the cache, else from the repository (and then into the cache, where there is one). */
int cs_segment_load(struct cs_segment *segment, struct cs_store *store,
                    const struct cs_state_segment *which, struct cs_error *err);

/* Loads from the repository, whatever the cache holds, and verifies order and numbers. */
int cs_segment_fetch(struct cs_segment *segment, struct cs_store *store,
                     const struct cs_state_segment *which, struct cs_error *err);

void cs_segment_clear(struct cs_segment *segment);

/* Deletes the copy of a segment that is not live any more from the cache. */
void cs_segment_uncache(const struct cs_store *store, const struct cs_name *id);

/* Deletes from the cache what is of no live segment, and a day old: others may be filling it. */
void cs_segment_sweep(const struct cs_store *store);

/* Says that ${prefix} is about to be looked for. */
void cs_segment_prefetch(const struct cs_segment *segment, const uint8_t prefix[16]);

/*
 * The next entry with ${prefix} at ${*at} or behind it: 1, 0 where there is none, or a code of enum
 * cs_code (CS_IO: the cache cannot be read). ${*at} is 0 to begin with; to go on, one behind what
 * the last call has set it to.
 */
int cs_segment_next(const struct cs_segment *segment, const uint8_t prefix[16], uint64_t *at,
                    struct cs_entry *entry, struct cs_error *err);

/* Entry ${i}; CS_IO as above. Cheap where they are asked for one after the other. */
int cs_segment_entry(const struct cs_segment *segment, uint64_t i, struct cs_entry *entry,
                     struct cs_error *err);

#endif
