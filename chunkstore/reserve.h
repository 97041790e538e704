/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_RESERVE_H
#define CS_RESERVE_H

#include "bytes.h"
#include "store.h"

/*
 * The file `reserve` (FORMAT.md, section 2): space that only forgetting and pruning may use, so
 * that a full disk can always be freed.
 */

/* Writes a reserve of ${size} bytes that is wanted to have ${wanted}. 0: none. */
int cs_reserve_write(struct cs_store *store, uint64_t size, uint64_t wanted, struct cs_error *err);

/* Deletes the reserve. Sets ${*given}: whether there was one to give up. */
int cs_reserve_give_up(struct cs_store *store, bool *given, struct cs_error *err);

/* Puts back as much of it as there is room for. What fails here is tried again the next time. */
void cs_reserve_put_back(struct cs_store *store);

/* cs_log_append_if for whoever frees space: on a full disk the reserve is given up for it. */
int cs_reserve_append(struct cs_store *store, const struct cs_buf *payload,
                      int (*holds)(void *arg, struct cs_error *err), void *arg,
                      struct cs_error *err);

#endif
