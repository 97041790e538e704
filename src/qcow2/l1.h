/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_L1_H
#define BYRE_QCOW2_L1_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"

/*
 * Reads the L1 table that ${h} names from ${fd}, a file of ${file_size} bytes, and sets ${*l1} to
 * its h->l1_size entries in host order, given to the caller. Each L2 table is inside the file, and
 * named by one entry only; otherwise ERROR_CORRUPT with the entry and its offset.
 */
int qcow2_l1_read(uint64_t **l1, int fd, const char *name, const struct qcow2_header *h,
                  uint64_t file_size, struct error *err);

/* Bytes of the L2 table of L1 entry ${index} that describe the disk; the file may end behind them.
 * Tables behind the end of the disk (VM state) are used in whole. */
size_t qcow2_l1_table_used(const struct qcow2_header *h, uint64_t index);

#endif
