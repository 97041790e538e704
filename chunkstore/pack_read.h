/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PACK_READ_H
#define CS_PACK_READ_H

#include "index.h"
#include "pack.h"
#include "store.h"

/* Reading packs: trailers, frames, objects; with caches of bounded size. */

struct cs_pack { /* one whose trailer has been read */
    struct cs_name name;
    uint64_t size; /* bytes */
    struct cs_pack_header header;
    struct cs_trailer trailer;
};

/* Reads and verifies header, trailer and footer. To be cleared. */
int cs_pack_load(struct cs_pack *pack, struct cs_store *store, const struct cs_name *name,
                 struct cs_error *err);
void cs_pack_clear(struct cs_pack *pack);

/* Reads frame ${n} as stored into ${sealed} (frame->stored bytes). */
int cs_pack_read_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                       uint8_t *sealed, struct cs_error *err);

/* Opens and expands frame ${n} into ${plain} (frame->plain bytes); ${sealed} is not preserved.
 * CS_AUTH where the data key is missing. */
int cs_pack_open_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                       uint8_t *sealed, uint8_t *plain, struct cs_error *err);

/* What it takes to open a frame, so that a worker can: made by the store's thread. */
struct cs_frame_opener {
    char file[64]; /* the pack's, for messages */
    struct cs_frame frame;
    uint32_t number;
    uint8_t key[CS_KEY_SIZE];
    uint8_t ad[CS_FRAME_AD_SIZE];
};

/* Of frame ${n}. CS_AUTH where the data key is missing. To be wiped. */
int cs_frame_opener_make(struct cs_frame_opener *opener, struct cs_store *store,
                         const struct cs_pack *pack, uint32_t n, struct cs_error *err);

/* Opens ${sealed} (frame.stored bytes, which are not preserved) and expands it into ${plain}
 * (frame.plain bytes). Pure: safe from any thread. */
int cs_frame_open(const struct cs_frame_opener *opener, uint8_t *sealed, uint8_t *plain,
                  struct cs_error *err);

struct cs_frame_check { /* holding one frame against all that is known of it */
    bool *bad;          /* of each object in the frame: proven not to be what its id says */
    bool unopened;      /* held against its checksum only */
    uint8_t *sealed;    /* room for the work */
    uint8_t *plain;
    struct cs_identifier *identifier;
    struct cs_backend *backend; /* what cs_frame_check_begin has found out */
    const struct cs_pack *pack;
    uint32_t number;
    struct cs_frame_opener opener;
    bool no_key; /* for data */
    int key_rc;  /* of making the opener */
    struct cs_error key_err;
};

/* On failure too, cs_frame_check_clear is due. */
int cs_frame_check_init(struct cs_frame_check *check, const struct cs_store *store,
                        struct cs_error *err);
void cs_frame_check_clear(struct cs_frame_check *check);

/* Says that frame ${n} of ${pack} comes next, which is lent until it was run. By the store's
 * thread. */
void cs_frame_check_begin(struct cs_frame_check *check, struct cs_store *store,
                          const struct cs_pack *pack, uint32_t n);

/* Reads that frame, and holds it against checksum, seal and ids. CS_CORRUPT: some of its objects
 * are bad. After any other failure nothing is known. Safe from any thread. */
int cs_frame_check_run(struct cs_frame_check *check, struct cs_error *err);

/* ---- objects, by way of the store's caches (read.c) ---- */

/* The pack ${name}, lent by the cache until it is asked for others. */
int cs_read_pack(struct cs_store *store, const struct cs_name *name, const struct cs_pack **pack,
                 struct cs_error *err);

/* What the trailer says of the object at ${where}, without reading it. CS_NOT_FOUND: it is not
 * ${id}. */
int cs_read_place(struct cs_store *store, const struct cs_location *where, const struct cs_id *id,
                  enum cs_class *class, uint8_t *type, struct cs_error *err);

/* The ids of the pieces of the large object ${id}, for the caller to free. */
int cs_read_list(struct cs_store *store, const struct cs_id *id, struct cs_id **pieces,
                 size_t *count, struct cs_error *err);

struct cs_pack_cache;
void cs_pack_cache_free(struct cs_pack_cache *cache);

#endif
