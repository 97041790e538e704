/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_TABLE_H
#define BYRE_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/terminal.h"

/* Text in columns as wide as their widest cell, two spaces apart. */

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
    size_t columns;
    const char *const *headings;
    const bool *right; /* aligned to the right; NULL: none is */
    char **cells;      /* row after row */
    size_t cell_count;
};

/* ${headings} of ${columns} and ${right} are lent. */
void table_begin(struct table *table, size_t columns, const char *const *headings,
                 const bool *right);

/* Adds the next cell, a copy of ${text} that is fit for a terminal. */
int table_add(struct table *table, const char *text, struct error *err);

/* Prints headings and rows; every row has to be complete. */
void table_print(const struct table *table, FILE *stream);

/* The same, no wider than ${terminal} has columns: the cells of those that ${flexible} has a bit
 * for (1 << column) are cut in the middle, the widest first, but not to fewer columns than their
 * heading has; one of those that has only empty cells is left out. */
void table_print_fit(const struct table *table, const struct terminal *terminal, unsigned flexible,
                     FILE *stream);

void table_clear(struct table *table);

#endif
