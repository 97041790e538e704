/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FILE_IDENTITY_H
#define BYRE_ENGINE_FILE_IDENTITY_H

#include <stdint.h>

#include "base/error.h"

/* The type (f_type) and the UUID of the file system that ${fd} lies on; ${*uuid} is fresh memory,
 * NULL where it cannot be told. */
int file_identity(int fd, const char *name, uint64_t *type, char **uuid, struct error *err);

#endif
