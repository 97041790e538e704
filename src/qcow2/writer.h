/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_WRITER_H
#define BYRE_QCOW2_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"
#include "qcow2/image.h"

/*
 * Writes a qcow2 file into an empty file or a block device, in the physical
 * layout (every uncompressed cluster at its old host offset) or the compact one
 * (guest order). Order: data, L2, L1, refcounts, fsync, header last, fsync.
 * For one thread at a time.
 *
 * Physical: begin; reserve() for all entries of all regions, in guest order; place(); then region()
 * for each region that has entries, in guest order; finish(). Compact: begin; region() for each
 * region in guest order; finish(). Entries' host offsets and lengths are ignored.
 */

struct qcow2_writer;

struct qcow2_target {
    int fd;           /* lent; an empty regular file, or a block device */
    const char *name; /* lent; for messages */
    int is_device;    /* zeros must be written, not left as holes */
};

/*
 * Begins a file with the fields of ${header}: version, cluster_bits, size, l1_size, features (dirty
 * is cleared, autoclear bits are dropped), refcount_order, header_length, compression_type, backing
 * file and format. Offsets in it are ignored. Its extensions are written, too, where
 * ${original_header} holds them: the header cluster as it was, or NULL, see qcow2_header_encode.
 * Both are copied. ERROR_NO_SPACE, before anything is written, where the header does not fit its
 * cluster; ERROR_UNSUPPORTED and ERROR_CORRUPT for a header that cannot be written.
 */
int qcow2_writer_begin_physical(struct qcow2_writer **writer, const struct qcow2_target *target,
                                const struct qcow2_header *header, const uint8_t *original_header,
                                struct error *err);
int qcow2_writer_begin_compact(struct qcow2_writer **writer, const struct qcow2_target *target,
                               const struct qcow2_header *header, struct error *err);

/*
 * Marks the host clusters of ${n} entries from guest cluster ${first} on as taken. Those of
 * compressed entries have their true lengths (see qcow2_image_read), or neighbours would seem to
 * collide. ERROR_CORRUPT for a host offset that is impossible, ERROR_UNSUPPORTED for one that no
 * refcount table of this width reaches, or more owners of a cluster than it can count. Not for the
 * compact layout.
 */
int qcow2_writer_reserve(struct qcow2_writer *writer, uint64_t first,
                         const struct qcow2_entry *entries, size_t n, struct error *err);

/* Places L1 and L2 tables in the gaps that the reservations left, else behind the end.
 * ERROR_NO_SPACE where a device is too small for what is known by now. */
int qcow2_writer_place(struct qcow2_writer *writer, struct error *err);

/*
 * Writes ${n} clusters from guest cluster ${first} on: their entries, and from ${data} (${n}
 * clusters; what is not data or compressed is ignored) their bytes; a part of 4 KiB and more that
 * is all zero stays a hole. Compressed clusters are compressed again: at their old place where the
 * stream is not longer than before, and collides with nothing, else behind the end; one that does
 * not shrink becomes plain data.
 */
int qcow2_writer_region(struct qcow2_writer *writer, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, const uint8_t *data,
                        struct error *err);

struct qcow2_writer_report {
    uint64_t bytes_written; /* data and metadata */
    uint64_t file_size;     /* bytes */
    uint64_t streams_moved; /* compressed clusters that could not stay, and went behind the end */
    uint64_t streams_plain; /* compressed clusters that became plain data */
};

/* Writes refcounts and header, and makes everything durable. ${report} may be NULL. */
int qcow2_writer_finish(struct qcow2_writer *writer, struct qcow2_writer_report *report,
                        struct error *err);
void qcow2_writer_free(struct qcow2_writer *writer);

#endif
