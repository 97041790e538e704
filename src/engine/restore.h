/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RESTORE_H
#define BYRE_ENGINE_RESTORE_H

#include "engine/engine.h"
#include "engine/flat_image.h"
#include "engine/layer_view.h"
#include "engine/record.h"
#include "engine/target.h"

/* What the parts of a restore share. */

struct restore {
    struct cs_store *store;
    struct cs_fetch *fetch;
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

/* Tells that the file ${number}, from 1, of ${count} comes next. */
void restore_begin_file(const struct restore *r, size_t number, size_t count);

/* What a target is to be given so that it is as ${file} was, allocated throughout where that was.
 */
struct target_attributes restore_attributes(const struct record_file *file);

/* Adds a file to the result; ${layer} is NULL for a side file. */
int restore_report_file(struct restore *r, const char *path, const struct cs_id *layer,
                        uint64_t written, struct error *err);

/* Image ${image} of the archive, or all where it is their count: with their layers as files of
 * their own, or each as one. */
int restore_chains(struct restore *r, size_t image, struct error *err);
int restore_flattened(struct restore *r, size_t image, struct error *err);

/* What a restored layer calls others. */
struct restore_names {
    const char *backing;        /* the backing name to write, or NULL */
    const char *backing_format; /* its format, where the header that was kept has none; or NULL */
    const char *data_file;      /* the name of its data file to write, or NULL */
    struct target *data_target; /* that file, or NULL */
};

/* A layer as a file of its own, as it was. */
int restore_layer(struct restore *r, const struct record_layer *layer,
                  const struct restore_names *names, const struct target *target, uint64_t *written,
                  struct error *err);
int restore_qcow2(struct restore *r, const struct record_layer *layer,
                  const struct restore_names *names, const struct target *target, uint64_t *written,
                  struct error *err);

/* Whether ${names} fit the header of ${layer}, a qcow2: ERROR_NO_SPACE where they do not. Writes
 * nothing; ${names} needs no data target. */
int restore_qcow2_check_names(struct restore *r, const struct record_layer *layer,
                              const struct restore_names *names, struct error *err);

/* Reads a restored layer back and holds it against the store. */
int restore_verify_layer(struct restore *r, const struct record_layer *layer,
                         const struct restore_names *names, const struct target *target,
                         struct error *err);

/* An image as one file. */
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
