/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_READS_H
#define BYRE_BASE_READS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Reads of one file that are described by one thread and done by another, and
 * leave the page cache of the host as it was: what these reads brought in, and
 * nothing else, is dropped after them.
 */

/* A file's pages: only to ask which are in the cache. Zeroes: none, and then nothing is dropped. */
struct reads_pages {
    void *map;
    uint64_t size; /* bytes of the file */
};

struct reads {
    int fd;           /* lent, as is the name, until they are run */
    const char *name; /* for messages */
    size_t slack;     /* fewer than so many bytes may be missing at the end of the file; zeros */
    struct reads_piece {
        uint64_t from; /* in the file */
        uint8_t *to;
        size_t len;
    } * pieces;
    size_t count;
    size_t room;
    struct reads_stretch {
        uint64_t from; /* whole pages */
        uint64_t end;
    } * absent; /* what was not in the cache */
    size_t absent_count;
    size_t absent_room;
};

/* Maps the ${size} bytes of the file behind ${fd}; where that fails there are none. From then on
 * the kernel reads nothing ahead by itself: what reads_prepare asks for is more to the point. */
void reads_pages_open(struct reads_pages *pages, int fd, uint64_t size);
void reads_pages_close(struct reads_pages *pages);

/* Adds ${len} bytes at ${from}, which are to come to ${to} (NULL: these are only expected to be
 * read by other means, and are never run). */
int reads_add(struct reads *reads, uint64_t from, uint8_t *to, size_t len, struct error *err);

/* Once all are added: puts them in the order of the file, and has the kernel begin to read what is
 * not in the cache. */
int reads_prepare(struct reads *reads, const struct reads_pages *pages, struct error *err);

/* Does them all, in any thread; only once. ERROR_CORRUPT where the file ends before. */
int reads_run(const struct reads *reads, struct error *err);

/* Drops from the cache what reads_prepare did not find there; reads_run has done so. */
void reads_drop(const struct reads *reads);

void reads_clear(struct reads *reads);

#endif
