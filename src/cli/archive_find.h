/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_ARCHIVE_FIND_H
#define BYRE_CLI_ARCHIVE_FIND_H

#include "engine/engine.h"

/* As engine_find_archive; where there is none, the message names what may have been meant. */
int archive_find(const struct cs_store *store, const char *argument,
                 const struct cs_archive **archive, struct error *err);

#endif
