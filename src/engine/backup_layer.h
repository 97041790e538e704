/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_LAYER_H
#define BYRE_ENGINE_BACKUP_LAYER_H

#include "engine/engine.h"
#include "engine/record.h"
#include "qcow2/chain.h"

/* Storing one layer: its content and placement trees, and what its record says. */

struct backup_progress {
    const struct engine_listener *listener;
    uint64_t done; /* bytes of data stored so far, of all layers */
    uint64_t total;
};

/*
 * Stores ${layer} through ${writer} and fills ${record} but for its id and placed path. Adds the
 * bytes read to ${bytes_read} and
 * ${bytes_metadata_read}. ERROR_CHANGED where the file became shorter meanwhile.
 */
int backup_layer(struct cs_store *store, struct cs_writer *writer, const struct layer *layer,
                 struct backup_progress *progress, struct record_layer *record,
                 uint64_t *bytes_read, uint64_t *bytes_metadata_read, struct error *err);

#endif
