/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_PATH_H
#define BYRE_ENGINE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Paths as text: nothing here looks at a file system. Results are fresh memory; NULL where there is
 * none. */

/* An absolute path without `.`, `..` and doubled slashes; `..` at the root stays there. */
char *path_normalize(const char *absolute);

/* Whether ${relative} is a path of plain components, so that it stays below the folder it is put
 * behind. */
bool path_is_inside(const char *relative);

/* The last component, lent. */
const char *path_base(const char *path);

/* Everything before the last component: "/" or "." where that is nothing. */
char *path_folder(const char *path);

/* The deepest folder that all of the ${n} normalized absolute ${paths} (of files) lie below. */
char *path_common_folder(const char *const *paths, size_t n);

/* Whether QEMU takes ${name} for no path: it has a colon before the first slash. */
bool path_is_protocol(const char *name);

/* How the file at ${to} is called from the folder of the file at ${from}; both are relative to the
 * same place and inside it. */
char *path_between(const char *from, const char *to);

/*
 * Whether the relative name ${string}, followed from the folder of ${from}, leads to ${to} through
 * nothing but folders that some of the ${n} ${placed} files lie in.
 */
bool path_leads_to(const char *from, const char *string, const char *to, const char *const *placed,
                   size_t n);

/* Whether ${tail} is a trailing path of ${path}: whole components. */
bool path_ends_with(const char *path, const char *tail);

/* "${a}/${b}" */
char *path_join(const char *a, const char *b);

#endif
