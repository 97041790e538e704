/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_COPY_LAYER_H
#define BYRE_ENGINE_COPY_LAYER_H

#include "engine/copy_batch.h"
#include "engine/copy_memo.h"
#include "engine/engine.h"
#include "engine/record.h"

/* What an archive's record names, from one repository into another. */

struct copy_run { /* what all archives share */
    struct cs_store *from;
    struct cs_store *to;
    const struct engine_listener *listener;
    struct cs_writer *writer; /* of ${to} */
    struct copy_memo memo;    /* of what is there, or is written by this writer */
    struct cs_id *used;       /* the archives that have what is there */
    size_t used_count;
    struct copy_batch *batch;
    struct cs_place *places; /* room for those of a region */
    uint64_t done;           /* bytes of data dealt with so far, of all archives */
    uint64_t total;
};

/* Stores the trees and blobs of ${layer}, and puts those of ${to} in their places in it. */
int copy_layer(struct copy_run *run, struct record_layer *layer, struct error *err);

/* The same for one blob of it, or of a side file. */
int copy_blob(struct copy_run *run, struct record_blob *blob, struct error *err);

/* Tells the memo what ${layer} has become in an earlier run, by its copy ${there}. Reads nodes
 * only, and nothing of what the memo has. */
int copy_learn(struct copy_run *run, const struct record_layer *layer,
               const struct record_layer *there, struct error *err);

#endif
