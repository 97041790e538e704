/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_FLEECE_H
#define BYRE_LIVE_FLEECE_H

#include "base/error.h"
#include "live/journal.h"

/*
 * Disks in content mode: the machine goes on writing to them, copies what it
 * overwrites to a scratch file first, and serves what the disk was by NBD. Here
 * are files and names; what the machine does is machine_ops.
 *
 * All scratch files of a backup are in a folder of their own, with the socket.
 * In the journal the scratch file is the disk's overlay.
 */

/* The first disk in content mode; ${j}->disk_count: there is none. */
size_t fleece_first(const struct journal *j);

/* Gives each such disk of ${j} its scratch file, below a fresh folder of ${scratch_dir} (NULL:
 * TMPDIR); makes none of them. ERROR_NO_SPACE: there is no room there. */
int fleece_place(struct journal *j, const char *scratch_dir, struct error *err);

/* Makes the scratch file of ${i}, with the folder for the first one. Both are the machine's.
 * Nothing is left on failure. */
int fleece_create(const struct journal *j, size_t i, struct error *err);

/* Removes it, and the folder with the last one; what is not there is removed. */
int fleece_remove(const struct journal_disk *d, struct error *err);

/* Has the machine end it for all such disks, and removes what was made, where ${m} knows of it.
 * ${archived}: there is an archive. May be repeated. */
struct machine;
int fleece_end(struct machine *m, struct journal *j, bool archived, struct error *err);

/* What follows is for the caller to free; NULL: no memory. */
char *fleece_folder(const struct journal_disk *d);
char *fleece_socket(const struct journal_disk *d);           /* the server's */
char *fleece_uri(const struct journal_disk *d);              /* of the export */
char *fleece_recorded_as(const struct journal *j, size_t i); /* the same in each backup */
char *fleece_bitmap_name(const char *name, size_t i);        /* of disk ${i}, from the run's */

#endif
