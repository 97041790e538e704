/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SECRET_READ_H
#define BYRE_CLI_SECRET_READ_H

#include "cli/secret.h"

/* One way each that a secret can come in. An empty passphrase is ERROR_USAGE. */

/* The first line of the file ${path}. */
int secret_read_file(struct secret *secret, const char *path, struct error *err);

/* The whole of the file ${path}, 32 to 8192 bytes. */
int secret_read_key_file(struct secret *secret, const char *path, struct error *err);

/* The first line that ${command}, given to /bin/sh, prints. It has to end with status 0. */
int secret_read_command(struct secret *secret, const char *command, struct error *err);

/* ${text} itself. */
int secret_read_text(struct secret *secret, const char *text, struct error *err);

/* What somebody types for ${question}. ERROR_NOT_FOUND: there is no terminal. */
int secret_read_terminal(struct secret *secret, const char *question, struct error *err);

/* Reduces the ${secret->len} bytes read to their first line, without its "\n" or "\r\n", and wipes
 * the rest. ${from} names the source in messages. */
int secret_read_first_line(struct secret *secret, const char *from, struct error *err);

#endif
