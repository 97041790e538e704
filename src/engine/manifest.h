/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_MANIFEST_H
#define BYRE_ENGINE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chunkstore.h"

/*
 * manifest.json of an exported tar: which files are in it, what they are of each other, and what
 * they were on the host. Strings are owned by the manifest. Pure: reads and writes no file.
 */

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_SUMS "SHA256SUMS"

enum { MANIFEST_MAX = 16 << 20, MANIFEST_FILES = 65536 }; /* bytes; files */

enum manifest_kind {
    MANIFEST_QCOW2,
    MANIFEST_RAW,
    MANIFEST_DATA, /* the external data file of a qcow2 */
    MANIFEST_SIDE, /* a side file */
};

struct manifest_file {
    enum manifest_kind kind;
    char *name;            /* in the tar */
    char *path;            /* on the host, absolute; NULL for a side file, and where it is new */
    char *backing_file;    /* as the header of a qcow2 has it; NULL: none */
    char *backing_format;  /* the same */
    char layer[CS_ID_HEX]; /* layer id; "" for a side file */
    uint64_t virtual_size; /* bytes; of a layer */
    uint64_t host_bytes;   /* that it took on the host */
    uint32_t mode;         /* permission bits */
    uint32_t uid;
    uint32_t gid;
    int64_t mtime_ns;
};

struct manifest_image {
    char *name;
    char *path;   /* on the host, absolute */
    char **files; /* names in the tar, the top first */
    size_t file_count;
};

struct manifest {
    char archive[CS_ID_HEX];
    char *name;
    char *host;
    char *time; /* RFC 3339, UTC */
    char **tags;
    size_t tag_count;
    char since[CS_ID_HEX]; /* "": all of the archive; else only what differs from that one: */
    char *since_name;
    char *since_time;
    struct manifest_image *images;
    size_t image_count;
    struct manifest_file *files; /* in the order of the tar */
    size_t file_count;
};

/* Adds an empty one, lent by the manifest until the next is added; NULL where there is no memory.
 */
struct manifest_file *manifest_add_file(struct manifest *m);
struct manifest_image *manifest_add_image(struct manifest *m);
bool manifest_image_add(struct manifest_image *image, const char *file);

/* The file ${name}, or NULL. */
struct manifest_file *manifest_find(const struct manifest *m, const char *name);

/* ERROR_UNSUPPORTED where two files cannot be put beside each other: of one name, or one of them
 * below the other, or named as what each tar has. */
int manifest_check_names(const struct manifest *m, struct error *err);

/* Indented JSON into fresh memory. */
int manifest_encode(const struct manifest *m, char **json, size_t *len, struct error *err);

/* Trusts nothing: names stay below a folder and are unique, images have files that are there, each
 * layer belongs to an image. To be cleared, on failure too. ERROR_CORRUPT; ERROR_UNSUPPORTED for
 * what a later version wrote. */
int manifest_decode(struct manifest *m, const char *json, size_t len, struct error *err);
void manifest_clear(struct manifest *m);

#endif
