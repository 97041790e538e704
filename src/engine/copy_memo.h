/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_COPY_MEMO_H
#define BYRE_ENGINE_COPY_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/*
 * What has become of the leaves and trees of one repository in another. Takes 56 bytes a slot,
 * twice as many slots as are used, and at most 56 MiB: the leaves of 2 TiB. What it has no room for
 * is merely copied again.
 */

struct copy_memo { /* all zero: empty */
    struct copy_memo_slot *slots;
    size_t count;
    size_t room; /* a power of two */
};

/* ${context}: what else than the bytes behind ${from} decides whether they are right there. */
void copy_memo_add(struct copy_memo *memo, const struct cs_id *from, uint64_t context,
                   const struct cs_id *to, uint64_t bytes);

/* Sets ${to} and ${bytes} where it is known. */
bool copy_memo_find(const struct copy_memo *memo, const struct cs_id *from, uint64_t context,
                    struct cs_id *to, uint64_t *bytes);

void copy_memo_clear(struct copy_memo *memo);

#endif
