/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_SCATTER_H
#define BYRE_ENGINE_SCATTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chunkstore.h"

/*
 * Chunks on their way to where their bytes belong in a file: collected region by region, as many
 * as there is room for, then read in the order of the repository and written by its workers. What
 * nobody puts is left as it is: a hole. For one thread; regular files, or memory.
 */

struct scatter;

struct scatter_target {
    int fd;           /* lent; an empty file */
    const char *name; /* lent; for messages */
    uint8_t *memory;  /* lent; not NULL: instead of a file */
    bool holes;       /* also where the data has 4 KiB of zeros, at a multiple of that */
    /* Large parts may pass by the page cache. Only where no byte of the file is put twice: two
     * workers would have the same page, one of them in the cache. */
    bool direct;
    /* Called when ${bytes} more are where they belong; a failure stops. */
    int (*progress)(void *arg, uint64_t bytes, struct error *err);
    void *arg;
};

int scatter_new(struct scatter **scatter, struct cs_fetch *fetch,
                const struct scatter_target *target, struct error *err);
void scatter_free(struct scatter *scatter);

/* The region whose bytes come next: ${content} is lent until scatter_end. */
void scatter_begin(struct scatter *scatter, const struct cs_content *content);

/* ${len} bytes at ${at} of it go to ${offset} of the file. Ascending, not overlapping in the
 * region.
 */
int scatter_put(struct scatter *scatter, size_t at, size_t len, uint64_t offset, struct error *err);

/* Takes over what is wanted of the region; where there is no room for another, writes everything;
 * to memory that is left to the caller. */
int scatter_end(struct scatter *scatter, struct error *err);

/* Writes everything. */
int scatter_flush(struct scatter *scatter, struct error *err);

/* The same while something else is done: begins it; goes on, with ${wait} after waiting for
 * something. ${*more} is false when all is written, or failed. */
int scatter_start(struct scatter *scatter, struct error *err);
int scatter_step(struct scatter *scatter, bool wait, bool *more, struct error *err);

/* Bytes that were put so far; bytes written, where not all of it is holes. */
uint64_t scatter_put_bytes(const struct scatter *scatter);
uint64_t scatter_written(const struct scatter *scatter);

#endif
