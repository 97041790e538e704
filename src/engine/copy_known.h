/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_COPY_KNOWN_H
#define BYRE_ENGINE_COPY_KNOWN_H

#include "engine/copy_layer.h"

/* What was copied before, in this run or another. */

/* Finds the copy of ${source}, whose nonce is ${nonce}, by somebody who is believed: tells in
 * ${*found}, and sets ${id}. */
int copy_find(struct copy_run *run, const struct cs_archive *source, const char *nonce,
              struct cs_id *id, bool *found, struct error *err);

/* Sets ${hex} to the copy of the archive ${parent} (hex digits, or ""); "" where there is none. */
int copy_find_parent(struct copy_run *run, const char *parent, char hex[CS_ID_HEX],
                     struct error *err);

/* Tells the memo what is known from the newest archive of the same name and host before ${source}
 * that was copied: it has most of what is in that one. One that is damaged is of no use, but no
 * hindrance. */
int copy_learn_earlier(struct copy_run *run, const struct cs_archive *source, struct error *err);

/* Says that the memo tells of what the archive ${id} has, or is about to; to the writer, too. */
int copy_use(struct copy_run *run, const struct cs_id *id, struct error *err);

/* Says so again to a new writer; or forgets, where one of them is not there any more. */
int copy_use_again(struct copy_run *run, struct error *err);

/* Forgets all that the memo tells. */
void copy_forget(struct copy_run *run);

bool copy_is_live(const struct cs_store *store, const struct cs_id *id);

#endif
