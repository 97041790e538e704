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
 * writer.c            begin, finish, L1s
 * writer_header.c     the header and its extensions
 * writer_host.c       taking, counting and writing of host clusters
 * writer_table.c      L2 tables, and which views share them
 * writer_region.c     entries and data
 * writer_stream.c     compressed clusters
 * writer_encode.c     their streams, by workers where there are any
 * writer_physical.c   the layout that puts everything where it was
 * writer_compact.c    the layout that puts one behind the other
 * writer_snapshots.c  the snapshot table
 * writer_bitmaps.c    bitmaps and their directory
 */
struct writer_layout {
    /* Guest cluster ${cluster} of ${view}, not unallocated, is to be written as ${entry}, which was
     * checked. Makes sure that its L2 table is in the view's L1, and has its place. */
    int (*admit)(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                 const struct qcow2_entry *entry, struct error *err);

    /* Sets ${*host} to the host offset of a data or zero-alloc cluster. It is taken and counted. */
    int (*cluster)(struct qcow2_writer *w, const struct qcow2_entry *entry, uint64_t *host,
                   struct error *err);

    /* Whether everything that was announced has come. NULL: nothing is announced. */
    int (*complete)(struct qcow2_writer *w, struct error *err);

    /* Entries come with places; streams go to theirs if they can. */
    bool old_places;
};

/* An L2 table. */
struct writer_table {
    uint64_t digest[2]; /* of its entries and its index in the L1 */
    uint32_t cluster;   /* of the host; 0: no place yet */
    uint32_t views;     /* that use it */
    uint32_t owner;     /* the view whose regions write it */
    uint32_t next;      /* in its bucket, 1 + index; 0: none */
    bool active;        /* view 0 uses it */
    bool touched;       /* some of it is in the file */
};

struct writer_view {
    uint32_t l1_size; /* entries */
    uint32_t *l1;     /* of each: 1 + index of its L2 table; 0: none */
    uint64_t l1_offset;
    uint64_t next_cluster;    /* of the guest; what comes is at or behind it */
    uint64_t announced;       /* entries reserved and not yet written */
    uint64_t index;           /* L1 index of the table that is passing by; UINT64_MAX: none */
    uint64_t digest[2];       /* of what passed by */
    struct span_list streams; /* of this table, as reserved; claimed if nobody has it yet */
};

/* What waits to be written in one go. */
struct writer_pending {
    uint8_t *buf;
    size_t room;
    size_t len;
    uint64_t offset; /* in the file */
};

/* The L2 table being filled: what belongs to entries ${from} to ${to} is not in the file yet. */
struct writer_buffer {
    uint8_t *buf;   /* a cluster, as it goes to the file */
    uint32_t table; /* 1 + index; 0: none */
    uint64_t from;
    uint64_t to;
};

/* Compressed clusters of the region that were encoded ahead, by workers. */
struct writer_encoder {
    struct qcow2_codec **codecs; /* one for each worker, the owner's first; NULL until needed */
    size_t first;                /* cluster of the region that the first of them is */
    size_t count;                /* of clusters, looked at for this */
    size_t room;
    size_t *lengths;  /* of the streams; SIZE_MAX: not encoded */
    uint8_t *streams; /* two clusters for each */
    bool *wanted;
};

/* The bitmap being written, and those that are. */
struct writer_bitmaps {
    uint8_t *table; /* as it goes to the file; NULL: no bitmap is begun */
    uint32_t table_size;
    uint32_t filled;
    uint8_t *directory; /* complete entries, then that of the bitmap being written */
    size_t directory_room;
    size_t directory_len; /* bytes of complete entries */
    size_t next_len;
    uint32_t n; /* complete entries */
};

struct qcow2_writer {
    struct qcow2_target target;
    const struct writer_layout *layout;
    struct qcow2_header header;
    uint8_t *original; /* a cluster: unknown header bytes, and the data of h->extensions */
    size_t original_len;
    size_t cluster_size;    /* bytes */
    uint64_t table_entries; /* of an L2 table */
    bool extended;          /* entries have subclusters */
    bool external;          /* data is in a file of its own */
    uint64_t data_size;     /* of that file, bytes */
    uint64_t crypto_offset;
    uint64_t crypto_length; /* 0: none */
    bool crypto_written;
    bool snapshots_written;
    struct hostmap map;
    struct refcounts counts;

    struct writer_view *views;
    uint32_t nb_views;
    struct writer_table *tables;
    uint32_t nb_tables;
    uint32_t tables_room;
    uint32_t *buckets;   /* heads of chains of tables by digest; only with more views than one */
    uint32_t nb_buckets; /* a power of two */
    struct writer_buffer buffer;
    uint8_t *scratch; /* a cluster */

    const uint8_t *data;                 /* of the region that is being written; NULL: */
    const struct qcow2_scatter *scatter; /* the caller writes it */

    struct qcow2_workers workers; /* count 0: none */
    struct writer_encoder encoder;
    uint8_t *stream;               /* two clusters */
    uint64_t tail;                 /* host offset behind the last appended stream; at a cluster's
                                    * start: there is no room behind it */
    struct writer_pending pending; /* streams */
    struct writer_bitmaps bitmaps;

    /* Only the physical layout. */
    struct spans streams; /* the old places of compressed clusters */
    void *twins;          /* tsearch tree of the contested ones that were written */
    bool placed;

    struct qcow2_writer_report report;
};

/* Data clusters that lie together in the region and in the file. */
struct writer_run {
    uint64_t host;
    size_t at; /* in the region that is being written, bytes */
    size_t len;
};

/* writer.c */

/* Begins a file of ${layout}; the header's cluster and the LUKS area are all that is taken. */
int writer_new(struct qcow2_writer **writer, const struct writer_layout *layout,
               const struct qcow2_target *target, const struct qcow2_header *header,
               const uint8_t *original_header, const struct qcow2_writer_options *options,
               struct error *err);

/* Puts the L1 of each view into the lowest gap, or at the end. */
int writer_place_l1s(struct qcow2_writer *w, struct error *err);

int writer_wrong_order(const struct qcow2_writer *w, const char *what, struct error *err);

/* writer_header.c */

/* Refuses what no writer of ${layout} can write. Needs no writer. */
int writer_header_check(const struct writer_layout *layout, const struct qcow2_header *header,
                        const struct qcow2_writer_options *options, const char *name,
                        struct error *err);

/* Takes over ${header} and its extensions, with no more than what will be true of the new file. */
int writer_header_copy(struct qcow2_writer *w, const struct qcow2_header *header,
                       const uint8_t *original, const struct qcow2_writer_options *options,
                       struct error *err);

/* Encodes the header as far as it is known into w->scratch: whether it fits does not depend on what
 * is still missing. */
int writer_header_encode(struct qcow2_writer *w, struct error *err);

/* Sets the extension of the bitmaps, or, where there are none, removes it. */
int writer_header_set_bitmaps(struct qcow2_writer *w, uint64_t directory, struct error *err);

/* writer_host.c */

/* Takes a cluster at the end, alone for data, and counts it ${n} times; sets ${*host}. */
int writer_append_cluster(struct qcow2_writer *w, uint32_t n, uint64_t *host, struct error *err);

/* Takes ${clusters} from a gap or the end for metadata, and counts each once; sets ${*host}. */
int writer_place_metadata(struct qcow2_writer *w, uint64_t clusters, uint64_t *host,
                          struct error *err);

/* Counts ${n} references more to all host clusters of ${len} bytes at ${host}. */
int writer_count(struct qcow2_writer *w, uint64_t host, uint64_t len, uint32_t n,
                 struct error *err);

/* Whether all host clusters of ${len} bytes at ${host} can be referenced ${n} times more. */
bool writer_countable(const struct qcow2_writer *w, uint64_t host, uint64_t len, uint64_t n);

/* ERROR_NO_SPACE where a device is too small for what has its place by now. */
int writer_check_space(const struct qcow2_writer *w, struct error *err);

/* Clusters that ${bytes} fill. */
uint64_t writer_clusters(const struct qcow2_writer *w, uint64_t bytes);

/* Writes to the qcow2 file, and accounts. */
int writer_write(struct qcow2_writer *w, uint64_t offset, const void *buf, size_t len,
                 struct error *err);

/* Writes data to where data goes, with holes for zeros where there can be any. */
int writer_write_data(struct qcow2_writer *w, uint64_t host, const uint8_t *data, size_t len,
                      struct error *err);

/* Gives the files their lengths: a hole may be the last cluster. */
int writer_set_sizes(struct qcow2_writer *w, struct error *err);
int writer_sync(struct qcow2_writer *w, struct error *err);

/* writer_table.c */

/* Adds a table that one view uses, ${view}, at ${index} of its L1. It has no place yet. */
int writer_table_add(struct qcow2_writer *w, uint32_t view, uint64_t index, struct error *err);

/* Finds a place for table ${id} (1 + index) and counts it for its views. */
int writer_table_place(struct qcow2_writer *w, uint32_t id, struct error *err);

/*
 * An entry of ${view} passes by, in guest order: while reserving, to find out what its table is;
 * while writing, to be held against that.
 */
int writer_table_pass(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                      const struct qcow2_entry *entry, struct error *err);

/* The last one of ${view} has passed by. */
int writer_table_end(struct qcow2_writer *w, uint32_t view, struct error *err);

/* The table of guest cluster ${cluster}, which has one. */
struct writer_table *writer_table_of(const struct qcow2_writer *w, uint32_t view, uint64_t cluster);

/* Puts the entry of ${cluster}, whose references are all counted, into its table. */
int writer_table_put(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                     const struct qcow2_entry *entry, struct error *err);

/* Writes what is left of the table being filled. */
int writer_table_flush(struct qcow2_writer *w, struct error *err);
void writer_tables_clear(struct qcow2_writer *w);

/* writer_region.c */

/* ERROR_USAGE where ${n} clusters from ${first} on do not follow those of the call before. */
int writer_check_order(const struct qcow2_writer *w, uint32_t view, uint64_t first, size_t n,
                       struct error *err);

/* ERROR_CORRUPT for an entry, not unallocated, that guest cluster ${cluster} cannot have. */
int writer_check_entry(const struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err);

/* Adds the cluster at ${at} of the region to ${run}; writes what was in it where it does not
 * follow. */
int writer_run_add(struct qcow2_writer *w, struct writer_run *run, uint64_t host, size_t at,
                   struct error *err);

/* writer_stream.c */

/* Compresses the cluster at ${at} of the region for the ${views} views of its table, and writes the
 * stream, or, where it does not shrink, the data; ${entry} becomes what it is now. */
int writer_stream_put(struct qcow2_writer *w, struct qcow2_entry *entry, uint32_t views,
                      struct writer_run *run, size_t at, struct error *err);

/* Whether writer_stream_put() would look at the data even if ${calls} others came before it. */
bool writer_stream_wanted(const struct qcow2_writer *w, const struct qcow2_entry *entry,
                          size_t calls);
int writer_stream_flush(struct qcow2_writer *w, struct error *err);
void writer_streams_clear(struct qcow2_writer *w);

/* writer_encode.c */

/* Cluster ${i} of the ${n} that region() was called with comes next: where workers are there and
 * compressed ones follow, has them encoded, as many as there is room for. */
int writer_encode_ahead(struct qcow2_writer *w, uint32_t view, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, size_t i, struct error *err);
void writer_encode_end(struct qcow2_writer *w);

/* The stream of the cluster at ${at} of the region, lent until the next call; a length of 0: it is
 * to be written as it is. */
int writer_encode(struct qcow2_writer *w, size_t at, const uint8_t **stream, size_t *len,
                  struct error *err);
void writer_encoder_clear(struct qcow2_writer *w);

/* writer_bitmaps.c */

/* Writes the directory, and sets the extension. ERROR_USAGE where a bitmap is not complete. */
int writer_bitmaps_finish(struct qcow2_writer *w, struct error *err);
void writer_bitmaps_clear(struct qcow2_writer *w);

#endif
