/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_COMPLETE_H
#define BYRE_CLI_COMPLETE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/command.h"

/*
 * What may stand at a place of a command line, by the tables that the parser
 * works from. Pure: what archives, tags and jobs there are, others know.
 */

enum complete_kind {
    COMPLETE_UNKNOWN, /* the table below does not say: it is to be told there */
    COMPLETE_NOTHING, /* free text, numbers */
    COMPLETE_WORD,    /* itself */
    COMPLETE_AUTO,    /* "auto" and "none", besides numbers */
    COMPLETE_FILES,
    COMPLETE_DIRECTORIES,
    COMPLETE_ARCHIVES,
    COMPLETE_NAMES, /* of archives */
    COMPLETE_TAGS,
    COMPLETE_JOBS,
};

/* The place of the last of some words. */
struct complete {
    const struct command *const *commands; /* it is the name of one of these; else NULL */
    const struct command *command;         /* whose options may stand there; NULL: none yet */
    bool options;                          /* it may be an option */
    const char *option;                    /* it is a value of this option; NULL: an operand */
    const char *values;                    /* what a table calls it, such as FILE|-; or NULL */
    size_t values_len;
    const char *word; /* what is there of it, lent by the words */
    size_t before;    /* how many bytes of the word are before that, as in --name=word */
};

/* Finds the place of the last of the ${count} ${words}, at least one, that follow the name of the
 * program. */
void complete_find(struct complete *at, const char *const *words, size_t count);

/* The alternative of ${at->values} after ${value}, the first one after NULL, of ${*len} bytes,
 * which are those of ${value} before; NULL: there is none. */
const char *complete_next(const struct complete *at, const char *value, size_t *len);

/* What one of the alternatives of ${values} stands for: ${len} bytes at ${value}, as a value of
 * ${option}, or an operand where that is NULL. */
enum complete_kind complete_kind(const char *option, const char *value, size_t len);

/* The ${n}th operand that ${usage} shows, counted from 0; the last one where that goes on with
 * "...". Without brackets. NULL: there is none. */
const char *complete_operand(const char *usage, size_t n, size_t *len);

#endif
