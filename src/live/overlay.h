/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_OVERLAY_H
#define BYRE_LIVE_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "live/journal.h"

/* Temporary overlays as files: made by qemu-img, and never written to by byre. */

enum { OVERLAY_KEY = 64 }; /* hex digits */

/* Runs qemu-img with ${argv}, its name first, up to a NULL. */
int overlay_qemu_img(const char *const *argv, struct error *err);

/* The path of an overlay of ${base}: beside it, or in ${folder} where that is given. For the caller
 * to free; NULL: no memory. */
char *overlay_path(const char *base, const char *folder);

/* A fresh overlay of ${d}'s base, and its key where that is encrypted, durable both. Owner and mode
 * are the base's. ERROR_EXISTS: there is such a file. Nothing is left on failure. */
int overlay_create(const struct journal_disk *d, struct error *err);

/* ERROR_IN_USE: QEMU has it open, wherever that runs. One that is not there is not in use. */
int overlay_check_unused(const struct journal_disk *d, struct error *err);

/* Removes it, and its key; what is not there is removed. */
int overlay_remove(const struct journal_disk *d, struct error *err);

/* Whether nothing was ever written to it. ERROR_NOT_FOUND. */
int overlay_is_empty(const struct journal_disk *d, bool *empty, struct error *err);

/* What it takes on its disk, in bytes. */
uint64_t overlay_bytes(const struct journal_disk *d);

/* Sets ${*left} to the bytes that are free where ${path} is, or would be, and ${*margin} to what of
 * them byre leaves to others: a sixteenth of that file system, at most a GiB. */
int overlay_room(const char *path, uint64_t *left, uint64_t *margin, struct error *err);

int overlay_read_key(const char *path, char key[OVERLAY_KEY + 1], struct error *err);

/* Writes it to the base with qemu-img, the machine being off, and flushes that. ${secret_file} is
 * that of an encrypted base, or NULL. May be repeated. ERROR_IN_USE: somebody has one of them open.
 */
int overlay_commit(const struct journal_disk *d, const char *secret_file, struct error *err);

/* The command that does it, for a person; for the caller to free. */
char *overlay_commit_text(const struct journal_disk *d);

#endif
