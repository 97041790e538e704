/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_FLAT_IMAGE_H
#define BYRE_ENGINE_FLAT_IMAGE_H

#include "engine/layer_view.h"
#include "engine/record.h"
#include "engine/scatter.h"

/* An image as the one disk that the guest sees: its layers merged. For one thread. */

struct flat_image;

/* A piece of a region, bytes: one layer's data or zeros, which nothing above hides. */
struct flat_piece {
    uint32_t begin, end;
    size_t layer; /* from the top */
    bool zero;
};

/* ${archive}, whose ${image} it is, is lent. ${view}: that of the top layer, 0 for its active
 * state. */
int flat_open(struct flat_image **flat, struct cs_store *store,
              const struct record_archive *archive, const struct record_image *image, size_t view,
              struct error *err);
void flat_close(struct flat_image *flat);

uint64_t flat_size(const struct flat_image *flat); /* virtual, bytes */
const struct record_layer *flat_top(const struct flat_image *flat);

/* The layers from the top, and what each has of the disk: nothing at its virtual size and beyond
 * shows through, neither its own nor that of those below. */
size_t flat_layer_count(const struct flat_image *flat);
struct layer_view *flat_layer(const struct flat_image *flat, size_t i);
uint64_t flat_layer_size(const struct flat_image *flat, size_t i); /* bytes */

/* The first region at or after ${from} that has anything in it. */
int flat_next(struct flat_image *flat, uint64_t from, uint64_t *region, bool *found,
              struct error *err);

/*
 * What ${region} is made of, without reading chunks: layer by layer from the top, ascending in
 * each; the rest is zeros. The chunks are in the layer_view_content of each piece's layer. All is
 * lent until the next call.
 */
int flat_pieces(struct flat_image *flat, uint64_t region, const struct flat_piece **pieces,
                size_t *count, struct error *err);

/*
 * Puts the guest's bytes of ${region} to ${scatter}, from ${base} on; where there are none, or
 * zeros, nothing. ${compressed} (one flag for each cluster of ${cluster_bits}, or NULL) tells which
 * come from compressed clusters.
 */
int flat_describe(struct flat_image *flat, uint64_t region, struct scatter *scatter, uint64_t base,
                  bool *compressed, unsigned cluster_bits, struct error *err);

#endif
