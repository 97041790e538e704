/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_COMPLETION_SCRIPTS_H
#define BYRE_CLI_COMPLETION_SCRIPTS_H

/* The files of scripts/completions, which the build puts into the program as they are. */

extern const char completion_scripts_bash[];
extern const char completion_scripts_zsh[];
extern const char completion_scripts_fish[];

#endif
