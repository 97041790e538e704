/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_LAYER_H
#define BYRE_ENGINE_BACKUP_LAYER_H

#include "engine/backup_origin.h"
#include "engine/content.h"
#include "engine/engine.h"
#include "engine/parent.h"
#include "engine/record.h"
#include "qcow2/chain.h"

/* Storing one layer: its content and placement trees, and what its record says. */

struct backup_progress {
    const struct engine_listener *listener;
    uint64_t done; /* bytes of data dealt with so far, of all layers */
    uint64_t total;
};

struct backup_run { /* what all layers share */
    struct cs_store *store;
    struct cs_writer *writer;
    const struct engine_backup_options *options;
    struct engine_backup_result *result; /* the counters of what is read are added to */
    struct backup_progress *progress;
    _Atomic uint64_t
        *read_later; /* data bytes that workers have read; lent until the writer ends */
};

/* Fills ${record} with what is known of the file of ${layer}: paths, stat, file system; or with
 * what ${origin} (NULL: none) says; and with what ${content} (NULL: byre reads it) tells, where
 * ${bitmap} (may be NULL) is the server's that is empty since this backup. */
int backup_layer_describe(const struct layer *layer, const struct content *content,
                          const char *bitmap, const struct backup_origin *origin,
                          struct record_layer *record, struct error *err);

/*
 * Stores ${layer}, which ${content} (NULL: byre) reads, and whose ${record} is described, and fills
 * that but for its id and placed path.
 * ${parent}: of this layer; ${below_frozen}: nothing was written to what lies
 * below it since the parent.
 * ERROR_CHANGED where the file became shorter meanwhile.
 */
int backup_layer(struct backup_run *run, const struct layer *layer, struct content *content,
                 const struct parent *parent, bool below_frozen, struct record_layer *record,
                 struct error *err);

#endif
