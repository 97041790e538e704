/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_STREAM_H
#define CS_STREAM_H

#include "compress.h"
#include "fingerprint.h"
#include "identify.h"
#include "pack_write.h"
#include "pool.h"

/*
 * Objects of one class on their way into packs: gathered in frames, compressed
 * and sealed by workers, appended in order.
 */

struct cs_worker { /* what each worker keeps */
    struct cs_compressor *compressor;
    struct cs_fingerprinter *fingerprinter;
    struct cs_identifier *identifier;
    uint8_t *scratch; /* where regions are compared */
};

struct cs_stream;

struct cs_place_in_pack {
    struct cs_name pack;
    uint16_t frame;
    uint16_t slot;
    bool new_pack; /* the first object of this pack */
};

/* ${level} as in cs_writer_options. */
int cs_stream_new(struct cs_stream **stream, struct cs_store *store, struct cs_pool *pool,
                  struct cs_worker *workers, enum cs_class class, int level, bool dry_run,
                  struct cs_error *err);
void cs_stream_free(struct cs_stream *stream); /* abandons unfinished packs */

/* Takes a copy of the object, and says where it will be. */
int cs_stream_put(struct cs_stream *stream, const struct cs_id *id, uint8_t type, const void *data,
                  size_t len, struct cs_place_in_pack *place, struct cs_error *err);

/* Ends the pack that is open; it is flushed beside what comes next, which may be another. */
int cs_stream_end(struct cs_stream *stream, struct cs_error *err);

/* The same, and waits until all packs are durable but for their folder. */
int cs_stream_finish(struct cs_stream *stream, struct cs_error *err);

/* The lowest and the highest level of the frames so far; 0 where none was compressed. */
void cs_stream_levels(const struct cs_stream *stream, int *lowest, int *highest);

/* The packs finished so far, lent; and forgetting them. */
const struct cs_state_pack *cs_stream_packs(const struct cs_stream *stream, size_t *count);
void cs_stream_forget_packs(struct cs_stream *stream);

#endif
