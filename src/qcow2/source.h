/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_SOURCE_H
#define BYRE_QCOW2_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

/*
 * One file of a chain, a layer or a data file: which one a name means, opened,
 * locked, and held against what it was. Only chain.c, data_file.c and
 * backing_name.c use it.
 */

/* ${name} as seen from the folder part of ${from}, or from the working directory where ${from} is
 * NULL, given to the caller. Symlinks are left to the kernel. NULL with errno on failure. */
char *source_resolve(const char *from, const char *name);

/* Whether ${name} is no path for QEMU: a colon before the first slash. */
bool source_has_protocol(const char *name);

bool source_same_file(const struct stat *a, const struct stat *b);

/* Opens the regular file or block device ${path} for reading; anything else is ERROR_UNSUPPORTED.
 * Sets ${*fd}, also where only a later step failed: it is the caller's to close. */
int source_open(const char *path, int *fd, struct stat *st, struct error *err);

/*
 * Locks and flushes what source_open opened, and sets what holds from then on: ${*st}, ${*size} and
 * ${*real_path}, given to the caller. ${used_as_base} may be NULL, see lock_for_reading. A block
 * device whose writers cannot be ruled out is taken only with ${assume_stopped}.
 */
int source_lock(const char *path, int fd, bool assume_stopped, bool *used_as_base, struct stat *st,
                uint64_t *size, char **real_path, struct error *err);

/* ERROR_CHANGED where the file behind ${fd} or ${path} is not what source_lock said. */
int source_verify(const char *path, int fd, const struct stat *was, uint64_t was_size,
                  struct error *err);

#endif
