/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PROMPT_H
#define BYRE_CLI_PROMPT_H

#include <stddef.h>

#include "base/error.h"

/*
 * Asks ${question} on the terminal of this process and reads a line without
 * echo into ${buf} of ${size} bytes, its end of line left out; sets ${*len}.
 * The terminal is put right again whatever signal comes. ERROR_NOT_FOUND:
 * there is no terminal. ERROR_INTERRUPTED.
 */
int prompt_secret(const char *question, char *buf, size_t size, size_t *len, struct error *err);

#endif
