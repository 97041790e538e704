/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_ARCHIVE_VIEW_H
#define BYRE_CLI_ARCHIVE_VIEW_H

#include <jansson.h>

#include "chunkstore.h"
#include "engine/engine.h"

/* What list and show both say of an archive: the facts of its log entry. */

/* The object of CLI.md's "list" for ${archive}, of which ${summary} was read. */
json_t *archive_view_json(const struct cs_archive *archive, const struct engine_summary *summary);

/* The digits, 8 and more, of an id that tell all archives of ${store} apart. */
int archive_view_digits(const struct cs_store *store);

/* The archive's tags with ${separator} between, for the caller to free; NULL: no memory. */
char *archive_view_tags(const struct cs_archive *archive, const char *separator);

#endif
