/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FLAT_MAP_H
#define BYRE_ENGINE_FLAT_MAP_H

#include "engine/engine.h"
#include "engine/flat_image.h"

/* Where the guest of an image sees data, told from the trees alone. For one thread. */

struct flat_map {
    uint32_t region_size; /* bytes */
    size_t parts;         /* as in engine_map_options */
    const char *name;     /* for the progress */
    /* As range of engine_map_options; where it does not return true, all ends with
     * ERROR_INTERRUPTED. */
    bool (*range)(void *arg, uint64_t offset, uint64_t length, uint64_t bytes, size_t layer);
    void *arg;
    const struct engine_listener *listener;
};

int flat_map_walk(const struct flat_map *map, struct flat_image *flat, struct error *err);

#endif
