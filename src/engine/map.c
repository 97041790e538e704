/* SPDX-License-Identifier: BSD-2-Clause */
/* The data that guests see, for each image of an archive. The walking is flat_map.c's. */
#include "engine/choose.h"
#include "engine/flat_map.h"
#include "engine/record.h"

struct map {
    const struct engine_map_options *options;
    struct engine_map_image image;
};

static bool on_range(void *arg, uint64_t offset, uint64_t length, uint64_t bytes, size_t layer)
{
    struct map *m = arg;
    const struct engine_map_options *o = m->options;
    m->image.bytes_data += bytes;
    return o->range == NULL || o->range(o->arg, &m->image, offset, length, bytes, layer);
}

static int map_image(struct cs_store *store, const struct record_archive *archive,
                     const struct record_image *image, const struct engine_map_options *o,
                     struct error *err)
{
    struct map m = {
        .options = o,
        .image = {.name = image->name,
                  .path = image->path,
                  .virtual_size = archive->layers[image->layers[0]].virtual_size,
                  .layers = image->layer_count},
    };
    struct flat_map map = {
        .region_size = cs_region_size(store),
        .parts = o->parts,
        .name = image->name,
        .range = on_range,
        .arg = &m,
        .listener = &o->listener,
    };
    struct flat_image *flat = NULL;
    for (size_t i = 0; i < image->layer_count; i++) {
        const struct record_layer *layer = &archive->layers[image->layers[i]];
        m.image.encrypted |= layer->is_qcow2 && layer->qcow2.crypt_method != 0;
        m.image.incomplete = layer->backing_file != NULL; /* as the last of them has it */
    }
    int rc = flat_open(&flat, store, archive, image, 0, err);
    if (rc == 0 && o->begin != NULL)
        rc = o->begin(o->arg, &m.image, err);
    if (rc == 0)
        rc = flat_map_walk(&map, flat, err);
    if (rc == 0 && o->end != NULL)
        rc = o->end(o->arg, &m.image, err);
    flat_close(flat);
    return rc;
}

int engine_map(struct cs_store *store, const struct cs_archive *archive,
               const struct engine_map_options *options, struct error *err)
{
    struct record_archive record = {0};
    size_t chosen = 0;
    int rc = record_archive_read(&record, store, &archive->id, err);
    if (rc == 0)
        rc = choose_image(&record, options->image, &chosen, err);
    for (size_t i = 0; rc == 0 && i < record.image_count; i++)
        if (chosen == i || chosen == record.image_count)
            rc = map_image(store, &record, &record.images[i], options, err);
    record_archive_clear(&record);
    return rc < 0 ? engine_unless_forgotten(store, archive, err) : 0;
}
