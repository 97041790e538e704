/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CMD_PRUNE_H
#define BYRE_CLI_CMD_PRUNE_H

#include <jansson.h>

#include "cli/command.h"
#include "engine/upkeep.h"

/* What prune and forget --prune have in common. */

struct engine_prune_options cmd_prune_defaults(void);

/* Prunes with progress; reports its failure itself and returns the exit code, 0: fine. Sets
 * ${*seconds} to the time that it took. */
int cmd_prune_store(struct cs_store *store, const struct global_options *globals,
                    const struct engine_prune_options *options, struct cs_prune_result *result,
                    double *seconds);

void cmd_prune_add_json(json_t *json, const struct cs_prune_result *result);
void cmd_prune_print(const struct cs_prune_result *result, bool dry_run);

#endif
