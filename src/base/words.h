/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_WORDS_H
#define BYRE_BASE_WORDS_H

#include <stddef.h>

#include "base/error.h"

/* A list of words that is grown: the arguments of a program, or its environment. Pure. */

struct words {
    char **items; /* owned, each too; NULL follows the last, NULL itself where there is none */
    size_t count;
};

int words_add(struct words *words, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void words_clear(struct words *words);

/* Adds each NAME=VALUE of ${environment} whose name is none of the ${count} ${but}. */
int words_add_environment(struct words *words, char *const *environment, const char *const *but,
                          size_t count, struct error *err);

/* All words in one line, as a shell takes them apart again: quoted where they have to be. For the
 * caller to free; NULL: no memory. */
char *words_quoted(const struct words *words);

/* The same of one. */
char *words_quote(const char *word);

#endif
