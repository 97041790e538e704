/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts bytes into cells, and draws cells as signs; knows nothing of archives. */
#include "cli/picture.h"

#include <stdlib.h>
#include <string.h>

#include "cli/units.h"

enum { CELL_MIN = 4096 }; /* bytes */

int picture_begin(struct picture *p, enum picture_mode mode, uint64_t size, size_t columns,
                  size_t rows, struct error *err)
{
    *p = (struct picture){.mode = mode, .size = size, .cell = CELL_MIN, .columns = columns};
    while (size / p->cell + (size % p->cell != 0) > columns * rows)
        p->cell *= 2;
    p->count = (size_t)(size / p->cell + (size % p->cell != 0));
    p->cells = calloc(p->count + 1, sizeof *p->cells);
    return p->cells ? 0 : error_no_memory(err);
}

void picture_clear(struct picture *p)
{
    free(p->cells);
    *p = (struct picture){0};
}

void picture_add(struct picture *p, uint64_t offset, uint64_t length, uint64_t bytes, size_t kind)
{
    size_t i;

    if (offset >= p->size || length == 0)
        return;
    if (length > p->size - offset)
        length = p->size - offset;
    if (bytes > length)
        bytes = length;
    if (kind >= PICTURE_KINDS)
        kind = PICTURE_KINDS - 1;
    for (i = (size_t)(offset / p->cell); length; i++) {
        uint64_t here = p->cell - offset % p->cell;
        uint64_t part = bytes;

        if (here < length)
            part = (uint64_t)((double)bytes * ((double)here / (double)length));
        else
            here = length;
        if (bytes == length)
            part = here;
        p->cells[i][kind] += part;
        bytes -= part;
        offset += here;
        length -= here;
    }
}

uint64_t picture_cell_size(const struct picture *p, size_t i)
{
    uint64_t begin = (uint64_t)i * p->cell;

    return p->size - begin < p->cell ? p->size - begin : p->cell;
}

unsigned picture_level(const struct picture *p, size_t i, size_t *kind)
{
    uint64_t size = picture_cell_size(p, i);
    uint64_t sum = 0;
    uint64_t most = 0;
    double share;

    for (size_t k = 0; k < PICTURE_KINDS; k++) {
        uint64_t bytes = p->cells[i][k];

        sum += bytes;
        if (bytes > most && !(p->mode == PICTURE_CHANGES && k == PICTURE_SAME)) {
            most = bytes;
            *kind = k;
        }
    }
    if (sum == 0)
        return 0;
    if (most == 0)
        *kind = PICTURE_SAME;
    share = (double)sum / (double)size;
    return share <= 0.25 ? 1 : share <= 0.5 ? 2 : share <= 0.75 ? 3 : PICTURE_LEVELS;
}

uint64_t picture_sum(const struct picture *p, size_t kind)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < p->count; i++)
        sum += p->cells[i][kind];
    return sum;
}

/* ---- drawing ---- */

static const char *const density_signs[2][PICTURE_LEVELS] = {
    {".", ":", "+", "#"},
    {"\xe2\x96\x91", "\xe2\x96\x92", "\xe2\x96\x93", "\xe2\x96\x88"}, /* light to full block */
};

static const char *const change_signs[2][PICTURE_CHANGE_KINDS] = {
    {".", "*", "+", "-"},
    {"\xe2\x96\x91", "\xe2\x96\x93", "\xe2\x96\x88", "\xc3\x97"},
};

static const char *const change_names[PICTURE_CHANGE_KINDS] = {"unchanged", "changed", "new",
                                                               "gone"};

/* SGR parameters, that of nothing in particular first. */
static const char *const density_colours[PICTURE_KINDS] = {"36", "32", "33", "35",
                                                           "34", "31", "96", "37"};
static const char *const change_colours[PICTURE_CHANGE_KINDS] = {"2", "33", "32", "31"};

static const char *sign_of(const struct picture *p, const struct picture_style *style,
                           unsigned level, size_t kind)
{
    return p->mode == PICTURE_DENSITY ? density_signs[style->utf8][level - 1]
                                      : change_signs[style->utf8][kind];
}

static const char *colour_of(const struct picture *p, size_t kind)
{
    return p->mode == PICTURE_DENSITY ? density_colours[kind] : change_colours[kind];
}

static void print_row(const struct picture *p, const struct picture_style *style, size_t row,
                      FILE *stream)
{
    const char *border = style->utf8 ? "\xe2\x94\x82" : "|";
    const char *colour = NULL;
    char offset[UNITS_TEXT];

    fprintf(stream, "%9s %s", units_size((uint64_t)row * p->columns * p->cell, offset), border);
    for (size_t i = row * p->columns; i < (row + 1) * p->columns && i < p->count; i++) {
        size_t kind = 0;
        unsigned level = picture_level(p, i, &kind);
        const char *wanted = level && style->colour ? colour_of(p, kind) : NULL;

        if (wanted != colour)
            fprintf(stream, "\033[0%s%sm", wanted ? ";" : "", wanted ? wanted : "");
        colour = wanted;
        fputs(level ? sign_of(p, style, level, kind) : " ", stream);
    }
    fprintf(stream, "%s%s\n", colour ? "\033[0m" : "", border);
}

static void print_sign(const struct picture *p, const struct picture_style *style, unsigned level,
                       size_t kind, bool coloured, FILE *stream)
{
    bool colour = coloured && style->colour;

    fprintf(stream, "%s%s%s%s%s", colour ? "\033[" : "", colour ? colour_of(p, kind) : "",
            colour ? "m" : "", sign_of(p, style, level, kind), colour ? "\033[0m" : "");
}

static void print_changes_legend(const struct picture *p, const struct picture_style *style,
                                 FILE *stream)
{
    char size[UNITS_TEXT];

    fprintf(stream, "%11s", "");
    for (size_t kind = 0; kind < PICTURE_CHANGE_KINDS; kind++) {
        fputs(kind ? ", " : "", stream);
        print_sign(p, style, PICTURE_LEVELS, kind, true, stream);
        fprintf(stream, " %s %s", change_names[kind], units_size(picture_sum(p, kind), size));
    }
    fputc('\n', stream);
}

void picture_print(const struct picture *p, const struct picture_style *style, FILE *stream)
{
    static const char *const shares[PICTURE_LEVELS] = {"to 25 %", "to 50 %", "to 75 %", "more"};
    char cell[UNITS_TEXT];

    for (size_t row = 0; row * p->columns < p->count; row++)
        print_row(p, style, row, stream);
    fprintf(stream, "%11sone cell: %s", "", units_size(p->cell, cell));
    for (unsigned level = 1; p->mode == PICTURE_DENSITY && level <= PICTURE_LEVELS; level++) {
        fputs(level == 1 ? "; data: " : ", ", stream);
        print_sign(p, style, level, 0, false, stream);
        fprintf(stream, " %s", shares[level - 1]);
    }
    fputc('\n', stream);
    if (p->mode == PICTURE_CHANGES)
        print_changes_legend(p, style, stream);
}
