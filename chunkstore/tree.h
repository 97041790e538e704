/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_TREE_H
#define CS_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/*
 * Trees from within: their nodes (FORMAT.md, 8.1), and what a builder and the
 * pipeline of regions need of each other.
 */

enum {
    CS_TREE_LEVEL_MAX = 10, /* 2^60 regions */
    CS_NODE_CHILDREN = 64,
    CS_CHILD_SIZE = CS_ID_SIZE + 8,
    CS_NODE_SIZE_MAX = 9 + CS_NODE_CHILDREN * CS_CHILD_SIZE,
};

struct cs_child {
    struct cs_id id;
    uint64_t bytes; /* that it stands for */
};

struct cs_node {
    uint64_t bitmap;                            /* of the children that are present */
    struct cs_child children[CS_NODE_CHILDREN]; /* those, without gaps */
    uint64_t bytes;                             /* of all of them; not encoded */
};

/* Returns the encoded length. The bitmap must not be 0. */
size_t cs_node_encode(uint8_t out[CS_NODE_SIZE_MAX], const struct cs_node *node, unsigned level);

/* Decodes a node, which must be of ${level}, and sums it up. ${what} names it in messages. */
int cs_node_decode(struct cs_node *node, unsigned level, const void *data, size_t len,
                   const char *what, struct cs_error *err);

/* ---- what the pipeline of regions calls ---- */

struct cs_writer *cs_tree_writer(const struct cs_tree_builder *builder);
enum cs_tree_kind cs_tree_builder_kind(const struct cs_tree_builder *builder);

/* Adds the leaf of ${region} that is stored as ${leaf_id} and stands for ${bytes}; its turn has
 * come, for regions are added in the order in which they were put. A failure is the builder's from
 * then on. */
int cs_tree_add_id(struct cs_tree_builder *builder, uint64_t region, const struct cs_id *leaf_id,
                   uint64_t bytes, struct cs_error *err);

/* Marks the builder failed, so that all that is added later and the finish fail with ${error}; the
 * first failure stays. */
void cs_tree_set_failed(struct cs_tree_builder *builder, const struct cs_error *error);

/* 0, or the failure that the builder is marked with. */
int cs_tree_failure(const struct cs_tree_builder *builder, struct cs_error *err);

/* ---- what the pipeline of regions offers (region.c) ---- */

/* Waits for all regions that were put, and adds their leaves to their builders. */
int cs_region_drain(struct cs_writer *writer, struct cs_error *err);

/* The regions in flight of ${builder} are not added to it any more: it is about to be freed. */
void cs_region_forget(struct cs_writer *writer, struct cs_tree_builder *builder);

#endif
