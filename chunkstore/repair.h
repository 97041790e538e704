/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_REPAIR_H
#define CS_REPAIR_H

#include "damage.h"
#include "index.h"
#include "pack_read.h"
#include "store.h"

/*
 * The inside of a repair, for repair*.c. Each step is an entry of the log that
 * makes things no worse if it is the last: first the index, then what is lost,
 * and what is relied on no more when all that is needed of it is known to be.
 */

struct cs_repair {
    struct cs_store *store;
    const struct cs_repair_options *options;
    struct cs_repair_result *result;
    struct cs_names dropped; /* packs that are gone or broken: nothing is found in them */
    uint64_t marked_through; /* what archives of entries before this number need is known */

    /* found by that: */
    struct cs_lost *lost; /* objects that are bad in a pack, or nowhere; some may be old news */
    size_t lost_count;
    size_t lost_said;        /* of those, the log has the first */
    struct cs_names nowhere; /* those that are nowhere, by the first half of their ids */
    struct cs_names bad;     /* those that are bad in a pack, in the same way */
    struct cs_frame_check frame;
};

struct cs_repairer {
    struct cs_repair *repair;
};

/* Tells the caller what comes next. */
void cs_repair_say(const struct cs_repair *repair, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- repair_index.c ---- */

/* Writes what packs hold and no sound segment names, and drops the segments that are damaged. */
int cs_repair_index(struct cs_repair *repair, struct cs_error *err);

/* ---- repair_need.c ---- */

/* Finds out what is lost of what archives need that came since the last call. */
int cs_repair_mark_archives(struct cs_repair *repair, struct cs_error *err);

#endif
