/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_IMAGE_INTERNAL_H
#define BYRE_QCOW2_IMAGE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qcow2/codec.h"
#include "qcow2/image.h"
#include "qcow2/snapshot.h"

/*
 * What the parts of the reader share.
 *
 * image.c       the file: header, snapshot table
 * image_read.c  bytes of clusters
 * view.c        the active state or a snapshot: L1, L2 tables, entries
 * bitmap.c      persistent bitmaps
 */
struct qcow2_image {
    int fd;
    const char *name;
    uint64_t file_size;
    int data_fd; /* where data clusters are: fd, or the external data file */
    const char *data_name;
    uint64_t data_size;
    bool external; /* there is an external data file */
    struct qcow2_header header;
    size_t cluster_size;
    size_t entry_size; /* of an L2 entry */
    uint32_t l2_bits;  /* a table has 1 << l2_bits entries */
    uint8_t *header_cluster;
    struct qcow2_snapshot *snapshots; /* header.nb_snapshots */
    uint64_t snapshots_l1;            /* bytes of all their L1 tables */
    struct qcow2_view *active;
    struct qcow2_codec *codec; /* made at the first compressed cluster */
    uint8_t *stream;
    size_t stream_size;
    struct {           /* where the file with the data has some, as far as was asked last */
        uint64_t from; /* nothing from here to begin */
        uint64_t begin;
        uint64_t end;
    } extent;
    struct reads_pages pages; /* of the file with the data, once the page cache is to be kept */
    struct reads expected;    /* in no order of bytes: never run */
    uint64_t metadata_read;
    uint64_t data_read;
};

/* Whether the class has a host cluster, or a stream. */
bool image_has_host(const struct qcow2_entry *e);

/* ERROR_CORRUPT where what ${e}, which has a host offset, points to is not in the file; its end may
 * cut it within its last cluster only. */
int image_check_range(const struct qcow2_image *image, const struct qcow2_entry *e,
                      struct error *err);

#endif
