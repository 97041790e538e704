/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_ADVICE_H
#define BYRE_CLI_ADVICE_H

#include <stdbool.h>

#include "base/error.h"

/* What to do next, for those whose command failed. Pure. */

/* A line for ${err}, where the command exits with ${exit_code}, or NULL where its message says
 * enough. ${reads_sources}: it reads images of the user's besides the repository. */
const char *advice_of(const struct error *err, int exit_code, bool reads_sources);

#endif
