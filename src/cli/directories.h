/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_DIRECTORIES_H
#define BYRE_CLI_DIRECTORIES_H

#include "base/error.h"

/* Where cache, state and configuration are kept on this machine. Creates nothing. */

/* The option's value, else the variable's, else the default; for the caller to free. Where there is
 * no home to put it into, ${*path} is NULL. */
int directories_cache(const char *option, char **path, struct error *err);
int directories_state(const char *option, char **path, struct error *err);

/* The configuration: the option's value, else the variable's, else the first of the two defaults
 * that can be read; else NULL. For the caller to free. */
int directories_config(const char *option, char **path, struct error *err);

#endif
