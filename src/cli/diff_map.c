/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts in each cell the data that there was and is, and the bytes of ranges
 * that were told; what that makes unchanged, changed, new and gone is
 * arithmetic.
 */
#include "cli/diff_map.h"

#include <stdlib.h>

#include "cli/units.h"

/* What is counted at first. */
enum { EARLIER, LATER, DATA, ZERO };

int diff_map_begin(struct maps *maps, const struct engine_diff_image *image, struct error *err)
{
    uint64_t size = image->virtual_size_a > image->virtual_size_b ? image->virtual_size_a
                                                                  : image->virtual_size_b;

    return maps_image(maps, PICTURE_CHANGES, size, err);
}

void diff_map_data(struct maps *maps, bool later, uint64_t offset, uint64_t length, uint64_t bytes)
{
    maps_add(maps, offset, length, bytes, later ? LATER : EARLIER);
}

void diff_map_range(struct maps *maps, uint64_t offset, uint64_t length, enum engine_diff_kind kind)
{
    maps_add(maps, offset, length, length, kind == ENGINE_DIFF_DATA ? DATA : ZERO);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * Data in both is unchanged or changed; later - earlier = new - gone, and what is gone is what
 * ranges of zeros say. Ciphertext's ranges are not as exact, hence the bounds.
 */
static void work_out(struct picture *p, bool both)
{
    for (size_t i = 0; i < p->count; i++) {
        uint64_t *cell = p->cells[i];
        uint64_t earlier = cell[EARLIER], later = cell[LATER];
        uint64_t told = least(cell[DATA], later);
        uint64_t gone = both ? least(cell[ZERO], earlier) : earlier;
        uint64_t fresh = later + gone > earlier ? later + gone - earlier : 0;

        if (both && fresh > told)
            fresh = told;
        cell[PICTURE_SAME] = both ? later - told : 0;
        cell[PICTURE_CHANGED] = both ? told - fresh : 0;
        cell[PICTURE_NEW] = both ? fresh : later;
        cell[PICTURE_GONE] = gone;
    }
}

int diff_map_end(struct maps *maps, const struct engine_diff_image *image, struct error *err)
{
    static const char *const names[PICTURE_CHANGE_KINDS] = {"unchanged", "changed", "new", "gone"};
    struct picture_style style = {.utf8 = maps->terminal.utf8, .colour = maps->terminal.colour};
    char size[UNITS_TEXT];
    char *title = NULL;

    work_out(&maps->coarse, image->in_a && image->in_b);
    work_out(&maps->fine, image->in_a && image->in_b);
    if (asprintf(&title, "%s, %s%s", image->name,
                 units_size(image->in_b ? image->virtual_size_b : image->virtual_size_a, size),
                 image->in_a && image->in_b ? ""
                 : image->in_a              ? ": removed"
                                            : ": added") < 0)
        return error_no_memory(err);
    if (maps->args->map)
        picture_print(&maps->coarse, &style, stdout);
    maps_draw(maps, title, names, PICTURE_CHANGE_KINDS);
    free(title);
    return 0;
}
