/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_TARGET_H
#define BYRE_ENGINE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A file being restored. It has a temporary name until it is complete, flushed,
 * and placed. For one thread.
 */

struct target {
    char *path; /* the final one */
    char *temporary;
    char *folder; /* that it has for itself until it is placed, or NULL */
    int fd;
    bool is_device;
    bool placed;
    bool replaces; /* something was there, and may be replaced */
};

struct target_attributes {
    uint32_t mode; /* as st_mode */
    uint32_t uid;
    uint32_t gid;
    int64_t mtime_ns;
    uint64_t allocate; /* bytes that are to be allocated on the host, or 0 */
};

/* Whether ${path} may be written: ERROR_EXISTS where something is there and not ${force};
 * ERROR_IN_USE where a machine uses it, even then. */
int target_check(const char *path, bool force, struct error *err);

/* Makes the folders above ${path}, as far as they are missing. */
int target_make_folders(const char *path, struct error *err);

/* Begins a file beside ${path}. ${target} is to be cleared. */
int target_open(struct target *target, const char *path, bool force, struct error *err);

/*
 * Begins a file that another program makes: as ${target->temporary}, which is not there yet and has
 * the last part of ${path} as its name, in ${target->folder}, which is beside it and which nobody
 * else may look into. It has no fd before target_take. ${target} is to be cleared.
 */
int target_open_aside(struct target *target, const char *path, bool force, struct error *err);

/* Opens what the other program has made. */
int target_take(struct target *target, struct error *err);

/* Opens the block device ${path} for exclusive use; refuses one that is in use, is smaller than
 * ${size} bytes, or holds something at its beginning unless ${force}. */
int target_open_device(struct target *target, const char *path, uint64_t size, bool force,
                       struct error *err);

/* Flushes what was written and gives it mode, owner (for root) and time. */
int target_seal(struct target *target, const struct target_attributes *attributes,
                struct error *err);

/* Gives the file its final name, durably. */
int target_place(struct target *target, struct error *err);

/* Takes a placed file away again, unless it replaced something. */
void target_unplace(struct target *target);

/* Closes, and deletes what was not placed. A folder of its own is to have nothing else in it. */
void target_clear(struct target *target);

#endif
