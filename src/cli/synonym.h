/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SYNONYM_H
#define BYRE_CLI_SYNONYM_H

/* What other programs for backups call things, for those who come from there. Pure. */

/* What to use instead of the command ${word}, in words that go on "byre ...": NULL: not known. */
const char *synonym_of_command(const char *word);

/* The option's name, without dashes, that may be meant by ${name}, or NULL. */
const char *synonym_of_option(const char *name);

#endif
