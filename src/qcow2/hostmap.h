/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_HOSTMAP_H
#define BYRE_QCOW2_HOSTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Which clusters of a host file are taken, which of them are written, and where
 * there is room. A page of
 * it is made when a cluster of it is first taken, so a few clusters far apart
 * cost little, and no offset costs more than a few MiB.
 */

enum {
    HOSTMAP_MAX_CLUSTERS = 1 << 30, /* 64 TiB of 64 KiB clusters */
};

enum hostmap_use {
    HOSTMAP_FREE,
    HOSTMAP_STREAMS, /* compressed streams, which may leave it, and share it */
    HOSTMAP_FIXED,   /* something that must be here, and alone */
};

struct hostmap_page;

struct hostmap {
    struct hostmap_page **pages;
    size_t nb_pages;
    uint64_t limit;     /* clusters */
    uint64_t end;       /* behind the last taken cluster */
    uint64_t maybe_gap; /* no cluster below it is free */
};

/* Nothing is taken; no cluster from ${limit} on ever can be. */
void hostmap_init(struct hostmap *map, uint64_t limit);
void hostmap_clear(struct hostmap *map);

/* Takes ${n} clusters from ${first} on, taken already or not; FIXED is never taken back by STREAMS.
 * ERROR_UNSUPPORTED where they go past the limit. */
int hostmap_take(struct hostmap *map, uint64_t first, uint64_t n, enum hostmap_use use,
                 struct error *err);

enum hostmap_use hostmap_use(const struct hostmap *map, uint64_t cluster);

/* Whether ${cluster} was marked. */
bool hostmap_marked(const struct hostmap *map, uint64_t cluster);

/* Marks ${cluster}, which is taken: what it holds is in the file. */
void hostmap_mark(struct hostmap *map, uint64_t cluster);

/* Takes ${n} clusters behind the end for ${use}, and sets ${*first} to the first of them. */
int hostmap_append(struct hostmap *map, uint64_t n, enum hostmap_use use, uint64_t *first,
                   struct error *err);

/* Takes the lowest gap of ${n} clusters, or appends them, as FIXED; sets ${*first}. */
int hostmap_fill(struct hostmap *map, uint64_t n, uint64_t *first, struct error *err);

#endif
