/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_WRITER_H
#define CS_WRITER_H

#include "pending.h"
#include "stream.h"

/* The inside of a run. */

struct cs_regions; /* region.c's buffers */

struct cs_writer {
    struct cs_store *store;
    bool dry_run;
    struct cs_pool *pool;
    struct cs_worker *workers;
    struct cs_stream *data;
    struct cs_stream *meta;
    struct cs_regions *regions;
    struct cs_pending pending;
    struct cs_name *packs; /* that pending's entries name */
    uint32_t pack_count;
    uint32_t data_pack; /* the open one of each class, in packs */
    uint32_t meta_pack;
    struct cs_id *used; /* archives whose subtrees were taken over */
    size_t used_count;
    uint64_t condemn_entries; /* that the log had when all that is relied on was last looked up */
    uint64_t lost_entries;    /* that it had when the run began */
    struct cs_counters counters;
    uint64_t unpublished;   /* bytes of new objects since the last publish */
    int64_t published_at;   /* monotonic seconds */
    struct cs_error failed; /* the first failure to store: what was put is not whole any more */
};

/* Stores an object unless it is there; ${*fresh} (may be NULL) tells. */
int cs_writer_store(struct cs_writer *writer, enum cs_class class, uint8_t type,
                    const struct cs_id *id, const void *data, size_t len, bool *fresh,
                    struct cs_error *err);

/* Stores the chunk ${id} of a region, and counts it. */
int cs_writer_store_chunk(struct cs_writer *writer, const struct cs_id *id, const void *data,
                          size_t len, struct cs_error *err);

/* A run that has failed to store something publishes and commits nothing more: packs that lack a
 * frame must not come into the log. Returns that failure, or 0. */
int cs_writer_failure(const struct cs_writer *writer, struct cs_error *err);

/* Keeps a failure ${rc} with ${e} for that, and hands it on. */
int cs_writer_keep_failure(struct cs_writer *writer, int rc, const struct cs_error *e,
                           struct cs_error *err);

int64_t cs_writer_seconds(void); /* of a clock that only goes on */

/* Publishes where much has been stored since the last time; so that an interrupted run is not lost.
 */
int cs_writer_publish_if_due(struct cs_writer *writer, struct cs_error *err);

int cs_regions_new(struct cs_writer *writer, unsigned lent, struct cs_error *err);
void cs_regions_free(struct cs_regions *regions);

#endif
