/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_STORE_H
#define CS_STORE_H

#include "backend.h"
#include "chunker.h"
#include "chunkstore.h"
#include "config.h"
#include "identify.h"
#include "pool.h"
#include "slot.h"
#include "state.h"

/* The inside of a store. */

struct cs_epoch {  /* the keys of one epoch, and what is derived from them */
    bool verified; /* the issuer's signature and the log's data public key hold */
    struct cs_keyring keyring;
    uint8_t raw[CS_KEYRING_SIZE]; /* the file, for verifying */
    uint8_t log_key[CS_KEY_SIZE];
    uint8_t frame_key[CS_KEY_SIZE]; /* of metadata */
    uint8_t trailer_key[CS_KEY_SIZE];
    uint8_t segment_key[CS_KEY_SIZE];
};

struct cs_log_position {
    uint64_t next;              /* number of the entry to come */
    uint8_t head[CS_HASH_SIZE]; /* hash of the last one */
    uint64_t last_checkpoint;   /* number; 0: none */
    uint64_t entries_since;     /* entries and bytes folded since a checkpoint of our own */
    uint64_t bytes_since;
    bool
        void_head; /* what was the newest entry when it was loaded is a reset that does not count */
};

struct cs_store {
    struct cs_backend *backend;
    char *path;
    char *cache_dir; /* of this repository; NULL: none */
    char *state_dir; /* of this repository; NULL: none */
    unsigned threads;
    const volatile int *cancel;

    struct cs_config config;
    uint8_t config_hash[CS_HASH_SIZE];
    struct cs_identity identity;
    struct cs_pins pins;
    struct cs_epoch **epochs; /* NULL where not loaded */
    size_t epoch_count;

    struct cs_state state;
    struct cs_log_position position;
    char *damage;         /* why the log could not be folded, or NULL */
    bool log_loaded;      /* from here on every keyring is verified as it is loaded */
    bool head_remembered; /* outside: the head is the one that was seen before */
    uint64_t durable;     /* entries before this one are known to be, with their folders */
    char *rollback;       /* what is wrong with the head, or NULL */

    struct cs_chunker chunker;
    struct cs_identifier *identifier; /* of the owner's thread; workers have their own */
    struct cs_index *index;           /* made when first asked for */
    struct cs_pack_cache *packs;      /* the same */
    unsigned writers;                 /* runs that are open */
    uint64_t reserve_wanted;          /* bytes; the reserve was given up and is to be put back */
    struct cs_names unreadable; /* packs that are missing, or of which something was asked for and
                                   could not be read: nothing new relies on them */
};

/* The keys of ${epoch}; loads its keyring where it was not needed before. Lent. */
int cs_store_epoch(struct cs_store *store, uint16_t epoch, const struct cs_epoch **keys,
                   struct cs_error *err);

/* The same for whoever reads ${object}, which says that it is of that epoch: failures name it. */
int cs_store_epoch_of(struct cs_store *store, uint16_t epoch, const char *object,
                      const struct cs_epoch **keys, struct cs_error *err);

/* Verifies the keyrings loaded so far against the log: issuer, role, data public key. */
int cs_store_verify_epochs(struct cs_store *store, struct cs_error *err);

/* Wipes the keys of all epochs. */
void cs_store_free_epochs(struct cs_store *store);

/* CS_AUTH unless the log, as far as it was folded, has the slot that was opened among the keys. */
int cs_store_check_own_slot(const struct cs_store *store, struct cs_error *err);

/* CS_CANCELLED where the caller wants to stop. */
int cs_store_cancelled(const struct cs_store *store, struct cs_error *err);

/* Whether the caller wants to stop. For any thread. */
bool cs_store_is_stopping(const struct cs_store *store);

/* The keys that are the same in every epoch. */
const struct cs_keyring *cs_store_keys(const struct cs_store *store);

/* One more identifier for ids as they are here. */
int cs_store_identifier(const struct cs_store *store, struct cs_identifier **identifier,
                        struct cs_error *err);

static inline uint16_t cs_store_current_epoch(const struct cs_store *store)
{
    return (uint16_t)(store->state.epoch_count - 1);
}

#endif
