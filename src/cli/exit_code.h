/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_EXIT_CODE_H
#define BYRE_CLI_EXIT_CODE_H

#include <stdbool.h>

#include "base/error.h"
#include "chunkstore.h"

/* The codes that byre exits with, which scripts rely on, and what leads to which. Pure. */

enum exit_code {
    EXIT_CODE_DONE = 0,
    EXIT_CODE_FAILED = 1,
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_PARTIAL = 3,
    EXIT_CODE_DAMAGE = 4,
    EXIT_CODE_NO_REPOSITORY = 10,
    EXIT_CODE_IN_USE = 11,
    EXIT_CODE_DENIED = 12,
    EXIT_CODE_SIGNAL = 128, /* and the signal's number on top */
};

/*
 * The exit code for ${err}. ${reads_sources}: the command reads images of the user's as well as the
 * repository, so that "corrupt" is damage only where the store says so, by EUCLEAN. ${signal}: the
 * signal that stopped the command, or 0.
 */
int exit_code_of_error(const struct error *err, bool reads_sources, int signal);

/* The same for an error that comes right from the store. */
int exit_code_of_store(const struct cs_error *err, int signal);

/* Of two exit codes of different jobs the one that tells of the worse. */
int exit_code_worse(int a, int b);

#endif
