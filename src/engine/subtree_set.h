/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_SUBTREE_SET_H
#define BYRE_ENGINE_SUBTREE_SET_H

#include "chunkstore.h"

/* Subtrees that were looked at, 24 bytes each: by the first bytes of the id, and the bytes that
 * they stand for. {0} is an empty set. */

enum { SUBTREE_WORDS = 3 };

struct subtree_set {
    uint64_t (*keys)[SUBTREE_WORDS];
    size_t count;
    size_t room; /* 0 or a power of two */
};

/* ${mix}: what else it was held against; with another it is another subtree. */
bool subtree_set_has(const struct subtree_set *set, const struct cs_subtree *at, uint64_t mix);

/* Adds one that is not in it. CS_NO_MEMORY. */
int subtree_set_add(struct subtree_set *set, const struct cs_subtree *at, uint64_t mix,
                    struct cs_error *err);

void subtree_set_clear(struct subtree_set *set);

#endif
