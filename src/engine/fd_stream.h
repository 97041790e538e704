/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FD_STREAM_H
#define BYRE_ENGINE_FD_STREAM_H

#include <stddef.h>

#include "base/error.h"

/*
 * Files and pipes at their own position. Where nobody reads or writes at the other end, ${idle} is
 * called several times a second; its failure stops.
 */

/* All ${len} bytes. */
int fd_stream_write(int fd, const char *name, const void *buf, size_t len,
                    int (*idle)(void *arg, struct error *err), void *arg, struct error *err);

/* Up to ${len} bytes; sets ${*got} to 0 only at the end. */
int fd_stream_read(int fd, const char *name, void *buf, size_t len, size_t *got,
                   int (*idle)(void *arg, struct error *err), void *arg, struct error *err);

#endif
