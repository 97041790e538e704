/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_IMAGE_H
#define BYRE_QCOW2_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"

/*
 * Reads one qcow2 file, without its backing file: what each cluster of the
 * active view is, and the bytes of those that hold some. Stricter than QEMU:
 * whatever is not fully inside the file is refused. One image is for one
 * thread at a time.
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
    uint64_t host;   /* host offset, bytes; 0 where the class has none */
    uint32_t sub_alloc; /* extended L2 only: bit i is subcluster i */
    uint32_t sub_zero;
};

struct qcow2_image;

/*
 * Opens the qcow2 file behind ${fd}, of ${file_size} bytes (for a block device: its size), for
 * reading, and sets ${*image}, NULL on failure. ${fd} and ${name} (for messages) are lent and must
 * outlive the image. ERROR_UNSUPPORTED names the feature that this version does not handle.
 */
int qcow2_image_open(struct qcow2_image **image, int fd, const char *name, uint64_t file_size,
                     struct error *err);
void qcow2_image_close(struct qcow2_image *image);

const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image);

/* The header cluster as it is in the file: qcow2_image_cluster_size() bytes, owned by the image. */
const uint8_t *qcow2_image_header_cluster(const struct qcow2_image *image);

/* The active L1 as it is in the file, decoded to host order: header->l1_size entries. */
const uint64_t *qcow2_image_l1(const struct qcow2_image *image);

uint32_t qcow2_image_cluster_size(const struct qcow2_image *image); /* bytes */
uint64_t qcow2_image_virtual_size(const struct qcow2_image *image); /* bytes, multiple of 512 */

/* Clusters in the address space of the active L1 (which may end before or behind the virtual
 * size). Past the end of the L1 every cluster is unallocated. */
uint64_t qcow2_image_clusters(const struct qcow2_image *image);

/*
 * The first guest cluster at or after ${cluster} whose L2 table exists (an L2 table is the step),
 * or qcow2_image_clusters(). So whole absent L2 tables cost nothing.
 */
uint64_t qcow2_image_next_table(const struct qcow2_image *image, uint64_t cluster);

/*
 * Decodes ${n} entries from guest cluster ${first} on into ${out}. Reads L2 tables through a
 * small cache. ERROR_CORRUPT names the table or entry and its host offset.
 */
int qcow2_image_entries(struct qcow2_image *image, uint64_t first, size_t n,
                        struct qcow2_entry *out, struct error *err);

/*
 * Reads the bytes of ${n} consecutive guest clusters from ${first} on, whose entries are
 * ${entries}, into ${buf} (${n} clusters): data clusters are read (those that lie together on the
 * host at once; past a partial last cluster, zeros), compressed ones decoded, and their entry's
 * length set to the true one. All other classes become zeros. ERROR_CORRUPT names the guest
 * cluster and the host offset.
 */
int qcow2_image_read(struct qcow2_image *image, uint64_t first, size_t n,
                     struct qcow2_entry *entries, uint8_t *buf, struct error *err);

/* Bytes of qcow2 metadata, and of data and compressed streams, read from the file so far. */
uint64_t qcow2_image_metadata_read(const struct qcow2_image *image);
uint64_t qcow2_image_data_read(const struct qcow2_image *image);

#endif
