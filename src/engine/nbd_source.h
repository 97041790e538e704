/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_NBD_SOURCE_H
#define BYRE_ENGINE_NBD_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * An export of an NBD server, to be read. What the server says is trusted in
 * nothing but the bytes: what contradicts the protocol or itself is ERROR_CORRUPT,
 * and memory is bounded. For one thread, but for nbd_source_read_now. After a
 * failure all that is left to do is to close it; until then nothing touches the
 * buffers of reads that were begun.
 */

struct nbd_source;

/*
 * Connects to ${uri}, and asks for the size. ${cancel} (may be NULL, lent) becomes non-zero to stop
 * this and all later calls: ERROR_INTERRUPTED. ERROR_NOT_FOUND: there is no such export.
 */
int nbd_source_open(struct nbd_source **source, const char *uri, const volatile int *cancel,
                    struct error *err);

/* The same over ${fd}, connected to a server, which is taken over; ${name} is for messages. */
int nbd_source_open_socket(struct nbd_source **source, int fd, const char *name,
                           const volatile int *cancel, struct error *err);

void nbd_source_close(struct nbd_source *source); /* NULL is fine */

uint64_t nbd_source_size(const struct nbd_source *source); /* bytes */

/* What runs of data are multiples of, a power of two: at least 512 bytes, at most 64 KiB. */
uint32_t nbd_source_block(const struct nbd_source *source);

/* Before anything is read: with the server's dirty bitmap ${bitmap} (NULL: none) where it offers
 * one, which ${*offered} tells. Only the first time counts. */
int nbd_source_begin(struct nbd_source *source, const char *bitmap, bool *offered,
                     struct error *err);

/*
 * The first stretch from ${at} on, before ${end}, that is not known to read as zeros: ${*begin} is
 * ${end} where there is none. Where the server does not tell, all is one stretch. It may end before
 * the data does.
 */
int nbd_source_next_data(struct nbd_source *source, uint64_t at, uint64_t end, uint64_t *begin,
                         uint64_t *stop, struct error *err);

/* The same for what the bitmap, which was offered, has as dirty. */
int nbd_source_next_dirty(struct nbd_source *source, uint64_t at, uint64_t end, uint64_t *begin,
                          uint64_t *stop, struct error *err);

/* Begins to read ${length} bytes at ${offset}, both multiples of the block size but for the end of
 * the export, to ${to}, which is the source's until nbd_source_finish has returned. */
int nbd_source_read(struct nbd_source *source, uint64_t offset, size_t length, uint8_t *to,
                    struct error *err);
int nbd_source_finish(struct nbd_source *source, struct error *err);

/* Reads ${length} bytes at ${offset}, whatever these are; from any thread, at any time. */
int nbd_source_read_now(struct nbd_source *source, uint64_t offset, size_t length, uint8_t *to,
                        struct error *err);

#endif
