/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_WALK_H
#define BYRE_ENGINE_WALK_H

#include "engine/record.h"

/* All that the record of an archive names: the one list of it, for whoever checks or frees. */

enum walk_part {
    WALK_CONTENT,
    WALK_PLACEMENT,
    WALK_HEADER, /* the header cluster */
    WALK_CRYPTO, /* the LUKS area */
    WALK_TAIL,   /* of a raw data file */
    WALK_BITMAP,
    WALK_SIDE_FILE,
};

struct walk_at { /* where the walk is */
    enum walk_part part;
    const struct record_layer *layer; /* NULL for a side file */
    size_t index;                     /* of the view, the bitmap or the side file */
};

struct walk_visitor {
    /* Called for each tree and each blob; where it is not 0 the walk ends with that. ${where}: the
     * path of the layer or the name of the side file. ${layer}: NULL for a side file. */
    int (*tree)(void *arg, const struct cs_tree *tree, const struct record_layer *layer,
                const char *where, struct error *err);
    int (*blob)(void *arg, const struct record_blob *blob, const char *where, struct error *err);
    void *arg;
    struct walk_at *at;         /* NULL, or: set before each of these calls */
    const volatile int *cancel; /* NULL, or: becomes non-zero to stop */
};

int walk_record(const struct record_archive *record, const struct walk_visitor *visitor,
                struct error *err);

#endif
