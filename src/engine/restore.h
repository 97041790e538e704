/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RESTORE_H
#define BYRE_ENGINE_RESTORE_H

#include "engine/engine.h"
#include "engine/flat_image.h"
#include "engine/layer_view.h"
#include "engine/record.h"
#include "engine/target.h"
#include "qcow2/header.h"

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

/* The same for the file of ${layer}, which others may make, and which an export never was. */
struct target_attributes restore_layer_attributes(const struct record_layer *layer);

/* Whether ${layer} was no file, but an export of an NBD server. */
bool restore_was_export(const struct record_layer *layer);

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

#define RESTORE_SIDE_FOLDER "side-files"

/* What becomes a file where chains are restored: */
struct restore_plan {
    const struct record_layer *layer;    /* lent by the archive */
    const struct record_side_file *side; /* or this, in RESTORE_SIDE_FOLDER */
    char *backing;                       /* the name to write */
    const char *backing_format;          /* lent; where the header has none, but needs one now */
    char *data_name;                     /* the same as backing, of the data file */
    struct target target;
    struct target data; /* of the data file, where there is one */
};

/* What the layers of image ${image}, or of all where it is their count, and then the side files,
 * become: a base before its overlays, no target open. Tells what gets another name. ${*plans} and
 * ${*count} are to be freed, on failure too. */
int restore_plans_make(struct restore *r, size_t image, struct restore_plan **plans, size_t *count,
                       struct error *err);
void restore_plans_free(struct restore_plan *plans, size_t count);

/* All is lent by ${plan}. */
struct restore_names restore_plan_names(struct restore_plan *plan);

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

/* The header of that qcow2: the top's cluster size, version and compression type; a raw top gets
 * QEMU's defaults. */
void restore_flat_header(const struct flat_image *flat, struct qcow2_header *header);

/* The raw image to a stream, from its first byte to its last. */
int restore_flat_stream(struct restore *r, struct flat_image *flat, int fd, uint64_t *written,
                        struct error *err);

int restore_verify_flat(struct restore *r, struct flat_image *flat, const struct target *target,
                        bool raw, struct error *err);

/* ---- formats that qemu-img writes ---- */

struct restore_format {
    const char *name;    /* QEMU's for it */
    const char *suffix;  /* of files, with the dot */
    const char *options; /* for making one, or NULL */
};

/* NULL: byre writes it itself. */
const struct restore_format *restore_format_of(enum engine_format format);

/* What the file of ${layer} was in; NULL: byre writes that itself. One that nothing here writes
 * becomes raw. */
const struct restore_format *restore_format_of_layer(const struct record_layer *layer);

/* A file of such a format being made: ${raw} takes the disk first, and is its caller's to write,
 * and to read back where he wants that. It lies in the folder of ${target}. */
struct restore_conversion {
    const struct restore_format *format;
    struct target *target; /* lent */
    struct target raw;
    uint64_t begin; /* bytes of progress before it */
};

/* Begins ${target}, for ${path}, and ${c->raw}, for a disk of ${size} bytes; a size that the format
 * cannot have exactly is refused now. ${c} is to be cleared, and then ${target}. */
int restore_conversion_begin(struct restore_conversion *c, struct restore *r,
                             const struct restore_format *format, struct target *target,
                             const char *path, uint64_t size, struct error *err);

/* Makes ${c->target} of what ${c->raw} holds, which is as much progress as writing that was, and
 * holds them against each other where what was written is to be verified. */
int restore_conversion_finish(struct restore_conversion *c, struct restore *r, struct error *err);

void restore_conversion_clear(struct restore_conversion *c);

#endif
