/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_REFCOUNT_H
#define BYRE_QCOW2_REFCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/hostmap.h"

/*
 * How often each host cluster is referenced, and the refcount table and blocks
 * that say so in the file. Like the host map, it takes memory only where
 * something is counted.
 */

enum { REFCOUNT_MAX_TABLE_SIZE = 8 << 20 }; /* bytes; the most that QEMU opens */

struct refcount_page;

struct refcounts {
    struct refcount_page *pages;
    size_t nb_pages;
    uint32_t order; /* an entry has 1 << order bits */
    uint32_t cluster_bits;
    uint64_t block_entries; /* clusters that one refcount block counts */
    uint64_t max;           /* the highest count that an entry holds */
    uint64_t *blocks;       /* the host offset of each refcount block, 0: none; after place */
    uint64_t nb_blocks;     /* entries of the refcount table */
    uint64_t table_offset;
    uint32_t table_clusters;
};

/* Nothing is counted. ${order} is 0..6, ${cluster_bits} 9..21. */
void refcounts_init(struct refcounts *counts, uint32_t order, uint32_t cluster_bits);
void refcounts_clear(struct refcounts *counts);

/* The clusters that the largest refcount table can count. */
uint64_t refcounts_limit(const struct refcounts *counts);

/* Counts ${n} references more to ${cluster}. ERROR_UNSUPPORTED where an entry cannot hold them. */
int refcounts_add(struct refcounts *counts, uint64_t cluster, uint32_t n, struct error *err);

uint64_t refcounts_get(const struct refcounts *counts, uint64_t cluster);

/*
 * Finds room in ${map} for the refcount table and for a block wherever something is counted,
 * and counts them too. Only once, and nothing is counted after it.
 */
int refcounts_place(struct refcounts *counts, struct hostmap *map, struct error *err);

/* Encodes table or block ${index} of a cluster each into ${buf}. */
void refcounts_encode_table(const struct refcounts *counts, uint32_t index, uint8_t *buf);
void refcounts_encode_block(const struct refcounts *counts, uint64_t index, uint8_t *buf);

#endif
