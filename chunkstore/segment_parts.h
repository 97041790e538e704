/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_SEGMENT_PARTS_H
#define CS_SEGMENT_PARTS_H

#include "segment.h"

/* What segment.c, segment_memory.c and segment_cache.c share. */

enum { CS_CACHE_HEADER = 64 };

#define CS_SEGMENT_ENTRIES_MAX ((uint64_t)UINT32_MAX)

/* Where the parts of the block lie: header, buckets, pack names, entries. */
struct cs_segment_layout {
    size_t buckets, packs, entries, end;
};

/* Sets what follows from the two numbers. */
struct cs_segment_layout cs_segment_shape(struct cs_segment *segment, uint64_t entries,
                                          uint32_t packs);

/* Takes memory, zeroed, for the block, or for what comes before its entries, and points into it. Is
 * to be cleared, also on failure. */
int cs_segment_allocate(struct cs_segment *segment, const struct cs_segment_layout *layout,
                        bool whole, struct cs_error *err);

/* Makes the block of plaintext that comes in pieces. */
struct cs_segment_builder {
    /* NULL, or: takes the entries, which then are not in memory: ${len} bytes at ${at} of the
     * block, in their order. False where it cannot. */
    bool (*spill)(void *arg, uint64_t at, const void *data, size_t len);
    void *arg;
    bool spilling_failed;
    struct cs_segment segment; /* is to be cleared, also on failure */
    struct cs_segment_layout layout;
    uint64_t got; /* bytes of plaintext */
    uint64_t entries;
    uint64_t buckets; /* that have their position */
    struct cs_entry before;
    uint8_t part[CS_SEGMENT_ENTRY];
    size_t part_len;
};

int cs_segment_build_begin(struct cs_segment_builder *builder, const struct cs_name *id,
                           uint64_t entries, uint32_t packs, struct cs_error *err);
/* ${name}: of the file, for messages. */
int cs_segment_build(struct cs_segment_builder *builder, const uint8_t *data, size_t len,
                     const char *name, struct cs_error *err);
int cs_segment_build_end(struct cs_segment_builder *builder, const char *name,
                         struct cs_error *err);

/* Reads the segment from the repository, from the beginning to the end, into ${builder}. */
int cs_segment_read(struct cs_store *store, const struct cs_state_segment *which,
                    struct cs_segment_builder *builder, struct cs_error *err);

#endif
