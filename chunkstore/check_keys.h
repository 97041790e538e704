/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CHECK_KEYS_H
#define CS_CHECK_KEYS_H

#include "state.h"
#include "store.h"

/* Verifies the slot of each key of ${state} that is not removed, and its keyrings. What is wrong
 * with a file goes to ${tolerate}; it ends where that does not return 0. */
int cs_check_keys(struct cs_store *store, const struct cs_state *state,
                  int (*tolerate)(void *arg, int rc, struct cs_error *err), void *arg,
                  struct cs_error *err);

#endif
