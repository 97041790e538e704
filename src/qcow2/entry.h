/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_ENTRY_H
#define BYRE_QCOW2_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/header.h"
#include "qcow2/image.h"

/*
 * The entries of L1 and L2 tables: pure decoding and encoding. Whether what
 * they point to is inside the file is the caller's to check.
 */

enum { QCOW2_SECTOR_SIZE = 512 }; /* the unit of a compressed cluster's length */

/* Bits 9 to 55 of an entry of either table; the reserved bits are masked, as QEMU does it. */
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_COPIED      (UINT64_C(1) << 63)

/* Host offsets of compressed streams must be below this: 2^(70 - cluster_bits) bytes. */
uint64_t qcow2_entry_compressed_limit(const struct qcow2_header *h);

/* Bytes of an L2 entry (8, or 16 with extended L2), and binary logarithm of the entries of a
 * table, which fills one cluster. */
size_t qcow2_entry_size(const struct qcow2_header *h);
uint32_t qcow2_entry_l2_bits(const struct qcow2_header *h);

/* Sets ${*offset} to the host offset of the L2 table that L1 entry ${word} names, 0 for none. */
int qcow2_entry_decode_l1(uint64_t *offset, const struct qcow2_header *h, uint64_t word,
                          struct error *err);

/*
 * Decodes the L2 entry at ${p} (qcow2_entry_size() bytes) into ${*e}. Its length is the upper bound
 * that the descriptor gives. With extended L2 the class is that of the cluster's host side:
 * data where it owns a host cluster and not all of it is zero, zero where it owns none and
 * any subcluster is zero; sub_alloc and sub_zero say the rest. With an external data file offset 0
 * with the COPIED bit is a host cluster. ERROR_CORRUPT says what is wrong
 * with the entry.
 */
int qcow2_entry_decode(struct qcow2_entry *e, const struct qcow2_header *h, const uint8_t *p,
                       struct error *err);

/*
 * Encodes ${e} into ${p} (qcow2_entry_size() bytes); ${copied} sets the COPIED bit where the class
 * has it; with an external data file it belongs into every entry. For a compressed entry host and
 * (true) length make the sector count. ERROR_USAGE for what the format cannot say.
 */
int qcow2_entry_encode(uint8_t *p, const struct qcow2_header *h, const struct qcow2_entry *e,
                       bool copied, struct error *err);

/* The end of the last 512-byte sector that a stream of ${length} bytes at ${host} touches. */
uint64_t qcow2_entry_stream_end(uint64_t host, uint32_t length);

#endif
