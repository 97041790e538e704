/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_NEEDS_H
#define BYRE_ENGINE_NEEDS_H

#include "engine/engine.h"

/* All objects that an archive needs, for whoever frees, repairs or relies on them: past what is
 * missing, so that the rest is told, too. */

struct needs {
    struct cs_store *store;
    /* Called for each object, before what is in it is looked at. ${*fresh}: what is below it has to
     * be gone into; NULL where nothing is. */
    int (*need)(void *arg, const struct cs_id *id, bool *fresh, struct cs_error *err);
    /* Called for one that is missing or damaged, after that; ${err} says why. Where it is not 0 the
     * walk ends with that. ${id} is NULL where something says of a tree what cannot be. */
    int (*missing)(void *arg, const struct cs_id *id, struct cs_error *err);
    void *arg;
    const volatile int *cancel; /* NULL, or: becomes non-zero to stop */
};

/* Its codes are those of the store, for it is called from there. */
int needs_walk(const struct needs *needs, const struct cs_id *archive, struct cs_error *err);

/* Whether all of it is there and can be relied on, as far as its metadata and the index tell. What
 * is not is told in ${why} (may be NULL). */
int needs_are_met(struct cs_store *store, const struct cs_id *archive, const volatile int *cancel,
                  bool *met, struct error *why, struct error *err);

#endif
