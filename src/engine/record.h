/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_RECORD_H
#define BYRE_ENGINE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "chunkstore.h"
#include "engine/file_identity.h"

/*
 * The archive record and the layer record of chunkstore/FORMAT.md, section 9:
 * their structures, canonical JSON encoding, and decoding that trusts nothing.
 * Strings are owned by the record and end with a zero byte; a byte string with
 * a zero byte inside is refused.
 */

struct record_file {   /* on the host, as it was when it was backed up */
    char *path;        /* absolute, as it was opened */
    char *real_path;   /* with symlinks resolved */
    char *placed_path; /* relative, below a restore's target folder */
    uint64_t size;     /* bytes; for a block device its size */
    uint64_t host_bytes;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint64_t device;
    uint64_t inode;
    struct file_system fs;
};

struct record_blob { /* bytes kept as data chunks, */
    bool metadata;   /* or as metadata, which every role can read */
    uint64_t bytes;
    struct cs_id *ids;
    uint32_t *lengths;
    size_t count;
};

struct record_view { /* the active state, or a snapshot */
    struct cs_tree content;
    struct cs_tree placement; /* qcow2 only */
    uint32_t l1_size;         /* entries */
    struct cs_id l1_hash;     /* all zero where it is not known */
};

struct record_snapshot { /* view i + 1 is that of snapshot i */
    uint8_t *raw;        /* the entry of the snapshot table as stored, without padding */
    size_t raw_len;
    char *id;
    char *name;
    uint32_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock;      /* nanoseconds */
    uint64_t vm_state_size; /* bytes */
    uint64_t disk_size;     /* bytes */
};

struct record_bitmap {
    char *name;
    bool own; /* byre's, of the repository of its backup; data is metadata then */
    uint32_t flags;
    uint32_t type;
    uint32_t granularity_bits;
    uint8_t *extra;
    size_t extra_len;
    uint32_t (*runs)[2]; /* of table entries: class (0 clear, 1 set, 2 data), count */
    size_t run_count;
    struct record_blob data; /* the clusters of class 2, end to end */
};

struct record_data_file {
    struct record_file file;
    char *name;              /* as the header has it */
    struct record_blob tail; /* of a raw data file: what lies behind the disk's last cluster */
};

struct record_qcow2 {
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible;
    uint64_t compatible;
    uint64_t autoclear;
    uint32_t refcount_order;
    uint32_t header_length;
    uint32_t compression_type;
    struct record_blob header; /* the header cluster */
    uint64_t crypto_offset;    /* of the LUKS area, bytes */
    struct record_blob crypto; /* the LUKS area; no bytes: none */
    struct record_snapshot *snapshots;
    size_t snapshot_count;
    struct record_bitmap *bitmaps;
    size_t bitmap_count;
    struct record_data_file *data_file; /* NULL: none */
    uint32_t (*extensions)[2];          /* type, length */
    size_t extension_count;
};

/* Of a layer of which only the guest's bytes were read, by somebody else's reader of its format. */
struct record_content {
    char *format;  /* of the source: "vmdk", "vpc", "vhdx", "vdi", "qcow", or "nbd" */
    char **losses; /* what of the source is not kept, for people */
    size_t loss_count;
    char *bitmap; /* the server's that is empty since that backup; NULL: none */
};

struct record_layer {
    struct cs_id id; /* of this record; not part of it */
    struct record_file file;
    bool is_qcow2;
    uint64_t virtual_size; /* bytes, as the following */
    uint64_t bytes_allocated;
    struct record_view *views; /* the active state first */
    size_t view_count;
    char *opened_as; /* as the command line or the backing string has it */
    char *delta;
    char *delta_reason;
    char *backing_file;             /* NULL: none */
    char *backing_format;           /* NULL: none */
    struct record_qcow2 qcow2;      /* where is_qcow2 */
    struct record_content *content; /* of raw ones, owned; NULL: the file's bytes are the disk's */
};

struct record_image {
    char *name;     /* last part of path */
    char *path;     /* absolute */
    size_t *layers; /* positions in the archive's layers, the top first */
    size_t layer_count;
};

struct record_side_file {
    char *name;
    uint32_t mode;
    struct record_blob blob;
};

struct record_archive {
    struct cs_id id; /* of this record; not part of it */
    char *name;
    char *host;
    char *time; /* RFC 3339, UTC */
    char **tags;
    size_t tag_count;
    char nonce[33]; /* 32 hex digits */
    struct record_image *images;
    size_t image_count;
    struct record_layer *layers; /* a base before its overlays; encoding writes only their ids */
    size_t layer_count;
    struct record_side_file *with;
    size_t with_count;
};

/* Fills ${file} but for its placed path with what is known of the file open as ${fd}, which has
 * ${size} bytes. To be cleared, on failure too. */
int record_file_describe(struct record_file *file, int fd, const struct stat *st, uint64_t size,
                         const char *path, const char *real_path, struct error *err);

/* Canonical JSON into fresh memory for the caller to free. */
int record_layer_encode(const struct record_layer *layer, char **json, size_t *len,
                        struct error *err);
int record_archive_encode(const struct record_archive *archive, char **json, size_t *len,
                          struct error *err);

/* Decode and check every field; ERROR_CORRUPT names the field. How many regions trees are over is
 * left open: it takes the repository's region size. */
int record_layer_decode(struct record_layer *layer, const char *json, size_t len,
                        struct error *err);
int record_archive_decode(struct record_archive *archive, const char *json, size_t len,
                          struct error *err);

/* Reads the archive's record and those of its layers, whole, from the store. To be cleared. */
int record_archive_read(struct record_archive *archive, struct cs_store *store,
                        const struct cs_id *id, struct error *err);

/* The parts of that: the archive's record, whose layers have only their ids then; and the record of
 * a layer that has its id. */
int record_archive_read_alone(struct record_archive *archive, struct cs_store *store,
                              const struct cs_id *id, struct error *err);
int record_layer_read(struct record_layer *layer, struct cs_store *store, struct error *err);

/* Whether two trees of one kind have the same in them. */
bool record_same_tree(const struct cs_tree *a, const struct cs_tree *b);

void record_content_free(struct record_content *content); /* NULL is fine */
void record_layer_clear(struct record_layer *layer);
void record_archive_clear(struct record_archive *archive);

#endif
