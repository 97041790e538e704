/* SPDX-License-Identifier: BSD-2-Clause */
/* Collects cells first, since a column's width is known only at the end. */
#include "cli/table.h"

#include <stdint.h>
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

struct layout {
    size_t widths[TABLE_COLUMNS_MAX];
    bool left_out[TABLE_COLUMNS_MAX];
    bool utf8; /* for what is cut */
};

static void print_row(const struct table *table, const char *const *cells,
                      const struct layout *layout, FILE *stream)
{
    const char *between = "";

    for (size_t i = 0; i < table->columns; i++) {
        bool right = table->right && table->right[i];
        bool last = i + 1 == table->columns;
        char *cell;
        int pad;

        if (layout->left_out[i])
            continue;
        cell = text_abridge(cells[i], layout->widths[i], layout->utf8);
        pad = (int)(layout->widths[i] - text_columns(cell ? cell : "?"));
        fprintf(stream, "%s%*s%s%*s", between, right ? pad : 0, "", cell ? cell : "?",
                right || last ? 0 : pad, "");
        between = "  ";
        free(cell);
    }
    fputc('\n', stream);
}

static void measure(const struct table *table, unsigned flexible, struct layout *layout)
{
    for (size_t i = 0; i < table->columns; i++) {
        bool empty = true;

        layout->widths[i] = text_columns(table->headings[i]);
        for (size_t at = i; at < table->cell_count; at += table->columns) {
            size_t width = text_columns(table->cells[at]);

            empty = empty && width == 0;
            if (layout->widths[i] < width)
                layout->widths[i] = width;
        }
        layout->left_out[i] = empty && flexible & 1u << i;
    }
}

/* Takes from the widest of ${flexible}, as long as there is more than ${columns} and any to take
 * from. */
static void shrink(const struct table *table, size_t columns, unsigned flexible,
                   struct layout *layout)
{
    size_t total = 0;

    for (size_t i = 0; i < table->columns; i++)
        total += layout->left_out[i] ? 0 : layout->widths[i] + (total ? 2 : 0);
    for (; total > columns; total--) {
        size_t widest = table->columns;

        for (size_t i = 0; i < table->columns; i++) {
            if (flexible & 1u << i && !layout->left_out[i] &&
                layout->widths[i] > text_columns(table->headings[i]) &&
                (widest == table->columns || layout->widths[i] > layout->widths[widest]))
                widest = i;
        }
        if (widest == table->columns)
            return;
        layout->widths[widest]--;
    }
}

void table_print_fit(const struct table *table, const struct terminal *terminal, unsigned flexible,
                     FILE *stream)
{
    struct layout layout = {.utf8 = terminal->utf8};
    const char *const *cells = (const char *const *)table->cells;

    measure(table, flexible, &layout);
    shrink(table, terminal->columns, flexible, &layout);
    print_row(table, table->headings, &layout, stream);
    for (size_t row = 0; row < table->cell_count; row += table->columns)
        print_row(table, cells + row, &layout, stream);
}

void table_print(const struct table *table, FILE *stream)
{
    struct terminal terminal = {.columns = SIZE_MAX};

    table_print_fit(table, &terminal, 0, stream);
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof *table);
}
