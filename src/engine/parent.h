/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_PARENT_H
#define BYRE_ENGINE_PARENT_H

#include "engine/engine.h"
#include "engine/record.h"
#include "engine/summary.h"

/*
 * Parents: for each layer of a run the newest archive, of any name, that holds
 * the same file. Found by what the log says of an archive's files, so that only
 * those that are chosen are read. Archives of others count only where a full key made them. For one
 * thread.
 */

struct parent {                           /* of one layer */
    const struct record_archive *archive; /* NULL: there is none */
    size_t position;                      /* of the layer in it */
    int64_t started_ns;                   /* when its run began, nanoseconds since 1970 */
    bool same_file;                       /* found by file system and inode, else by its path */
};

struct parents; /* holds the records */

/* Whether what ${archive} says is believed without a look at the data: the own key made it, or a
 * full one. Whoever may only append could say of others' files what is not so. */
int parent_is_trusted(struct cs_store *store, const struct cs_archive *archive, bool *trusted,
                      struct error *err);

/* What tells the file of a layer, whose file's facts are in ${layer}, on this machine, ${host}. */
void parent_tags(const struct cs_store *store, const struct record_layer *layer, const char *host,
                 struct summary_file *tags);

/*
 * Chooses the parents of the ${n} files that ${tags} tell: sets ${chosen}, lent by ${*parents}. An
 * archive that cannot be read, or is not whole, is nobody's parent, which the listener is told.
 */
int parents_choose(struct parents **parents, struct cs_store *store,
                   const struct summary_file *tags, size_t n, struct parent *chosen,
                   const struct engine_listener *listener, struct error *err);
void parents_free(struct parents *parents);

/* Makes ${*position}, of a layer in the parent's archive, that of the layer below it in its chain;
 * false where there is none. */
bool parent_below(const struct parent *parent, size_t *position);

/* The layer's record in the parent; NULL where there is no parent. */
const struct record_layer *parent_layer(const struct parent *parent);

#endif
