/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_SNAPSHOT_H
#define BYRE_QCOW2_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/image.h"

/*
 * The table of internal snapshots: pure decoding and encoding of its entries.
 * What an L1 points to is looked at by qcow2_view_open.
 */

enum {
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_TABLE = 64 << 20, /* bytes */
};

struct qcow2_snapshot {
    uint8_t *raw;   /* the whole table entry as stored, without what pads it */
    size_t raw_len; /* bytes */
    uint64_t l1_offset;
    uint32_t l1_size; /* entries */
    char *id;         /* up to its first NUL; all of it is in raw */
    char *name;       /* not unique; bytes as stored, up to the first NUL */
    uint32_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock;      /* nanoseconds */
    uint64_t vm_state_size; /* bytes; the 64-bit field where the entry has it */
    uint64_t disk_size;     /* bytes; that of the active state where the entry has none */
    bool has_icount;
    uint64_t icount;
};

/*
 * Decodes the ${count} entries of a snapshot table, ${len} bytes at ${table}: each aligned to 8
 * bytes, without anything behind the last but what pads it, which may be missing. ${disk_size} is
 * the size of the active disk. Sets ${*array}, given to the caller, to be freed by
 * qcow2_snapshots_free; NULL on failure. ERROR_CORRUPT names the entry and its offset in the table.
 * L1 offsets are not checked.
 */
int qcow2_snapshots_decode(struct qcow2_snapshot **array, uint32_t count, const uint8_t *table,
                           size_t len, uint64_t disk_size, struct error *err);
void qcow2_snapshots_free(struct qcow2_snapshot *array, uint32_t count);

/* Bytes that the entry takes in a table, padding included. */
size_t qcow2_snapshot_size(const struct qcow2_snapshot *snapshot);

/* Writes the entry as it was stored, but with its L1 at ${l1_offset}, into ${buf} of
 * qcow2_snapshot_size() bytes. */
void qcow2_snapshot_encode(uint8_t *buf, const struct qcow2_snapshot *snapshot, uint64_t l1_offset);

/* Sets ${*array} to the ${*count} snapshots of ${image} in the order of the table, owned by the
 * image; entry i is view i + 1. */
void qcow2_image_snapshots(const struct qcow2_image *image, const struct qcow2_snapshot **array,
                           uint32_t *count);

#endif
