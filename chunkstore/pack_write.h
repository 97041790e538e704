/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PACK_WRITE_H
#define CS_PACK_WRITE_H

#include "pack.h"
#include "store.h"

/* Writing one pack: sealed frames in their order, then trailer and footer. For one thread. */

struct cs_pack_writer;

int cs_pack_writer_open(struct cs_pack_writer **writer, struct cs_store *store, enum cs_class class,
                        bool dry_run, struct cs_error *err);

/* What sealing a frame needs: the key, and the pack as its origin. */
void cs_pack_writer_seal(const struct cs_pack_writer *writer, uint8_t key[CS_KEY_SIZE],
                         struct cs_origin *origin);

const struct cs_name *cs_pack_writer_name(const struct cs_pack_writer *writer);
uint64_t cs_pack_writer_size(const struct cs_pack_writer *writer); /* bytes so far */

/*
 * Appends a sealed frame; ${frame} has its lengths, codec, checksum and count of objects, and its
 * number must be the next.
 */
int cs_pack_writer_add(struct cs_pack_writer *writer, const struct cs_frame *frame,
                       const uint8_t *sealed, const struct cs_object *objects,
                       struct cs_error *err);

/* Appends a frame as it is in another pack of this class; ${frame} has its number in ${origin}. */
int cs_pack_writer_move(struct cs_pack_writer *writer, const struct cs_frame *frame,
                        const struct cs_origin *origin, const uint8_t *sealed,
                        const struct cs_object *objects, struct cs_error *err);

/* Whether a frame of ${stored} bytes and ${objects} objects would make it larger than packs are. */
bool cs_pack_writer_full(const struct cs_pack_writer *writer, uint32_t stored, uint16_t objects);

/* Writes the end of the pack, and begins to flush it; only closing it may follow. */
int cs_pack_writer_end(struct cs_pack_writer *writer, struct cs_error *err);

/* Ends the pack unless that is done, waits until it is durable but for its folder, and describes
 * it. Frees ${writer}, also on failure. */
int cs_pack_writer_close(struct cs_pack_writer *writer, struct cs_state_pack *pack,
                         struct cs_error *err);
void cs_pack_writer_abandon(struct cs_pack_writer *writer);

#endif
