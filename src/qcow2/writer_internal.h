/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_WRITER_INTERNAL_H
#define BYRE_QCOW2_WRITER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qcow2/codec.h"
#include "qcow2/hostmap.h"
#include "qcow2/refcount.h"
#include "qcow2/spans.h"
#include "qcow2/writer.h"

/*
 * What the two layouts differ in: where things go. What is written, how it is
 * counted and in which order, they share.
 *
 * writer.c           begin, finish, header, L1
 * writer_region.c    entries, L2 tables, data and streams
 * writer_physical.c  the layout that puts everything where it was
 * writer_compact.c   the layout that puts one behind the other
 */
struct writer_layout {
    /* Guest cluster ${cluster}, not unallocated, is to be written as ${entry}, which was checked.
     * Makes sure that its L2 table has its place, in w->l1. */
    int (*admit)(struct qcow2_writer *w, uint64_t cluster, const struct qcow2_entry *entry,
                 struct error *err);

    /* Sets ${*host} to the host offset of a data or zero-alloc cluster. It is taken and counted. */
    int (*cluster)(struct qcow2_writer *w, const struct qcow2_entry *entry, uint64_t *host,
                   struct error *err);

    /* Whether a stream of ${len} bytes goes to where ${entry} says; else it goes to the end.
     * NULL: there are no old places. */
    bool (*stream_stays)(const struct qcow2_writer *w, const struct qcow2_entry *entry,
                         uint32_t len);

    /* Whether everything that was announced has come. NULL: nothing is announced. */
    int (*complete)(const struct qcow2_writer *w, struct error *err);
};

/* What waits to be written in one go. */
struct writer_pending {
    uint8_t *buf;
    size_t room;
    size_t len;
    uint64_t offset; /* in the file */
};

struct qcow2_writer {
    struct qcow2_target target;
    const struct writer_layout *layout;
    struct qcow2_header header;
    uint8_t *original_header; /* NULL: none */
    size_t cluster_size;      /* bytes */
    uint64_t table_entries;   /* of an L2 table */
    struct hostmap map;
    struct refcounts counts;
    uint64_t *l1; /* the host offset of each L2 table; 0: none */

    uint8_t *table;        /* the L2 table being filled, as it goes to the file */
    uint64_t table_index;  /* in the L1; UINT64_MAX: none */
    uint64_t next_cluster; /* of the guest; what comes is at or behind it */

    struct qcow2_codec *codec;     /* NULL until the first compressed cluster */
    uint8_t *stream;               /* a cluster */
    uint64_t tail;                 /* host offset behind the last appended stream; at a cluster's
                                    * start: there is no room behind it */
    struct writer_pending pending; /* streams */

    /* Only the physical layout. */
    struct spans streams; /* the old places of compressed clusters */
    uint64_t announced;   /* entries reserved and not yet written */
    bool placed;

    struct qcow2_writer_report report;
};

/* An L1 entry of the physical layout before place(): its table is needed. No offset is 1. */
enum { WRITER_TABLE_NEEDED = 1 };

/* Begins a file of ${layout}; the header's cluster is all that is taken. */
int writer_new(struct qcow2_writer **writer, const struct writer_layout *layout,
               const struct qcow2_target *target, const struct qcow2_header *header,
               const uint8_t *original_header, struct error *err);

/* Puts the L1 into the lowest gap, or at the end. */
int writer_place_l1(struct qcow2_writer *w, struct error *err);

/* Takes a cluster for L2 table ${index}, from a gap or the end. */
int writer_place_table(struct qcow2_writer *w, uint64_t index, struct error *err);

/* Takes a cluster at the end, alone for data; sets ${*host}. */
int writer_append_cluster(struct qcow2_writer *w, uint64_t *host, struct error *err);

/* Counts one reference more to all host clusters of ${len} bytes at ${host}. */
int writer_count(struct qcow2_writer *w, uint64_t host, uint64_t len, struct error *err);

/* Whether all host clusters of ${len} bytes at ${host} can be referenced once more. */
bool writer_countable(const struct qcow2_writer *w, uint64_t host, uint64_t len);

/* ERROR_USAGE where ${n} clusters from ${first} on do not follow those of the call before. */
int writer_check_order(const struct qcow2_writer *w, uint64_t first, size_t n, struct error *err);

/* ERROR_CORRUPT for an entry, not unallocated, that guest cluster ${cluster} cannot have. */
int writer_check_entry(const struct qcow2_writer *w, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err);

/* ERROR_NO_SPACE where a device is too small for what has its place by now. */
int writer_check_space(const struct qcow2_writer *w, struct error *err);

/* Writes and accounts. */
int writer_write(struct qcow2_writer *w, uint64_t offset, const void *buf, size_t len,
                 struct error *err);

/* Writes what regions left in memory: the last L2 table, and streams. */
int writer_flush_regions(struct qcow2_writer *w, struct error *err);

#endif
