/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FILE_IDENTITY_H
#define BYRE_ENGINE_FILE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The file system that a file lies on, so that file system and inode together
 * tell the file from all others, also in weeks and after a reboot.
 */

struct file_system {
    uint64_t type; /* f_type of statfs */
    /* Given to the caller; NULL: none that can be trusted, so that files are told by path:
     * "uuid:HEX", of the file system (btrfs: and subvolume); "disk:UUID", by the block device; or
     * "boot:BOOT:FSID", until the next boot. */
    char *id;
};

/* Describes the file system of ${fd}, which ${name} stands for in messages. */
int file_system_of(int fd, const char *name, struct file_system *fs, struct error *err);

/* Whether every write to a file on a file system of ${type} moves its ctime, which nobody can set.
 */
bool file_system_has_ctime(uint64_t type);

#endif
