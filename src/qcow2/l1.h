/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_L1_H
#define BYRE_QCOW2_L1_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"

/* Where an L1 table is, and what it maps. */
struct qcow2_l1_place {
    uint64_t offset; /* in the file */
    uint32_t size;   /* entries */
    uint64_t disk_size;
};

/*
 * Reads the L1 table at ${place}, of an image with header ${h}, from ${fd}, a file of ${file_size}
 * bytes, and sets ${*l1} to its entries in host order, given to the caller. Each L2 table is inside
 * the file, and named by one entry only; otherwise ERROR_CORRUPT with the entry and its offset.
 */
int qcow2_l1_read(uint64_t **l1, int fd, const char *name, const struct qcow2_header *h,
                  const struct qcow2_l1_place *place, uint64_t file_size, struct error *err);

/* ERROR_CORRUPT where the table at ${place} is not one that qcow2_l1_read may be asked for: not
 * aligned to a cluster, over the header, above 32 MiB, not inside a file of ${file_size} bytes. */
int qcow2_l1_check_place(const struct qcow2_header *h, const struct qcow2_l1_place *place,
                         uint64_t file_size, struct error *err);

/* Bytes of the L2 table of L1 entry ${index} that describe the disk of ${disk_size} bytes; the file
 * may end behind them. Tables behind the end of the disk (VM state) are used in whole. */
size_t qcow2_l1_table_used(const struct qcow2_header *h, uint64_t disk_size, uint64_t index);

#endif
