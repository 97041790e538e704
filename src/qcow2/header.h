/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_HEADER_H
#define BYRE_QCOW2_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The header of a qcow2 file, version 2 and 3, with its extensions: pure
 * decoding and encoding. The format is docs/interop/qcow2.txt of QEMU.
 */

enum {
    QCOW2_V2_HEADER_SIZE = 72,
    QCOW2_V3_HEADER_SIZE = 104,
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_MAX_BACKING_NAME = 1023,
};

enum { /* incompatible_features */
       QCOW2_INCOMPAT_DIRTY = 1,
       QCOW2_INCOMPAT_CORRUPT = 2,
       QCOW2_INCOMPAT_DATA_FILE = 4,
       QCOW2_INCOMPAT_COMPRESSION = 8,
       QCOW2_INCOMPAT_EXTENDED_L2 = 16,
};

enum { /* compatible_features, autoclear_features */
       QCOW2_COMPAT_LAZY_REFCOUNTS = 1,
       QCOW2_AUTOCLEAR_BITMAPS = 1,
       QCOW2_AUTOCLEAR_RAW_DATA = 2,
};

enum qcow2_compression { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

enum { /* header extension types */
       QCOW2_EXT_END = 0,
       QCOW2_EXT_BACKING_FORMAT = 0xE2792ACA,
       QCOW2_EXT_DATA_FILE = 0x44415441,
       QCOW2_EXT_CRYPTO = 0x0537BE77,
       QCOW2_EXT_FEATURE_NAMES = 0x6803F857,
       QCOW2_EXT_BITMAPS = 0x23852875,
};

struct qcow2_extension {
    uint32_t type;
    uint32_t length; /* bytes, without padding */
    uint32_t offset; /* of the data, in the header cluster */
};

struct qcow2_header {
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size; /* virtual size as stored, bytes; QEMU uses it rounded down to 512 */
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
    uint8_t compression_type; /* enum qcow2_compression */
    uint64_t backing_offset;  /* 0: no backing file */
    uint32_t backing_length;
    char backing_file[QCOW2_MAX_BACKING_NAME + 1]; /* "" where there is none; bytes as stored */
    char backing_format[16];                       /* "" where the extension is missing */
    uint32_t nb_extensions;
    struct qcow2_extension *extensions; /* in the order of the file; owned */
};

/*
 * Decodes the header cluster: ${buf} holds the first ${len} bytes of a file of ${file_size} bytes;
 * ${len} is the cluster size, or all of the file where that is less. Checks every field against
 * its range and the file's size as QEMU does, and that the L1, refcount and snapshot tables lie
 * inside the file. Refuses unknown incompatible bits (ERROR_UNSUPPORTED); known features are left
 * to the caller to refuse. ERROR_UNSUPPORTED with "not a qcow2 file" where the magic is another.
 * ${h} is filled on success only, and then to be cleared.
 */
int qcow2_header_decode(struct qcow2_header *h, const uint8_t *buf, size_t len, uint64_t file_size,
                        struct error *err);

/* The cluster size that the first 24 bytes at ${buf} name, or 0 where they are no qcow2. Bytes. */
size_t qcow2_header_peek_cluster_size(const uint8_t buf[24]);

/*
 * Encodes a header cluster into ${buf} of ${cluster_size} bytes, zeroed first: fields, extensions
 * and the backing name. The name is backing_file up to its NUL; it goes behind the extensions, and
 * backing_offset and backing_length are ignored. ${original} (may be NULL) is the header cluster
 * that ${h} was decoded from: unknown header bytes and the data of all its extensions are taken
 * from it, with the backing format replaced by that of ${h}; without it only the backing format is
 * written. ERROR_NO_SPACE where it does not fit, ERROR_USAGE for what no header can say (features
 * in version 2, or a compression type that header_length leaves out).
 */
int qcow2_header_encode(uint8_t *buf, size_t cluster_size, const struct qcow2_header *h,
                        const uint8_t *original, struct error *err);

/*
 * Sets ${*name}, given to the caller, to the name of the external data file as the header extension
 * has it, NULL where there is no such extension. ${header_cluster} is what ${h} was decoded from.
 * ERROR_CORRUPT where it is no name: empty, a NUL within, or there are two.
 */
int qcow2_data_file_name(const struct qcow2_header *h, const uint8_t *header_cluster, char **name,
                         struct error *err);

/*
 * Sets ${*offset} and ${*length} to the place of the LUKS header, bytes, in a file of ${file_size}
 * bytes; ${*length} is 0 where the image is not encrypted by LUKS. It begins at a cluster behind
 * the header's and lies inside the file, or that is ERROR_CORRUPT. The clusters that it takes are
 * its own to their end.
 */
int qcow2_crypto_header(const struct qcow2_header *h, const uint8_t *header_cluster,
                        uint64_t file_size, uint64_t *offset, uint64_t *length, struct error *err);

/*
 * Reads the header cluster from ${fd}, a file of ${file_size} bytes; ${name} is for messages. Sets
 * ${*header_cluster}, given to the caller, NULL on failure, and fills ${h} as qcow2_header_decode
 * does. What was read is added to ${*bytes_read}.
 */
int qcow2_header_read(struct qcow2_header *h, uint8_t **header_cluster, int fd, const char *name,
                      uint64_t file_size, uint64_t *bytes_read, struct error *err);

/* Frees what ${h} owns and zeroes it. */
void qcow2_header_clear(struct qcow2_header *h);

#endif
