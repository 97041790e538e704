/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_RUN_H
#define BYRE_CLI_RUN_H

/* Finds the command in ${argv}, parses its options, runs it, and returns the exit code. */
int run_command_line(int argc, const char *const *argv);

#endif
