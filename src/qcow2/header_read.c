/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the header cluster from a file. What it says is header.c's.
 */
#include <stdlib.h>

#include "base/io.h"
#include "qcow2/header.h"

int qcow2_header_read(struct qcow2_header *h, uint8_t **header_cluster, int fd, const char *name,
                      uint64_t file_size, uint64_t *bytes_read, struct error *err)
{
    uint8_t peek[QCOW2_V3_HEADER_SIZE] = {0};
    uint8_t *cluster = NULL;
    size_t got, size;
    int rc;

    *header_cluster = NULL;
    if ((rc = io_read_some(fd, name, 0, peek, sizeof peek, &got, err)) < 0)
        return rc;
    *bytes_read += got;
    size = qcow2_header_peek_cluster_size(peek);
    if (size == 0) { /* there is no cluster to read; decoding says why */
        rc = qcow2_header_decode(h, peek, got, file_size, err);
        error_wrap(err, "%s", name);
        return rc;
    }
    if (!(cluster = calloc(1, size)))
        return error_no_memory(err);
    if ((rc = io_read_some(fd, name, 0, cluster, size, &got, err)) < 0)
        goto fail;
    *bytes_read += got;
    if ((rc = qcow2_header_decode(h, cluster, got, file_size, err)) < 0) {
        error_wrap(err, "%s", name);
        goto fail;
    }
    *header_cluster = cluster;
    return 0;

fail:
    free(cluster);
    return rc;
}
