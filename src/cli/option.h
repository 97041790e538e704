/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_OPTION_H
#define BYRE_CLI_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Options of the command line, from tables that also make the help. Values stay
 * text here; whoever uses one says what it has to look like. Long names are
 * never abbreviated. Pure: reads no environment, prints nothing.
 */

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_COUNT,    /* int: how often it was given */
    OPTION_VALUE,    /* const char *: the last one given, or NULL */
    OPTION_OPTIONAL, /* const char *: as before; "" where --name came without =value */
    OPTION_LIST,     /* struct option_list: all, in order */
};

struct option_list {
    const char **items; /* the array is owned, the strings are lent by argv */
    size_t count;
};

struct option_spec {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum option_kind kind;
    size_t offset;           /* of the value, in the structure of the set */
    const char *value;       /* what help calls it; NULL for flags and counts */
    const char *help;        /* one line, lower case */
    const char *environment; /* NULL: none; for help only */
};

struct option_set {
    const struct option_spec *specs;
    void *values; /* the structure that ${specs} have offsets into, zeroed at first */
};

/*
 * Parses ${argv}[0 .. argc) by the first ${set_count} of ${sets}; an earlier set wins. Other
 * arguments go to ${operands}. Where ${stop} is set, the first of those ends it and is not taken.
 * Sets ${*used} to the number of arguments taken. ERROR_USAGE with a suggestion where one is near.
 */
int option_parse(const struct option_set *sets, size_t set_count, int argc, const char *const *argv,
                 bool stop, struct option_list *operands, int *used, struct error *err);

/* The option with the name of ${len} bytes at ${name}; NULL: none. */
const struct option_spec *option_find(const struct option_set *sets, size_t set_count,
                                      const char *name, size_t len);

/* The option at the end of ${word} that takes the argument after it as its value; NULL: none. */
const struct option_spec *option_awaits(const struct option_set *sets, size_t set_count,
                                        const char *word);

int option_list_add(struct option_list *list, const char *item, struct error *err);
void option_list_clear(struct option_list *list);

/* Frees the lists among the values of ${set}. */
void option_set_clear(const struct option_set *set);

/* Reads ${text}, the value of ${what}, as a whole number from ${min} to ${max}. */
int option_number(const char *what, const char *text, long min, long max, long *number,
                  struct error *err);

#endif
