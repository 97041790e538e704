/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_CHAIN_H
#define BYRE_QCOW2_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "qcow2/image.h"

/*
 * The files of one or many images with their backing files, each opened and
 * locked once, however many images share it. Everything stays open and locked
 * until the set is freed. For one thread.
 */

enum layer_format {
    LAYER_RAW,
    LAYER_QCOW2,
    LAYER_OTHER, /* of a format, or at a server, that others read */
};

/* The external data file of a qcow2 layer. */
struct data_file {
    char *path;      /* the name that it was opened by; absolute */
    char *real_path; /* realpath() of it */
    int fd;          /* read-only, locked */
    struct stat st;  /* as of after the lock */
    uint64_t size;   /* bytes; for a block device its size */
};

struct layer {
    char *path;      /* the name that it was opened by; absolute, not resolved through symlinks */
    char *real_path; /* realpath() of it */
    char *opened_as; /* as the command line or the backing string has it */
    int fd;          /* read-only, locked; -1: it is no file of this host, and the next two are 0 */
    struct stat st;  /* as of after the lock */
    uint64_t file_size; /* bytes; for a block device its size */
    enum layer_format format;
    struct qcow2_image *image;   /* NULL for raw */
    struct data_file *data_file; /* NULL: none */
    struct data_file **others;   /* files that belong to one of another format */
    size_t other_count;
    uint64_t virtual_size; /* bytes; of another format for its reader to set */
    struct layer *backing; /* lent, in the same set; NULL for none, or with only_top */
    uint64_t head_read;    /* bytes read to tell what it is; the image counts its own */
    bool used_as_base;     /* another process, not byre, had a read lock on it when it was opened */
};

struct layer_set {
    struct layer **layers; /* a base before its overlays */
    size_t count;
};

/* What the top is. */
enum chain_top { CHAIN_TOP_PROBED, CHAIN_TOP_RAW, CHAIN_TOP_QCOW2, CHAIN_TOP_OTHER };

struct chain_options {
    enum chain_top top;
    bool only_top;       /* do not follow backing files */
    bool assume_stopped; /* take a block device although its writers cannot be ruled out */
    bool force_corrupt;  /* take an image although it is marked corrupt */
    const char *inside;  /* NULL, or a folder's resolved path: no file that is not below it */
};

/*
 * Opens the image at ${path} and everything below it into ${set} (layers already there are taken
 * over), and sets ${*top}, lent by the set. Per file: open, lock, fsync, stat, parse; one of
 * another format is not parsed, and nothing is below it. Where it is not given, the format of the
 * top is found by its magic (a file named *.qcow2 without it is ERROR_CORRUPT); a backing file's is
 * the declared one, and only where none is declared found by its magic, as QEMU does it. Backing
 * names: see backing_name.h; a plain one is relative to the folder part of the overlay's own name,
 * file: and json: to the working directory; others are ERROR_UNSUPPORTED with the name. External
 * data files are opened, locked and flushed like layers; a relative name is looked for beside the
 * qcow2 file first and then, as QEMU does it, in the working directory; two different files of that
 * name are ERROR_UNSUPPORTED, as is one outside of a given folder. ERROR_IN_USE: a writer holds it.
 * ERROR_NOT_FOUND: names the file and the overlay that wants it. ERROR_CORRUPT: a loop, or deeper
 * than 256. On failure the set holds what it held before.
 */
int layer_set_open(struct layer_set *set, const char *path, const struct chain_options *options,
                   struct layer **top, struct error *err);

/* Adds to ${set} a layer that is no file, but is called ${name}; or finds it there. ${*top} is
 * lent. */
int layer_set_add(struct layer_set *set, const char *name, struct layer **top, struct error *err);

/* Opens, locks and flushes ${name}, an absolute path, as a file that belongs to ${layer}, one of
 * another format; nothing is done where it is that itself. */
int layer_add_file(struct layer *layer, const char *name, const struct chain_options *options,
                   struct error *err);

/* ERROR_CHANGED, naming the file, where a layer's or data file's size, mtime, ctime, or the file
 * behind its path is not what it was when it was opened. */
int layer_set_verify_unchanged(const struct layer_set *set, struct error *err);

void layer_set_clear(struct layer_set *set);

/* Bytes read of ${layer} that are no data, so far. */
uint64_t layer_metadata_read(const struct layer *layer);

#endif
