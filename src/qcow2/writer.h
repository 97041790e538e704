/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_WRITER_H
#define BYRE_QCOW2_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/bitmap.h"
#include "qcow2/header.h"
#include "qcow2/image.h"
#include "qcow2/snapshot.h"

/*
 * Writes a qcow2 file into an empty file or a block device, in the physical
 * layout (every uncompressed cluster at its old host offset) or the compact one
 * (guest order). Order: data and L2, L1, snapshot table, bitmaps, refcounts,
 * fsync, header last, fsync. For one thread at a time.
 *
 * Physical: begin; reserve() for all entries of all regions of all views; place(); then region()
 * for each region that has entries; crypto(), snapshots() and bitmaps, in any order and between
 * regions, too; finish(). Both reserve() and region() take views in any order, and what belongs to
 * one view in guest order. Compact: begin; region() for each region in guest order; finish();
 * entries' host offsets and lengths are ignored.
 *
 * View 0 is the active state, view i snapshot i - 1. What views share is written once: clusters,
 * compressed streams, and L2 tables where two views have equal entries at one L1 index.
 */

struct qcow2_writer;

struct qcow2_target {
    int fd;           /* lent; an empty regular file, or a block device; -1: begin only checks the
                         header, and the writer is to be freed */
    const char *name; /* lent; for messages */
    int is_device;    /* zeros must be written, not left as holes */

    /* Only where the header has the bit of an external data file. */
    int data_fd;           /* lent, like fd; -1: none */
    const char *data_name; /* lent; for messages */
    int data_is_device;
};

/* What the header does not say. */
struct qcow2_writer_options {
    const uint32_t *l1_sizes; /* entries of each view's L1; that of view 0 is the header's. Lent,
                                 until begin returns */
    uint32_t views;           /* 1 + the number of internal snapshots */
    uint64_t crypto_offset;   /* the LUKS area, at the start of a cluster */
    uint64_t crypto_length;   /* bytes; 0: none */
    uint64_t data_size;       /* length of the external data file, bytes */
    const char *data_file;    /* the name of the data file that the header gets; lent, until begin
                                 returns; NULL: as in the original header */
};

/*
 * Begins a file with the fields of ${header}: version, cluster_bits, size, l1_size, crypt_method,
 * features, refcount_order, header_length, compression_type, backing file and format. Of the
 * features dirty is cleared, corrupt and the unknown compatible bits are kept; of the autoclear
 * bits only that of a raw data file is. Offsets and nb_snapshots in it are ignored. Its extensions
 * are written, too, where ${original_header} holds them: the header cluster as it was, or NULL, see
 * qcow2_header_encode; that of bitmaps only if bitmaps are written. ${options} may be NULL: one
 * view, no LUKS area, a data file of the virtual size. All are copied. ERROR_NO_SPACE, before
 * anything is written, where the header does not fit its cluster; ERROR_UNSUPPORTED and
 * ERROR_CORRUPT for a header that cannot be written. Compact files have one view, and neither
 * encryption nor a data file.
 */
int qcow2_writer_begin_physical(struct qcow2_writer **writer, const struct qcow2_target *target,
                                const struct qcow2_header *header, const uint8_t *original_header,
                                const struct qcow2_writer_options *options, struct error *err);
int qcow2_writer_begin_compact(struct qcow2_writer **writer, const struct qcow2_target *target,
                               const struct qcow2_header *header, struct error *err);

/*
 * Marks the host clusters of ${n} entries of ${view} from guest cluster ${first} on as taken. Those
 * of compressed entries have their true lengths (see qcow2_image_read), or neighbours would seem to
 * collide. ERROR_CORRUPT for a host offset that is impossible, ERROR_UNSUPPORTED for one that no
 * refcount table of this width reaches, or more owners of a cluster than it can count. Not for the
 * compact layout.
 */
int qcow2_writer_reserve(struct qcow2_writer *writer, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n, struct error *err);

/* Places L1 and L2 tables in the gaps that the reservations left, else behind the end.
 * ERROR_NO_SPACE where a device is too small for what is known by now. */
int qcow2_writer_place(struct qcow2_writer *writer, struct error *err);

/*
 * Sets ${wanted[i]} to whether region() called now with these arguments would use the bytes of
 * entry i: false where it has none, and where they came with another view. They may be anything
 * then. After place(); the answer stands until the next region().
 */
void qcow2_writer_wanted(const struct qcow2_writer *writer, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n, bool *wanted);

/*
 * Writes ${n} clusters of ${view} from guest cluster ${first} on: their entries, and from ${data}
 * (${n} clusters; what is not data or compressed is ignored, as are subclusters that are not
 * allocated) their bytes; a part of 4 KiB and more that is all zero stays a hole. Entries are those
 * that were reserved. Compressed clusters are compressed again: at their old place where the stream
 * is not longer than before, and collides with nothing, else behind the end; one that does not
 * shrink becomes plain data (in an encrypted file, where plain data would be taken for ciphertext,
 * a longer stream).
 */
int qcow2_writer_region(struct qcow2_writer *writer, uint32_t view, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, const uint8_t *data,
                        struct error *err);

/* Takes bytes of a region: ${len} at ${at} (behind its first cluster) belong to ${offset} of the
 * file that has the data. */
struct qcow2_scatter {
    int (*put)(void *arg, size_t at, size_t len, uint64_t offset, struct error *err);
    void *arg;
};

/*
 * Like region(), but leaves the data to the caller: tells where it goes, in the order of the
 * region. (Where views share subclusters, the same bytes come with both.) All of it is to be
 * written before finish(), which does not count it. For regions of which no compressed cluster is
 * wanted.
 */
int qcow2_writer_scatter(struct qcow2_writer *writer, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n,
                         const struct qcow2_scatter *scatter, struct error *err);

/* Threads that compressed clusters are encoded in: ${each} calls ${run} for each i below ${n}, with
 * a number below ${count} that no other call has at that time, and returns when all is done. */
struct qcow2_workers {
    unsigned count;
    void (*each)(void *arg, size_t n, void (*run)(void *arg, size_t i, unsigned worker),
                 void *run_arg);
    void *arg;
};

/* After begin, before regions. */
void qcow2_writer_set_workers(struct qcow2_writer *writer, const struct qcow2_workers *workers);

/* Writes the LUKS area, all ${len} bytes of it, where it was. After begin. */
int qcow2_writer_crypto(struct qcow2_writer *writer, const uint8_t *bytes, size_t len,
                        struct error *err);

/* Writes the snapshot table: entry i is that of view i + 1, with the new place of its L1; ${n} is
 * the number of views but one. After place(). */
int qcow2_writer_snapshots(struct qcow2_writer *writer, const struct qcow2_snapshot *snapshots,
                           uint32_t n, struct error *err);

/*
 * Begins the next bitmap: name, flags, type, granularity, extra data and table size are those of
 * ${bitmap}, its table is ignored. ERROR_CORRUPT for one that QEMU would not open. Then comes one
 * cluster() for each entry of its table, with what qcow2_bitmap_read says of it; only DATA looks at
 * ${data}, a cluster. Physical layout, after place().
 */
int qcow2_writer_bitmap_begin(struct qcow2_writer *writer, const struct qcow2_bitmap *bitmap,
                              struct error *err);
int qcow2_writer_bitmap_cluster(struct qcow2_writer *writer, enum qcow2_bitmap_class class,
                                const uint8_t *data, struct error *err);

struct qcow2_writer_report {
    uint64_t bytes_written; /* data and metadata, in both files */
    uint64_t file_size;     /* bytes */
    uint64_t streams_moved; /* compressed clusters that could not stay, and went behind the end */
    uint64_t streams_plain; /* compressed clusters that became plain data */
};

/* Writes what is left, refcounts and header, and makes everything durable. ERROR_USAGE where
 * something that was announced did not come. ${report} may be NULL. */
int qcow2_writer_finish(struct qcow2_writer *writer, struct qcow2_writer_report *report,
                        struct error *err);
void qcow2_writer_free(struct qcow2_writer *writer);

#endif
