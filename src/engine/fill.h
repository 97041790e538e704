/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FILL_H
#define BYRE_ENGINE_FILL_H

#include "base/reads.h"
#include "chunkstore.h"
#include "qcow2/image.h"

/* Reads of a source that a worker of the store does when it looks at a region. */

struct fill;

/* Begins what is to be read for ${region}: ${reads}, prepared, which are taken over; ${*reads} is
 * empty then. */
int fill_new(struct fill **fill, const struct cs_region *region, struct reads *reads,
             struct error *err);

/* A compressed cluster of ${image}, which is lent, at ${offset} of the region: decoded when it is
 * asked for. In ascending order. */
int fill_add_stream(struct fill *fill, const struct qcow2_image *image, uint32_t offset,
                    const struct qcow2_entry *entry, struct error *err);

/* Has ${region} read by ${*fill}; where there is nothing to be read, that is freed, and NULL then.
 * Where the region is put, the worker frees it; where it is not, it goes by fill_cancel. */
void fill_later(struct fill **fill, struct cs_region *region);
void fill_cancel(struct fill *fill);

#endif
