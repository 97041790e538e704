/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_DIFF_MAP_H
#define BYRE_CLI_DIFF_MAP_H

#include "cli/maps.h"
#include "engine/engine.h"

/* The pictures of "diff": what is unchanged, changed, new and gone in each image. */

/* As the functions of engine_diff_options, called beside those that print. */
int diff_map_begin(struct maps *maps, const struct engine_diff_image *image, struct error *err);
void diff_map_data(struct maps *maps, bool later, uint64_t offset, uint64_t length, uint64_t bytes);
void diff_map_range(struct maps *maps, uint64_t offset, uint64_t length,
                    enum engine_diff_kind kind);

/* Draws the image: in the terminal behind what is printed so far. */
int diff_map_end(struct maps *maps, const struct engine_diff_image *image, struct error *err);

#endif
