/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FILL_H
#define BYRE_ENGINE_FILL_H

#include "base/reads.h"
#include "chunkstore.h"

/*
 * Has a worker of the store do ${reads}, prepared, before it looks at ${region}. They are taken
 * over, and ${*reads} is empty then. Where the region is put, the worker frees them; where it is
 * not, they go by fill_cancel, which takes ${*handle} (NULL where there is nothing to be read).
 */
struct fill;
int fill_later(struct cs_region *region, struct reads *reads, struct fill **handle,
               struct error *err);
void fill_cancel(struct fill *handle);

#endif
