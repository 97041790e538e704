/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_IMAGE_H
#define BYRE_QCOW2_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/reads.h"
#include "qcow2/header.h"

/*
 * Reads one qcow2 file, without its backing file: what each cluster of a view
 * is, and the bytes of those that hold some. A view is the active state or an
 * internal snapshot. Bytes of encrypted images are handed out as they are
 * stored. Stricter than QEMU: whatever is not fully inside the file is refused.
 * One image with its views is for one thread at a time.
 */

enum qcow2_class {
    QCOW2_UNALLOCATED = 0, /* reads from the backing file */
    QCOW2_ZERO = 1,        /* reads as zeros, owns no host cluster */
    QCOW2_ZERO_ALLOC = 2,  /* reads as zeros, owns a host cluster */
    QCOW2_DATA = 3,
    QCOW2_COMPRESSED = 4,
};

struct qcow2_entry {
    enum qcow2_class class;
    uint32_t length; /* compressed: bytes of the stream; from the descriptor an upper bound, after
                        qcow2_image_read the true length. Else 0 */
    uint64_t host;   /* host offset, bytes, in the data file where there is one; 0 where the class
                        has none */
    /* Extended L2 only: bit i is subcluster i, a 32nd of the cluster. The class is that of the host
     * side: data has a host cluster, whatever its subclusters are; zero-alloc has one and all
     * subclusters are zero; zero has none, and some are zero; unallocated neither. What is in
     * neither mask reads from the backing file. Compressed: both 0. */
    uint32_t sub_alloc;
    uint32_t sub_zero;
    bool copied; /* as stored: refcount 1, so that a writer may overwrite it; snapshots have stale
                    ones. What is encoded does not depend on it */
};

struct qcow2_image;
struct qcow2_view;

struct qcow2_open_options {
    bool force_corrupt;    /* read an image although it is marked corrupt */
    int data_fd;           /* the external data file, lent; -1: none */
    uint64_t data_size;    /* its size, bytes */
    const char *data_name; /* for messages, lent; NULL: that of the image */
};

/*
 * Opens the qcow2 file behind ${fd}, of ${file_size} bytes (for a block device: its size), for
 * reading, and sets ${*image}, NULL on failure. ${fd} and ${name} (for messages) are lent and must
 * outlive the image, and so must what is lent by ${options} (NULL: none of it). Reads the header,
 * the snapshot table and the active L1. ERROR_UNSUPPORTED: marked corrupt, and not forced; or it
 * needs an external data file, which the message names, and none is given.
 */
int qcow2_image_open(struct qcow2_image **image, int fd, const char *name, uint64_t file_size,
                     const struct qcow2_open_options *options, struct error *err);
void qcow2_image_close(struct qcow2_image *image);

const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image);

/* The header cluster as it is in the file: qcow2_image_cluster_size() bytes, owned by the image. */
const uint8_t *qcow2_image_header_cluster(const struct qcow2_image *image);

uint32_t qcow2_image_cluster_size(const struct qcow2_image *image); /* bytes */
uint64_t qcow2_image_virtual_size(const struct qcow2_image *image); /* bytes, multiple of 512 */

/* The active view, made by qcow2_image_open and owned by the image. */
struct qcow2_view *qcow2_image_active(const struct qcow2_image *image);

/*
 * Opens view ${index} of ${image}, which must outlive it: 0 is the active state, i is entry i - 1
 * of the snapshot table. Each holds its L1 (up to 32 MiB) and, once entries are asked for, some L2
 * tables (256 KiB, or one of up to 2 MiB): whoever opens many has to count. ERROR_CORRUPT names the
 * snapshot and what is wrong with its L1, which nobody looks at before; ERROR_USAGE: there is no
 * such view.
 */
int qcow2_view_open(struct qcow2_view **view, struct qcow2_image *image, uint32_t index,
                    struct error *err);
void qcow2_view_close(struct qcow2_view *view);

/* The L1 as it is in the file, decoded to host order: qcow2_view_l1_size() entries. In snapshots
 * the COPIED bits mean nothing. */
uint32_t qcow2_view_l1_size(const struct qcow2_view *view);
const uint64_t *qcow2_view_l1(const struct qcow2_view *view);

/* Size of the disk in this view, bytes; not a multiple of anything. VM state lies behind it, from
 * the next L1 entry on. */
uint64_t qcow2_view_disk_size(const struct qcow2_view *view);

/* Clusters in the address space of the L1 (which may end before or behind the disk's size). Past
 * the end of the L1 every cluster is unallocated. */
uint64_t qcow2_view_clusters(const struct qcow2_view *view);

/*
 * The first guest cluster at or after ${cluster} whose L2 table exists (an L2 table is the step),
 * or qcow2_view_clusters(). So whole absent L2 tables cost nothing.
 */
uint64_t qcow2_view_next_table(const struct qcow2_view *view, uint64_t cluster);

/*
 * Decodes ${n} entries from guest cluster ${first} on into ${out}. Reads L2 tables through a
 * small cache. ERROR_CORRUPT names the table or entry and its host offset.
 */
int qcow2_view_entries(struct qcow2_view *view, uint64_t first, size_t n, struct qcow2_entry *out,
                       struct error *err);

/*
 * Reads the bytes of ${n} consecutive guest clusters from ${first} on, whose entries, of any view,
 * are ${entries}, into ${buf} (${n} clusters): data clusters are read (those that lie together on
 * the host at once; past a partial last cluster, zeros), compressed ones decoded, and their entry's
 * length set to the true one. All other classes become zeros, and so do the subclusters of a data
 * cluster that are not allocated. ERROR_CORRUPT names the guest cluster and the host offset.
 */
int qcow2_image_read(struct qcow2_image *image, uint64_t first, size_t n,
                     struct qcow2_entry *entries, uint8_t *buf, struct error *err);

/*
 * The same, but reads of plain data are left for later, by any thread: they are added to ${later},
 * which qcow2_image_reads has begun, and do not count as data read. Once all are added,
 * reads_prepare; then reads_bring brings them to ${buf}, or elsewhere.
 */
int qcow2_image_read_later(struct qcow2_image *image, uint64_t first, size_t n,
                           struct qcow2_entry *entries, uint8_t *buf, struct reads *later,
                           struct error *err);
void qcow2_image_reads(const struct qcow2_image *image, struct reads *reads);

/* Adds the data cluster of ${entry}, whose place is ${buf}, to ${later} as one that will mostly not
 * be wanted. */
int qcow2_image_spare(const struct qcow2_image *image, const struct qcow2_entry *entry,
                      uint8_t *buf, struct reads *later, struct error *err);

/* Decodes the compressed cluster of ${entry} to ${buf}, in any thread, reading as the spare of
 * ${reads}, which are of this image. ${*codec}, that thread's, is made where it is NULL. */
struct qcow2_codec;
int qcow2_image_read_stream(const struct qcow2_image *image, const struct reads *reads,
                            struct qcow2_codec **codec, const struct qcow2_entry *entry,
                            uint8_t *buf, struct error *err);

/*
 * From then on the page cache is left as it was found: what reads that are left for later bring
 * in goes when they are done, and the rest with the next qcow2_image_settle.
 */
void qcow2_image_keep_cache(struct qcow2_image *image);
void qcow2_image_settle(struct qcow2_image *image);

/* Bytes of qcow2 metadata, and of data and compressed streams, read from the file so far. */
uint64_t qcow2_image_metadata_read(const struct qcow2_image *image);
uint64_t qcow2_image_data_read(const struct qcow2_image *image);

#endif
