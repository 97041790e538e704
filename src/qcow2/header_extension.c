/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What known header extensions say: the name of the data file, the place of the
 * LUKS header. Pure; bitmap.c has its own.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/bytes.h"
#include "qcow2/header.h"

enum { CRYPT_LUKS = 2 };

/* Sets ${*found} to the one extension of ${type}, NULL where there is none. */
static int find_one(const struct qcow2_header *h, uint32_t type, const char *what,
                    const struct qcow2_extension **found, struct error *err)
{
    *found = NULL;
    for (uint32_t i = 0; i < h->nb_extensions; i++) {
        if (h->extensions[i].type != type)
            continue;
        if (*found)
            return error_set(err, ERROR_CORRUPT,
                             "header: two extensions for %s, at %" PRIu32 " and %" PRIu32, what,
                             (*found)->offset, h->extensions[i].offset);
        *found = &h->extensions[i];
    }
    return 0;
}

int qcow2_data_file_name(const struct qcow2_header *h, const uint8_t *header_cluster, char **name,
                         struct error *err)
{
    const struct qcow2_extension *ext;
    const uint8_t *p;
    int rc;

    *name = NULL;
    if ((rc = find_one(h, QCOW2_EXT_DATA_FILE, "the data file", &ext, err)) < 0 || !ext)
        return rc;
    p = header_cluster + ext->offset;
    if (ext->length == 0 || memchr(p, '\0', ext->length))
        return error_set(err, ERROR_CORRUPT,
                         "header: the data file name at %" PRIu32 " of %" PRIu32
                         " bytes is empty, or has a NUL in it",
                         ext->offset, ext->length);
    if (!(*name = bytes_to_text(p, ext->length)))
        return error_no_memory(err);
    return 0;
}

int qcow2_crypto_header(const struct qcow2_header *h, const uint8_t *header_cluster,
                        uint64_t file_size, uint64_t *offset, uint64_t *length, struct error *err)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;
    const struct qcow2_extension *ext;
    int rc;

    *offset = *length = 0;
    if (h->crypt_method != CRYPT_LUKS)
        return 0;
    if ((rc = find_one(h, QCOW2_EXT_CRYPTO, "encryption", &ext, err)) < 0)
        return rc;
    if (!ext)
        return error_set(err, ERROR_CORRUPT,
                         "header: encrypted by LUKS, without the extension that says where its "
                         "header is");
    /* Decoding has seen to the extension's length. */
    *offset = be64_get(header_cluster + ext->offset);
    *length = be64_get(header_cluster + ext->offset + 8);
    if (*offset == 0 || *offset & (cluster_size - 1))
        return error_set(err, ERROR_CORRUPT,
                         "header: the LUKS header at %" PRIu64
                         " is not aligned to a cluster of its own",
                         *offset);
    if (*length == 0 || *length > file_size || *offset > file_size - *length)
        return error_set(err, ERROR_CORRUPT,
                         "header: the LUKS header at %" PRIu64 " of %" PRIu64
                         " bytes is not inside the file of %" PRIu64 " bytes",
                         *offset, *length, file_size);
    return 0;
}
