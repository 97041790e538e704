/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FD_STREAM_H
#define BYRE_ENGINE_FD_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Files and pipes at their own position. Where nobody reads or writes at the other end, ${idle} is
 * called several times a second; its failure stops.
 */

struct fd_stream {    /* to be written */
    int fd;           /* lent */
    int other_fd;     /* of the same pipe, for writes that do not block; -1: none */
    const char *name; /* in errors; lent */
    bool regular;
};

/* To be closed, which leaves ${fd} open. */
struct fd_stream fd_stream_open(int fd, const char *name);
void fd_stream_close(struct fd_stream *stream);

/* All ${len} bytes. */
int fd_stream_write(const struct fd_stream *stream, const void *buf, size_t len,
                    int (*idle)(void *arg, struct error *err), void *arg, struct error *err);

/* Up to ${len} bytes; sets ${*got} to 0 only at the end. */
int fd_stream_read(int fd, const char *name, void *buf, size_t len, size_t *got,
                   int (*idle)(void *arg, struct error *err), void *arg, struct error *err);

#endif
