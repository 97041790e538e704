/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_IO_H
#define BYRE_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

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

/* The same with the bytes of ${n} buffers, end to end, fewer than 2^30; ${iov} is used up. */
int io_writev(int fd, const char *name, uint64_t offset, struct iovec *iov, size_t n,
              struct error *err);

enum { IO_DIRECT_ALIGN = 4096 }; /* bytes */

/*
 * Opens the file of ${fd} again, for writes that pass by the page cache: offset, length and memory
 * of each have to be multiples of IO_DIRECT_ALIGN. EINVAL says that the file wants more than that.
 * What is written must share no page with what is written in another way at that time. Returns a
 * descriptor for the caller to close, or -1 where the file has none.
 */
int io_open_direct(int fd);

/*
 * Finds the first stretch of data at or after ${from} and before ${end}: sets ${*begin} and
 * ${*stop}, both ${end} where there is none. What is between stretches is holes. Where the file
 * system knows none, all is data.
 */
int io_next_data(int fd, const char *name, uint64_t from, uint64_t end, uint64_t *begin,
                 uint64_t *stop, struct error *err);

/* Waits until the file ${path} is on the disk; of a folder, the names in it are. */
int io_sync(const char *path, struct error *err);

/* Waits until the name ${path} is on the disk, or that it is gone is. */
int io_sync_folder_of(const char *path, struct error *err);

/* Whether all ${len} bytes at ${buf} are zero. */
int io_is_zero(const void *buf, size_t len);

#endif
