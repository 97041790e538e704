/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CMD_KEY_H
#define BYRE_CLI_CMD_KEY_H

#include "chunkstore.h"
#include "cli/command.h"

/* What the commands below "key" share. */

extern const struct command cmd_key_add;
extern const struct command cmd_key_remove;

/* "passphrase", "key-file", "recovery-code". */
const char *cmd_key_kind(enum cs_slot_kind kind);

/* Prints that the key ${id} was ${what}: added, removed, changed. */
void cmd_key_done(const struct cli *cli, const char *what, const char *id);

#endif
