/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RESTORE_H
#define BYRE_ENGINE_RESTORE_H

#include "engine/engine.h"
#include "engine/layer_view.h"
#include "engine/record.h"
#include "engine/target.h"

/* What the parts of a restore share. */

struct restore {
    struct cs_store *store;
    const struct engine_restore_options *options;
    struct engine_restore_result *result;
    struct record_archive archive;
    uint64_t bytes_done;
    uint64_t bytes_total;
};

void restore_warn(const struct restore *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Counts ${bytes} of progress; ERROR_INTERRUPTED where the caller wants to stop. */
int restore_step(struct restore *r, const char *path, uint64_t bytes, struct error *err);

/* A layer as a file of its own, as it was; ${backing} is the backing name to write, or NULL. */
int restore_layer(struct restore *r, const struct record_layer *layer, const char *backing,
                  const struct target *target, uint64_t *written, struct error *err);

/* Reads a restored layer back and holds it against the store. */
int restore_verify_layer(struct restore *r, const struct record_layer *layer,
                         const struct target *target, struct error *err);

/* An image as one view: layers merged. */
struct flat_image;

/* ${image} and its layers are lent. */
int flat_open(struct flat_image **flat, struct restore *r, const struct record_image *image,
              struct error *err);
void flat_close(struct flat_image *flat);
const struct record_layer *flat_top(const struct flat_image *flat);

/* The first region at or after ${from} that has anything in it. */
int flat_next(struct flat_image *flat, uint64_t from, uint64_t *region, bool *found,
              struct error *err);

/*
 * The guest's bytes of ${region} into ${buf} (region size), zeros where there is nothing.
 * ${compressed} (one flag for each cluster of
 * ${cluster_bits}, or NULL) tells which come from compressed clusters.
 */
int flat_read(struct flat_image *flat, uint64_t region, uint8_t *buf, bool *compressed,
              unsigned cluster_bits, struct error *err);

int restore_flat_raw(struct restore *r, struct flat_image *flat, const struct target *target,
                     uint64_t *written, struct error *err);
int restore_flat_qcow2(struct restore *r, struct flat_image *flat, const struct target *target,
                       uint64_t *written, struct error *err);

/* The raw image to a stream, from its first byte to its last. */
int restore_flat_stream(struct restore *r, struct flat_image *flat, int fd, uint64_t *written,
                        struct error *err);

int restore_verify_flat(struct restore *r, struct flat_image *flat, const struct target *target,
                        bool raw, struct error *err);

#endif
