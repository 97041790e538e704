/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_REPAIR_LOG_H
#define CS_REPAIR_LOG_H

#include "log_entry.h"

/* A repair of the log, between its parts. */

struct cs_log_repair {
    struct cs_store *store;
    const struct cs_repair_log_options *options;
    struct cs_state state;      /* as it could be saved so far */
    struct cs_log_position pos; /* behind the sound beginning */
    uint64_t last;              /* the highest number that there is */
    bool lost;                  /* something that no later entry makes up for */
    bool freed;                 /* somebody has condemned something since */
    uint64_t *numbers;          /* of lost entries, since then; ascending */
    size_t number_count;
};

void cs_log_repair_say(const struct cs_log_repair *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* As cs_log_load; with ${even_damaged} also where that shows damage, which the store then names. */
int cs_log_repair_load(struct cs_store *store, bool even_damaged, struct cs_error *err);

/* Whether a read that failed with ${rc} and ${err} has shown damage: also a bad sector. */
bool cs_log_repair_is_damage(int rc, const struct cs_error *err);

/* Sees to it that epoch ${last} has begun: our own keyrings have those that lost entries began,
 * signed by a full key. CS_CORRUPT where one does not. */
int cs_log_repair_epochs(struct cs_log_repair *r, uint16_t last);

/* Saves into ${r->state} what lost entries may have said, from what lies in the folders: keys that
 * were removed, packs, segments, archives. */
int cs_log_repair_keys(struct cs_log_repair *r, struct cs_error *err);
int cs_log_repair_files(struct cs_log_repair *r, struct cs_error *err);
int cs_log_repair_archives(struct cs_log_repair *r, struct cs_error *err);

/* Takes off ${r->state} what is sure to have been ended by lost entries. */
int cs_log_repair_ended(struct cs_log_repair *r, struct cs_error *err);

#endif
