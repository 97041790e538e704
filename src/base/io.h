/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_IO_H
#define BYRE_BASE_IO_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Whole reads and writes at an offset: EINTR and short transfers are gone on
 * with. ${name} is used in messages only. All are safe from any thread.
 */

/* Reads up to ${len} bytes at ${offset}; fewer only at the end of the file. Sets ${*got}. */
int io_read_some(int fd, const char *name, uint64_t offset, void *buf, size_t len, size_t *got,
                 struct error *err);

/* Reads exactly ${len} bytes at ${offset}; a shorter file is ERROR_CORRUPT. */
int io_read(int fd, const char *name, uint64_t offset, void *buf, size_t len, struct error *err);

/* Writes exactly ${len} bytes at ${offset}. */
int io_write(int fd, const char *name, uint64_t offset, const void *buf, size_t len,
             struct error *err);

/*
 * Finds the first stretch of data at or after ${from} and before ${end}: sets ${*begin} and
 * ${*stop}, both ${end} where there is none. What is between stretches is holes. Where the file
 * system knows none, all is data.
 */
int io_next_data(int fd, const char *name, uint64_t from, uint64_t end, uint64_t *begin,
                 uint64_t *stop, struct error *err);

/* Whether all ${len} bytes at ${buf} are zero. */
int io_is_zero(const void *buf, size_t len);

#endif
