/* SPDX-License-Identifier: BSD-2-Clause */
/* Feeds what is counted to the picture of the terminal and to that of the file. */
#include "cli/maps.h"

#include "cli/message.h"

enum { ROWS = 16, FINE_COLUMNS = 128, FINE_ROWS = 32, BESIDE = 12 };

int maps_begin(struct maps *maps, const struct maps_args *args, bool json, const char *title,
               struct error *err)
{
    *maps = (struct maps){.args = args};
    if (args->map && json)
        return error_set(err, ERROR_USAGE, "--map draws for people; with --json, --svg does");
    if (args->force && !args->svg)
        return error_set(err, ERROR_USAGE, "--force is for the FILE of --svg");
    maps->terminal = terminal_of(stdout, false);
    return args->svg ? svg_begin(&maps->svg, args->svg, args->force, title, err) : 0;
}

bool maps_wanted(const struct maps_args *args)
{
    return args->map || args->svg;
}

int maps_image(struct maps *maps, enum picture_mode mode, uint64_t size, struct error *err)
{
    size_t columns = 32;
    int rc = 0;

    picture_clear(&maps->coarse);
    picture_clear(&maps->fine);
    while (columns < FINE_COLUMNS && columns * 2 + BESIDE <= maps->terminal.columns)
        columns *= 2;
    if (maps->args->map)
        rc = picture_begin(&maps->coarse, mode, size, columns, ROWS, err);
    if (!rc && maps->args->svg)
        rc = picture_begin(&maps->fine, mode, size, FINE_COLUMNS, FINE_ROWS, err);
    return rc;
}

void maps_add(struct maps *maps, uint64_t offset, uint64_t length, uint64_t bytes, size_t kind)
{
    if (maps->coarse.cells)
        picture_add(&maps->coarse, offset, length, bytes, kind);
    if (maps->fine.cells)
        picture_add(&maps->fine, offset, length, bytes, kind);
}

void maps_draw(struct maps *maps, const char *title, const char *const *names, size_t count)
{
    if (maps->fine.cells)
        svg_add(&maps->svg, &maps->fine, title, names, count);
}

int maps_finish(struct maps *maps, struct error *err)
{
    int rc = maps->args->svg ? svg_finish(&maps->svg, err) : 0;

    if (!rc && maps->args->svg)
        message_info("%s: the picture", maps->args->svg);
    return rc;
}

void maps_clear(struct maps *maps)
{
    picture_clear(&maps->coarse);
    picture_clear(&maps->fine);
    svg_clear(&maps->svg);
}
