/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_READS_H
#define BYRE_BASE_READS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Reads of one file that are described by one thread and done by another, in
 * what order and parts that likes, and leave the page cache of the host as it
 * was: what these reads brought in, and nothing else, is dropped after them.
 */

/* A file's pages: only to ask which are in the cache. Zeroes: none, and then nothing is dropped. */
struct reads_pages {
    void *map;
    uint64_t size; /* bytes of the file */
};

struct reads {
    int fd;           /* lent until all is done, as is all below */
    const char *name; /* for messages */
    size_t slack;     /* fewer than so many bytes may be missing at the end of the file; zeros */
    const struct reads_pages *pages; /* of the file; NULL: the cache is not looked at */
    _Atomic uint64_t *count_bytes;   /* NULL, or: has the bytes that are read added */
    struct reads_piece {
        uint64_t from; /* in the file */
        uint8_t *to;   /* its place in memory */
        size_t len;
        bool spare;
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

/* Adds ${len} bytes at ${from}, whose place is ${to} (NULL: these are only expected to be read by
 * other means, and are never brought). */
int reads_add(struct reads *reads, uint64_t from, uint8_t *to, size_t len, struct error *err);

/* The same of bytes that will mostly not be asked for: nothing is done about them before. */
int reads_add_spare(struct reads *reads, uint64_t from, uint8_t *to, size_t len, struct error *err);

/* Once all are added: has the kernel begin to read what is not in the cache. */
int reads_prepare(struct reads *reads, struct error *err);

/*
 * Brings the ${len} bytes whose place is ${place} to ${to}, which may be that; what no piece has is
 * there already. For any thread, one at a time. ERROR_CORRUPT where the file ends before.
 */
int reads_bring(const struct reads *reads, const uint8_t *place, size_t len, uint8_t *to,
                struct error *err);

/* Reads up to ${len} bytes at ${from}, which are no piece's, as if they were spare; ${*got} tells
 * how many there are. */
int reads_beside(const struct reads *reads, uint64_t from, uint8_t *to, size_t len, size_t *got,
                 struct error *err);

/* Drops from the cache what reads_prepare did not find there. */
void reads_drop(const struct reads *reads);

void reads_clear(struct reads *reads);

#endif
