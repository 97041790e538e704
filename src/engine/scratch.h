/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_SCRATCH_H
#define BYRE_ENGINE_SCRATCH_H

#include "base/error.h"

/* Folders for a while, that nobody else may look into. */

/* Makes one below the folder ${parent}, with a name that begins with ${prefix}; ${*folder} is its
 * absolute path, for the caller to free. */
int scratch_make(const char *parent, const char *prefix, char **folder, struct error *err);

/* Removes it with all that is in it, but follows no symlink, and leaves alone what is mounted
 * there, which is an error. Goes on after an error, and tells the first. */
int scratch_remove(const char *folder, struct error *err);

#endif
