/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_DIRTY_BITS_H
#define BYRE_ENGINE_DIRTY_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/record.h"
#include "qcow2/bitmap.h"

/*
 * A bitmap of a disk in memory: bit i, the lowest of a byte first, is set where
 * something in the i-th granule was written. What a clear bit proves is for
 * those to say who ask.
 */

/* Granules; a bitmap of more (64 MiB) is not used. */
#define DIRTY_BITS_MAX (UINT64_C(8) * (64 << 20))

struct dirty_bits {
    uint8_t *bits;  /* all behind ${count} are clear */
    uint64_t count; /* granules that cover the disk */
    unsigned granularity_bits;
};

/* The bits of ${bitmap} of ${image}. ERROR_UNSUPPORTED: there are more than DIRTY_BITS_MAX. ${bits}
 * is to be cleared, also on failure. */
int dirty_bits_from_image(struct dirty_bits *bits, struct qcow2_image *image,
                          const struct qcow2_bitmap *bitmap, struct error *err);

/*
 * The bits of ${bitmap}, one of ${layer}'s record, which was stored as metadata if it is byre's
 * own; else a key that reads data is needed. Errors as before; ERROR_CORRUPT where it does not
 * cover the disk.
 */
int dirty_bits_from_record(struct dirty_bits *bits, struct cs_store *store,
                           const struct record_layer *layer, const struct record_bitmap *bitmap,
                           struct error *err);

void dirty_bits_clear(struct dirty_bits *bits);

/* Whether all that is set in ${b} is set in ${a}; never where their granules are not the same. */
bool dirty_bits_superset(const struct dirty_bits *a, const struct dirty_bits *b);

/* Whether no granule that has one of the ${length} bytes at ${offset} is set. What lies behind the
 * last granule is not clean: nobody keeps track of it. */
bool dirty_bits_clean(const struct dirty_bits *bits, uint64_t offset, uint64_t length);

#endif
