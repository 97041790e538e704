/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_BACKUP_SUMMARY_H
#define BYRE_CLI_BACKUP_SUMMARY_H

#include "cli/command.h"
#include "engine/engine.h"
#include "live/live.h"

/* Prints on stdout what ${result} says, as ${options} want it. ${live}: of a running machine, or
 * NULL. */
void backup_summary(const struct global_options *options, const struct engine_backup_result *result,
                    const struct live_result *live, bool dry_run, double seconds);

#endif
