/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_ENGINE_H
#define BYRE_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chunkstore.h"

/*
 * What byre does with images: backup, restore, export. Prints nothing; speaks to
 * its caller through a listener. For one thread. What it does with a repository
 * by itself is in upkeep.h.
 */

/* How a long operation speaks to its caller. Every member may be NULL. */
struct engine_listener {
    void (*warning)(void *arg, const char *message);
    /* More detail than most want to see. */
    void (*note)(void *arg, const char *message);
    /* At most a few hundred times a second. ${what}: the file at hand, or what is done instead of
     * dealing with files. Bytes. */
    void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
    /* What progress will be told of: the file ${number}, from 1, of ${count}. */
    void (*file)(void *arg, size_t number, size_t count);
    /* Before progress: bytes stored so far that the repository lacked. */
    void (*fresh)(void *arg, uint64_t bytes);
    void *arg;
    const volatile int *cancel; /* becomes non-zero to stop: ERROR_INTERRUPTED */
};

/* Turns an error of the store into one of the engine. Returns its code. */
int engine_store_error(struct error *err, const struct cs_error *store_error);

#ifdef __clang_analyzer__
#define engine_store_error(err, store_error) ((engine_store_error)(err, store_error), (int)ERROR_IO)
#endif

/* ---- finding archives ------------------------------------------------------ */

/* The archive that an ARCHIVE argument names: an id, a prefix of 4 and more digits, `latest`, NAME
 * or name:NAME. ERROR_NOT_FOUND; ERROR_USAGE where the prefix is ambiguous. Lent by the store. */
int engine_find_archive(const struct cs_store *store, const char *argument,
                        const struct cs_archive **archive, struct error *err);

/* For whoever was reading ${archive} and failed with ${err}: where that is damage, but somebody has
 * forgotten the archive meanwhile, it is ERROR_NOT_FOUND instead. Returns the code of ${err}. */
int engine_unless_forgotten(const struct cs_store *store, const struct cs_archive *archive,
                            struct error *err);

/* Whether ${name} may be an archive's name; else ERROR_USAGE with the reason. */
int engine_check_name(const char *name, struct error *err);

/* What an archive's log entry says beside what the store knows. */
struct engine_summary {
    uint64_t images;
    uint64_t bytes_allocated;
    char parent[CS_ID_HEX]; /* "" for none */
};
int engine_read_summary(const struct cs_archive *archive, struct engine_summary *summary,
                        struct error *err);

/* ---- backup ------------------------------------------------------------------ */

struct backup_origin;

struct engine_backup_options {
    const char *const *images; /* paths, as given, or URIs of NBD exports */
    size_t image_count;
    const char *const *recorded_as; /* NULL, or for each image: NULL, or the name by which a later
                                       backup knows the export again (scheme:/.../FILE-NAME) */
    const char *input_format; /* of all images that are files: raw, qcow2, or vmdk, vpc, vhdx, vdi,
                                 qcow, as their guests see them; NULL: what their names and bytes
                                 tell */
    const char *name;         /* NULL: the first image's file name without suffix */
    const char *const *tags;
    size_t tag_count;
    const char *const *with; /* side files */
    size_t with_count;
    bool only_top;
    bool assume_stopped;
    bool force_corrupt; /* take images that are marked corrupt */
    bool frozen_base;
    bool running;   /* of a running machine, held still: it removes its bitmaps itself, and an image
                       that has none is as it should be */
    bool full_read; /* trust no earlier backup */
    bool trust_mtime; /* a moved ctime is no sign of a change */
    bool dry_run;
    bool bitmap;             /* a fresh bitmap in each image, instead of those of the runs before */
    const char *bitmap_name; /* NULL, or the one that was added to each already; of an export: the
                                server's that is empty since what is read; not with bitmap */
    const char *const *bitmap_names; /* NULL, or for each image: NULL, or what takes the place of
                                        bitmap_name. Exports of one run that may come to be known
                                        by each other's names need a bitmap's name each */
    int (*confirm)(void *arg, struct error *err); /* NULL, or asked when all was read, before the
                                                     commit: whether that was as it should be */
    void *confirm_arg;
    int compression_level;
    const struct backup_origin *origin; /* NULL, or of an import */
    struct engine_listener listener;
};

struct engine_backup_result {
    struct cs_id archive; /* zero on a dry run */
    char name[256];
    char parent[CS_ID_HEX];  /* archive of the first image's top; "" for none */
    bool partial;            /* committed, but something asked for is missing or doubtful: exit 3 */
    bool top_in_use_as_base; /* frozen_base or not */
    uint64_t layers_total;
    uint64_t layers_unchanged;
    uint64_t bytes_allocated;
    uint64_t bytes_read;
    uint64_t bytes_metadata_read;
    uint64_t bitmaps_obsolete; /* that could not be removed */
    struct cs_counters stored;
};

/* ERROR_IN_USE: a writer holds a layer. ERROR_CHANGED: a file changed underway; nothing was
 * committed. */
int engine_backup(struct cs_store *store, const struct engine_backup_options *options,
                  struct engine_backup_result *result, struct error *err);

/* ---- byre's own bitmaps in images ---------------------------------------------- */

enum { ENGINE_BITMAP_NAME = 31 }; /* bytes, with the final zero byte */

/* A fresh name for a bitmap that this repository knows as its own. */
void engine_bitmap_name(const struct cs_store *store, char name[ENGINE_BITMAP_NAME]);

struct engine_bitmap_result {
    char (*removed)[ENGINE_BITMAP_NAME];
    size_t count;
};

/* Removes all bitmaps of this repository from the image ${path}. ERROR_IN_USE: somebody has it
 * open, if only for reading. The result is to be cleared; on failure it has what was removed. */
int engine_bitmap_remove(struct cs_store *store, const char *path,
                         const struct engine_listener *listener,
                         struct engine_bitmap_result *result, struct error *err);
void engine_bitmap_result_clear(struct engine_bitmap_result *result);

/* ---- restore ----------------------------------------------------------------- */

/* Those after raw are written by qemu-img, and go to files only. */
enum engine_format {
    ENGINE_AS_STORED,
    ENGINE_QCOW2,
    ENGINE_RAW,
    ENGINE_VMDK,
    ENGINE_VPC,
    ENGINE_VHDX,
    ENGINE_VDI,
};

struct engine_restore_options {
    const char *to;       /* folder; with one flattened image also a file, a block device or "-" */
    const char *image;    /* NULL: all; else the shortest unambiguous trailing path */
    const char *snapshot; /* NULL, or an internal snapshot's id, else its unambiguous name; implies
                             flatten */
    bool flatten;
    enum engine_format format; /* any but ENGINE_AS_STORED implies flatten */
    bool keep_backing_names;
    bool force;
    bool verify;
    struct engine_listener listener;
};

struct engine_restored_file {
    char *path;
    char layer[CS_ID_HEX]; /* the layer's id; that of the top where flattened; "" for a side file */
    uint64_t bytes_written;
};

struct engine_restore_result {
    struct engine_restored_file *files;
    size_t file_count;
    uint64_t bytes_written;
};

/* ERROR_EXISTS: a target is there and force is not set. ERROR_IN_USE: a machine uses it.
 * ERROR_NOT_FOUND: the archive was forgotten meanwhile. The result is to be cleared, also on
 * failure. */
int engine_restore(struct cs_store *store, const struct cs_archive *archive,
                   const struct engine_restore_options *options,
                   struct engine_restore_result *result, struct error *err);
void engine_restore_result_clear(struct engine_restore_result *result);

/* ---- map ------------------------------------------------------------------------- */

struct engine_map_image {
    const char *name;
    const char *path;
    uint64_t virtual_size; /* bytes */
    size_t layers;
    bool encrypted;      /* some layer is: its zeros are not to be told from data */
    bool incomplete;     /* a backing file is not part of the archive (only_top) */
    uint64_t bytes_data; /* found so far */
};

struct engine_map_options {
    const char *image; /* NULL: all; else the shortest unambiguous trailing path */
    /* How finely it is to be told: 0 for each run of data by itself. Else a stretch of up to the
     * disk's size / parts, a power of two long and aligned, may be told as one. */
    size_t parts;
    /* For each image: begin, its ranges, end; begin and end return 0, or ${err}'s code, which ends
     * all. ${bytes} of the ${length} at ${offset} are data that the guest sees, of the layer
     * ${layer} from the top. Ranges do not overlap, and come in no order. Where range does not
     * return true, all ends with ERROR_INTERRUPTED. Any may be NULL. */
    int (*begin)(void *arg, const struct engine_map_image *image, struct error *err);
    bool (*range)(void *arg, const struct engine_map_image *image, uint64_t offset, uint64_t length,
                  uint64_t bytes, size_t layer);
    int (*end)(void *arg, const struct engine_map_image *image, struct error *err);
    void *arg;
    struct engine_listener listener;
};

/* Where the guests of ${archive} see data: from the trees alone, without a data key. What is not
 * told reads as zeros. */
int engine_map(struct cs_store *store, const struct cs_archive *archive,
               const struct engine_map_options *options, struct error *err);

/* ---- diff ------------------------------------------------------------------------ */

enum engine_diff_kind {
    ENGINE_DIFF_DATA, /* the later one has data */
    ENGINE_DIFF_ZERO, /* the later one reads zeros, or has ended, where the earlier one had data */
};

/* An image of either archive, or of both: matched by path, else by name, else because one is below
 * the other; each only where it is unambiguous. */
struct engine_diff_image {
    const char *name; /* in the later one, where it is there */
    const char *path; /* the same */
    bool in_a;
    bool in_b;
    uint64_t virtual_size_a; /* bytes; 0 where it is not there */
    uint64_t virtual_size_b;
    bool encrypted;         /* ranges are of the ciphertext of each encrypted layer */
    uint64_t ranges;        /* as all that follow: found so far */
    uint64_t bytes_changed; /* in ranges of data */
    uint64_t bytes_zeroed;  /* in the others */
};

struct engine_diff_options {
    const char *image; /* NULL: all; else the shortest unambiguous trailing path, in either */
    /* For each image: begin, its ranges, end. Ranges ascend and do not touch where they are of a
     * kind; bytes. There are none for an image that only one archive has. Where range does not
     * return true, all ends with ERROR_INTERRUPTED. Any may be NULL. */
    void (*begin)(void *arg, const struct engine_diff_image *image);
    bool (*range)(void *arg, const struct engine_diff_image *image, uint64_t offset,
                  uint64_t length, enum engine_diff_kind kind);
    void (*end)(void *arg, const struct engine_diff_image *image);
    /* NULL, or: after begin, what data there is, as range of engine_map_options tells it: of the
     * earlier archive's image, then (${later}) of the other's; of an image that only one archive
     * has, too. ${parts} as there. */
    bool (*data)(void *arg, const struct engine_diff_image *image, bool later, uint64_t offset,
                 uint64_t length, uint64_t bytes);
    size_t parts;
    void *arg;
    struct engine_listener listener;
};

struct engine_diff_result {
    uint64_t images; /* compared */
    uint64_t ranges;
    uint64_t bytes_changed;
    uint64_t bytes_zeroed;
};

/*
 * Where the guest of ${b}, the later archive, sees other bytes than that of ${a}, whatever became
 * of the chains. Told from the trees alone, without a data key: whatever differs is in a range, but
 * a range may hold equal bytes, for chunks of 16 to 256 KiB are what is compared. What lies behind
 * the end of the smaller disk counts as zeros there.
 * ERROR_UNSUPPORTED: a backing file is not part of its archive (only_top), so that nobody knows
 * what the guest saw.
 */
int engine_diff(struct cs_store *store, const struct cs_archive *a, const struct cs_archive *b,
                const struct engine_diff_options *options, struct engine_diff_result *result,
                struct error *err);

/* ---- export and import --------------------------------------------------------- */

struct engine_export_options {
    const char *to;                 /* file, or "-" for standard output */
    const char *temporary;          /* folder for what has to be whole before it is sent */
    const struct cs_archive *since; /* NULL: all; else only what differs from that one */
    bool force;
    struct engine_listener listener;
};

struct engine_exported_file {
    char *path;            /* in the tar */
    char layer[CS_ID_HEX]; /* the layer's id; that of the top for an overlay; "" for a side file */
    uint64_t bytes;        /* its size */
};

struct engine_export_result {
    struct engine_exported_file *files; /* images and side files */
    size_t file_count;
    uint64_t bytes_written; /* of the tar */
};

/* Whether ${to} may be what an export is written to; else ERROR_USAGE with the reason. */
int engine_export_check_name(const char *to, struct error *err);

/*
 * Writes ${archive} as a tar that needs no byre: manifest.json, the files that a restore would
 * write, side files, SHA256SUMS. With since: one overlay for each image, over the image's file in
 * the earlier archive's export. ERROR_EXISTS as engine_restore; ERROR_UNSUPPORTED where since meets
 * an encrypted layer, or a backing file that is not part of its archive; ERROR_NO_SPACE also where
 * the temporary folder has none. The result is to be cleared, also on failure.
 */
int engine_export(struct cs_store *store, const struct cs_archive *archive,
                  const struct engine_export_options *options, struct engine_export_result *result,
                  struct error *err);
void engine_export_result_clear(struct engine_export_result *result);

struct engine_import_options {
    const char *from;      /* file, or "-" for standard input */
    const char *temporary; /* folder that the tar is unpacked in */
    const char *name;      /* NULL: that of the archive that was exported */
    int compression_level;
    struct engine_listener listener;
};

/*
 * Makes an archive of what engine_export has written, without since. Trusts nothing in the tar:
 * what is damaged, leaves its folder, is no regular file, or is too much is refused, before
 * anything is committed. The archive has the exported one's name, time, host and tags, and its
 * layers have the paths, modes and owners that they had there. ${result} as for engine_backup.
 */
int engine_import(struct cs_store *store, const struct engine_import_options *options,
                  struct engine_backup_result *result, struct error *err);

#endif
