/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_HEAD_H
#define CS_HEAD_H

#include "store.h"

/* The head of the log as last seen from this machine, in the state folder: by it a repository that
 * was rolled back, or has two histories, is noticed. */

/* Holds the log, as loaded, against the remembered head; sets store->rollback where it is older or
 * another. */
int cs_head_compare(struct cs_store *store, struct cs_error *err);

/*
 * Remembers the head as loaded, unless a rollback is on record. What fails here is no failure of
 * what was done: the head seen before stays remembered, and holds as well.
 */
void cs_head_remember(const struct cs_store *store);

/* The same for a head that was only read. Whoever wrote it may not have flushed it, or never will:
 * that comes first, for what a power cut takes back would look like a rollback. */
void cs_head_adopt(struct cs_store *store);

#endif
