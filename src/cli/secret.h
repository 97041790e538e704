/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SECRET_H
#define BYRE_CLI_SECRET_H

#include <stdint.h>

#include "base/error.h"
#include "chunkstore.h"
#include "cli/command.h"

/* The passphrase or key file that opens a repository, and where it comes from. */

struct secret {
    enum cs_slot_kind kind;
    size_t len;
    uint8_t data[CS_KEY_FILE_MAX + 1]; /* one more, to see that something is too long */
};

/* Wipes ${secret}; fine on one that is all zero. */
void secret_wipe(struct secret *secret);

/* ${secret} as the store takes it, lent. */
struct cs_secret secret_view(const struct secret *secret);

/*
 * The secret for ${repo}: from the options, else from BYRE_KEY_FILE, BYRE_PASSWORD_FILE,
 * BYRE_PASSWORD_COMMAND or BYRE_PASSWORD, else from the terminal. ${fresh}: for a repository to be
 * made, so the terminal is asked twice. ERROR_USAGE names all ways where there is none.
 */
int secret_for_repository(struct secret *secret, const struct global_options *options,
                          const char *repo, bool fresh, struct error *err);

/* Whether secret_for_repository gets one without asking anybody, running anything or waiting: from
 * a plain file or a variable. */
bool secret_at_hand(const struct global_options *options);

/* The secret for another repository, from the same variables with BYRE_FROM_ in front. */
int secret_for_other(struct secret *secret, const char *repo, struct error *err);

/* A new secret for a key slot: from one of the two files (NULL: not given), else from the terminal,
 * asked twice. */
int secret_new(struct secret *secret, const char *password_file, const char *key_file,
               struct error *err);

#endif
