/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SHOW_H
#define BYRE_CLI_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "chunkstore.h"
#include "cli/maps.h"
#include "cli/terminal.h"
#include "engine/engine.h"
#include "engine/record.h"

/* One archive, for programs and for people. ${archive}: its log entry; ${record}: all of it. */

json_t *show_json(const struct cs_archive *archive, const struct engine_summary *summary,
                  const struct record_archive *record);

void show_text(FILE *stream, const struct terminal *terminal, const struct cs_archive *archive,
               const struct engine_summary *summary, const struct record_archive *record);

/* Draws the images, or only ${image}, as ${maps} is to. */
int show_map(struct maps *maps, const struct global_options *global, struct cs_store *store,
             const struct cs_archive *archive, const struct record_archive *record,
             const char *image, struct error *err);

/* "aes", "luks", or NULL where the layer is not encrypted. */
const char *show_encryption(const struct record_layer *layer);

#endif
