/* SPDX-License-Identifier: BSD-2-Clause */
/* Collects cells first, since a column's width is known only at the end. */
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

void table_begin(struct table *table, size_t columns, const char *const *headings,
                 const bool *right)
{
    memset(table, 0, sizeof *table);
    table->columns = columns;
    table->headings = headings;
    table->right = right;
}

int table_add(struct table *table, const char *text, struct error *err)
{
    char **cells = reallocarray(table->cells, table->cell_count + 1, sizeof *cells);

    if (!cells)
        return error_no_memory(err);
    table->cells = cells;
    cells[table->cell_count] = strdup(text);
    if (!cells[table->cell_count])
        return error_no_memory(err);
    text_clean(cells[table->cell_count++]);
    return 0;
}

static void print_row(const struct table *table, const char *const *cells, const size_t *widths,
                      FILE *stream)
{
    for (size_t i = 0; i < table->columns; i++) {
        int pad = (int)(widths[i] - text_columns(cells[i]));
        bool right = table->right && table->right[i];
        bool last = i + 1 == table->columns;

        fprintf(stream, "%*s%s%*s", right ? pad : 0, "", cells[i], right || last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", stream);
    }
}

void table_print(const struct table *table, FILE *stream)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    const char *const *cells = (const char *const *)table->cells;

    for (size_t i = 0; i < table->columns; i++)
        widths[i] = text_columns(table->headings[i]);
    for (size_t row = 0; row < table->cell_count; row += table->columns) {
        for (size_t i = 0; i < table->columns; i++) {
            size_t width = text_columns(cells[row + i]);

            if (widths[i] < width)
                widths[i] = width;
        }
    }
    print_row(table, table->headings, widths, stream);
    for (size_t row = 0; row < table->cell_count; row += table->columns)
        print_row(table, cells + row, widths, stream);
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof *table);
}
