/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_NBD_SOURCE_PARTS_H
#define BYRE_ENGINE_NBD_SOURCE_PARTS_H

#include <libnbd.h>
#include <pthread.h>

#include "engine/nbd_source.h"

/* What a connection is, for nbd_source.c, which has it, and nbd_extents.c, which asks by it. */

enum { NBD_IN_FLIGHT = 16 }; /* requests */

struct nbd_extent {
    uint64_t end;
    uint32_t flags;
};

/* What the server said last of one context: from ${from} on, without gaps. */
struct nbd_extents {
    const char *context; /* NULL: it is not told */
    uint64_t from;
    struct nbd_extent *list;
    size_t count;
    size_t next; /* where to go on looking */
    bool wrong;
};

/* What the end of a negotiation or of a question is told by. */
struct nbd_ending {
    bool there;
    int sys; /* 0: it went well */
};

struct nbd_source {
    /* Held wherever the server may be waited for: whoever waits takes all that comes, also for the
     * others, who must not go on waiting for it then. */
    pthread_mutex_t lock;
    struct nbd_handle *nbd;
    char *name;
    const volatile int *cancel;
    uint64_t size;
    uint32_t block;   /* what reads are multiples of */
    uint32_t request; /* bytes at most */
    struct nbd_extents allocation;
    struct nbd_extents dirty;
    char *bitmap_context;
    int64_t cookies[NBD_IN_FLIGHT]; /* of requests on their way */
    size_t in_flight;
    struct nbd_ending ending; /* of what is waited for; not on a stack, for it may end late */
    bool ready;               /* negotiated to the end */
    bool failed;
};

/* With the lock held. The connection is of no use any more; what libnbd said last is the reason. */
int nbd_source_fail(struct nbd_source *source, struct error *err);

/* It failed before. */
int nbd_source_has_failed(const struct nbd_source *source, struct error *err);

/* With the lock held: what tells ${source}->ending, and the wait for that. */
nbd_completion_callback nbd_source_expect_ending(struct nbd_source *source);
int nbd_source_wait_for_ending(struct nbd_source *source, struct error *err);

/* Frees what is kept of a context. */
void nbd_extents_clear(struct nbd_extents *extents);

#endif
