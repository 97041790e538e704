/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_HELP_H
#define BYRE_CLI_HELP_H

#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"

/* Help, made from the tables that the parser works from. */

/* What byre is, its commands and the global options. */
void help_overview(FILE *stream);

/* One command. ${parent}: the word before it, as in "key add", or NULL. */
void help_command(FILE *stream, const struct command *parent, const struct command *command);

/* ---- help_json.c: the same as data, new references; NULL: no memory ---- */

json_t *help_json_overview(void);
json_t *help_json_command(const struct command *command);

#endif
