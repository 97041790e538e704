/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_FAIL_H
#define BYRE_CLI_FAIL_H

#include "base/error.h"
#include "chunkstore.h"

/* Reports why a command failed, once, and gives the code to exit with. */

/* ${err} from the engine, or from the command line. */
int fail_error(const struct error *err);

/* As before, of a command that reads images of the user's besides the repository. */
int fail_error_of_sources(const struct error *err);

int fail_store(const struct cs_error *err);

/* Wrong usage. */
int fail_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
