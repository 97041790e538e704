/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_OPENER_H
#define BYRE_QCOW2_OPENER_H

#include <stdbool.h>
#include <sys/stat.h>

/* Who has a file open, as far as /proc tells. */

struct opener {
    char pid[24]; /* "": none was found */
    char program[24];
};

/* Finds a process that has ${file} open for writing: a block device by its number, whatever the
 * node, anything else by file system and inode. Returns whether all processes that /proc shows
 * could be looked at, up to the one found. */
bool opener_find_writer(const struct stat *file, struct opener *found);

#endif
