/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_REPOSITORY_H
#define BYRE_CLI_REPOSITORY_H

#include <stdbool.h>

#include "chunkstore.h"
#include "cli/command.h"

/*
 * The repository that a command works on, from the global options. These report
 * their failure themselves and return an exit code; 0: fine.
 */

/* Sets ${*repo} to --repo or BYRE_REPOSITORY, lent. */
int repository_name(const struct global_options *options, const char **repo);

/* Opens it. An older state than the one last seen from here is warned of. */
int repository_open(struct cs_store **store, const struct global_options *options);

/* Opens it without that warning, for commands that the store refuses then anyway, or that report
 * it as an error; with ${accept_rollback} the state that is found is remembered. */
int repository_open_silently(struct cs_store **store, const struct global_options *options,
                             bool accept_rollback);

/* The same, also where the log is damaged, for engine_repair_log. */
int repository_open_damaged(struct cs_store **store, const struct global_options *options,
                            bool accept_rollback);

/* Opens the repository ${repo} with the secrets of BYRE_FROM_*. */
int repository_open_other(struct cs_store **store, const struct global_options *options,
                          const char *repo);

#endif
