/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A model of a disk that is as unkind as POSIX allows. What a program wrote is pending until its
 * file is flushed; a name that was made, changed or deleted is pending until its folder is. A power
 * cut leaves any choice of what is pending. Paths are relative to the root, which is always there.
 */

struct disk;

struct disk *disk_new(void);
void disk_free(struct disk *disk);

/* Takes over the folder ${path} of this machine, durable, under the name ${name}. */
void disk_adopt(struct disk *disk, const char *path, const char *name);

/* From now on flushing files, or the folder ${of_folder} (NULL: none), makes nothing durable: for
 * showing that it matters. */
void disk_ignore_flushes(struct disk *disk, bool of_files, const char *of_folder);

unsigned disk_create(struct disk *disk, const char *path); /* gives the file */
void disk_write(struct disk *disk, unsigned file, uint64_t offset, const void *data, size_t len);
void disk_flush(struct disk *disk, unsigned file);
/* A write or a flush has failed: what is pending stays so for ever. */
void disk_spoil(struct disk *disk, unsigned file);
void disk_make_folder(struct disk *disk, const char *path);
void disk_flush_folder(struct disk *disk, const char *path);
void disk_link(struct disk *disk, const char *from, const char *to);
void disk_rename(struct disk *disk, const char *from, const char *to);
void disk_unlink(struct disk *disk, const char *path);

/* Whether all that was written to the file of this name is durable. */
bool disk_whole(const struct disk *disk, const char *path);

/* Of what is pending now. */
enum { DISK_CHANGES = 60, DISK_DIRTY = 8 };
enum disk_fate { /* of a file's pending writes */
                 DISK_LOST,
                 DISK_KEPT,
                 DISK_TORN_512, /* some sectors of that size are there, others not */
                 DISK_TORN_4096,
                 DISK_CUT_512, /* it ends early, at such a boundary */
                 DISK_CUT_4096,
                 DISK_HOLES, /* some of the writes are there, others not */
                 DISK_FATES
};
struct disk_state {
    uint64_t changes;         /* bit i: the ith pending change of a name is there */
    uint8_t fate[DISK_DIRTY]; /* of the dirty files */
    uint64_t seed;            /* of what is some, and early */
};

size_t disk_changes(const struct disk *disk);
/* Whether pending change ${i} is of a name below tmp/, where names mean nothing. */
bool disk_change_is_temporary(const struct disk *disk, size_t i);
size_t disk_dirty(const struct disk *disk);

/* Tells states from each other. */
uint64_t disk_state_hash(const struct disk *disk, const struct disk_state *state);

/* Writes the state to ${target}, which must be absent. Files are links into ${pool}, for whoever
 * reads them not to write to. */
void disk_lay_out(struct disk *disk, const struct disk_state *state, const char *target,
                  const char *pool);

#endif
