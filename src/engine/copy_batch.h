/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_COPY_BATCH_H
#define BYRE_ENGINE_COPY_BATCH_H

#include "base/error.h"
#include "chunkstore.h"

/*
 * The content leaves of a tree on their way into another repository, some at a time: workers read
 * what they hold into the writer's buffers, in the order of the packs, while the writer's own
 * workers cut and hash what was read before. For one thread.
 */

enum { COPY_REGIONS = 8 }; /* of the writer's buffers that are held at a time */

struct copy_batch;

/* Reads from ${from}; takes its buffers and starts its workers. */
int copy_batch_new(struct copy_batch **batch, struct cs_store *from, struct error *err);
void copy_batch_free(struct copy_batch *batch);

/* Says to which tree the leaves go that are added from now on. Both are lent until all was put. */
void copy_batch_begin(struct copy_batch *batch, struct cs_writer *writer,
                      struct cs_tree_builder *builder);

/* Adds a leaf that is there already. Ascending, as the next. */
int copy_batch_add_known(struct copy_batch *batch, const struct cs_subtree *leaf,
                         struct error *err);

/* Adds ${region}, whose runs are those of ${content}, and which is taken over in any case. The
 * chunks of ${content} are still to be read. */
int copy_batch_add(struct copy_batch *batch, struct cs_region *region,
                   const struct cs_content *content, struct error *err);

/* Puts all that was added, and ends it. */
int copy_batch_end(struct copy_batch *batch, struct error *err);

/* Ends it where it is: gives back what is left of it. For after a failure, too. */
void copy_batch_drop(struct copy_batch *batch);

#endif
