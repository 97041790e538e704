/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decodes and encodes the header cluster. Pure: no I/O, and no opinion on
 * which valid features are handled; that is the business of image.c.
 */
#include "qcow2/header.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"

enum {
    MAGIC_LENGTH = 4,
    COMPRESSION_TYPE_AT = 104, /* the first byte past the fixed part of version 3 */
    EXTENSION_HEAD = 8,
    FEATURE_NAME_SIZE = 48,
    MAX_REFCOUNT_ORDER = 6,
    V2_REFCOUNT_ORDER = 4,
    MAX_CRYPT_METHOD = 2, /* LUKS */
    CRYPT_LUKS = 2,
    CRYPTO_EXTENSION_SIZE = 16,
    MAX_SNAPSHOTS = 65536,
    MIN_SNAPSHOT_SIZE = 40,
    MIN_SUBCLUSTER_BITS = 9,
    SUBCLUSTERS_BITS = 5,
};

#define MAX_L1_BYTES       (UINT64_C(32) << 20)
#define MAX_REFTABLE_BYTES (UINT64_C(8) << 20)

static const uint8_t magic[MAGIC_LENGTH] = {'Q', 'F', 'I', 0xfb};

static const uint64_t known_incompatible = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT |
                                           QCOW2_INCOMPAT_DATA_FILE | QCOW2_INCOMPAT_COMPRESSION |
                                           QCOW2_INCOMPAT_EXTENDED_L2;

size_t qcow2_header_peek_cluster_size(const uint8_t buf[24])
{
    uint32_t bits = be32_get(buf + 20);

    if (memcmp(buf, magic, MAGIC_LENGTH) != 0 || bits < QCOW2_MIN_CLUSTER_BITS ||
        bits > QCOW2_MAX_CLUSTER_BITS)
        return 0;
    return (size_t)1 << bits;
}

void qcow2_header_clear(struct qcow2_header *h)
{
    free(h->extensions);
    memset(h, 0, sizeof *h);
}

static int decode_fields(struct qcow2_header *h, const uint8_t *buf, size_t len, struct error *err)
{
    if (len < MAGIC_LENGTH || memcmp(buf, magic, MAGIC_LENGTH) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "not a qcow2 file");
    if (len < QCOW2_V2_HEADER_SIZE)
        return error_set(err, ERROR_CORRUPT, "the file ends within the header, at %zu", len);
    h->version = be32_get(buf + 4);
    if (h->version == 1)
        return error_set(err, ERROR_UNSUPPORTED,
                         "is qcow of version 1, which is taken as a disk of its own alone, with "
                         "--input-format qcow");
    if (h->version != 2 && h->version != 3)
        return error_set(err, ERROR_UNSUPPORTED, "qcow2 version %" PRIu32 " is not known",
                         h->version);
    h->backing_offset = be64_get(buf + 8);
    h->backing_length = be32_get(buf + 16);
    h->cluster_bits = be32_get(buf + 20);
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return error_set(err, ERROR_CORRUPT, "header: cluster_bits is %" PRIu32 ", not 9 to 21",
                         h->cluster_bits);
    /* The refcount table needs a cluster of its own, so a shorter file is always a cut one. */
    if (len < (size_t)1 << h->cluster_bits)
        return error_set(err, ERROR_CORRUPT, "the file ends within the header cluster, at %zu",
                         len);
    h->size = be64_get(buf + 24);
    h->crypt_method = be32_get(buf + 32);
    h->l1_size = be32_get(buf + 36);
    h->l1_offset = be64_get(buf + 40);
    h->refcount_table_offset = be64_get(buf + 48);
    h->refcount_table_clusters = be32_get(buf + 56);
    h->nb_snapshots = be32_get(buf + 60);
    h->snapshots_offset = be64_get(buf + 64);
    if (h->version == 2) {
        h->refcount_order = V2_REFCOUNT_ORDER;
        h->header_length = QCOW2_V2_HEADER_SIZE;
        return 0;
    }
    h->incompatible = be64_get(buf + 72);
    h->compatible = be64_get(buf + 80);
    h->autoclear = be64_get(buf + 88);
    h->refcount_order = be32_get(buf + 96);
    h->header_length = be32_get(buf + 100);
    if (h->header_length < QCOW2_V3_HEADER_SIZE || h->header_length > (uint32_t)1
                                                                          << h->cluster_bits)
        return error_set(err, ERROR_CORRUPT, "header: header_length is %" PRIu32, h->header_length);
    if (h->header_length > COMPRESSION_TYPE_AT)
        h->compression_type = buf[COMPRESSION_TYPE_AT];
    return 0;
}

/*
 * A table of ${count} entries of ${entry_size} bytes: at most ${max} bytes, at a
 * cluster boundary, not over the header, inside the file. Its last cluster may be
 * cut where ${partial} says so. What does not exist (no entries) may stand anywhere.
 */
static int check_table(const struct qcow2_header *h, const char *what, uint64_t offset,
                       uint64_t count, uint64_t entry_size, uint64_t max, uint64_t file_size,
                       bool partial, struct error *err)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;
    uint64_t slack = partial ? cluster_size - 1 : 0;
    uint64_t bytes, end;

    if (count > max / entry_size)
        return error_set(err, ERROR_CORRUPT,
                         "header: the %s at %" PRIu64 " has %" PRIu64 " entries, too many", what,
                         offset, count);
    bytes = count * entry_size;
    if (offset & (cluster_size - 1))
        return error_set(err, ERROR_CORRUPT,
                         "header: the %s at %" PRIu64 " is not aligned to a cluster", what, offset);
    if (count == 0)
        return 0;
    if (offset == 0)
        return error_set(err, ERROR_CORRUPT, "header: the %s at 0 lies over the header", what);
    if (__builtin_add_overflow(offset, bytes, &end) || end > INT64_MAX || end > file_size + slack)
        return error_set(err, ERROR_CORRUPT,
                         "header: the %s at %" PRIu64 " ends beyond the file of %" PRIu64 " bytes",
                         what, offset, file_size);
    return 0;
}

static int check_tables(const struct qcow2_header *h, uint64_t file_size, struct error *err)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;
    uint64_t entry_size = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 16 : 8;
    uint64_t span = cluster_size * (cluster_size / entry_size); /* bytes behind one L1 entry */
    uint64_t needed = h->size / span + (h->size % span != 0);
    int rc;

    if (file_size > INT64_MAX)
        return error_set(err, ERROR_USAGE, "no file has %" PRIu64 " bytes", file_size);
    if (h->refcount_table_clusters == 0)
        return error_set(err, ERROR_CORRUPT, "header: there is no refcount table");
    if ((rc = check_table(h, "refcount table", h->refcount_table_offset, h->refcount_table_clusters,
                          cluster_size, MAX_REFTABLE_BYTES, file_size, true, err)) < 0 ||
        (rc = check_table(h, "snapshot table", h->snapshots_offset, h->nb_snapshots,
                          MIN_SNAPSHOT_SIZE, (uint64_t)MAX_SNAPSHOTS * MIN_SNAPSHOT_SIZE, file_size,
                          false, err)) < 0 ||
        (rc = check_table(h, "L1 table", h->l1_offset, h->l1_size, 8, MAX_L1_BYTES, file_size,
                          false, err)) < 0)
        return rc;
    if (h->l1_size < needed)
        return error_set(err, ERROR_CORRUPT,
                         "header: the L1 table at %" PRIu64 " has %" PRIu32 " entries, but %" PRIu64
                         " bytes need %" PRIu64,
                         h->l1_offset, h->l1_size, h->size, needed);
    return 0;
}

static int check_features(const struct qcow2_header *h, struct error *err)
{
    bool zlib = h->compression_type == QCOW2_ZLIB;

    if (h->refcount_order > MAX_REFCOUNT_ORDER)
        return error_set(err, ERROR_CORRUPT, "header: refcount_order is %" PRIu32 ", above 6",
                         h->refcount_order);
    if (h->crypt_method > MAX_CRYPT_METHOD)
        return error_set(err, ERROR_UNSUPPORTED,
                         "header: encryption method %" PRIu32 " is not known", h->crypt_method);
    if (h->compression_type > QCOW2_ZSTD)
        return error_set(err, ERROR_UNSUPPORTED, "header: compression type %u is not known",
                         h->compression_type);
    if (zlib != !(h->incompatible & QCOW2_INCOMPAT_COMPRESSION))
        return error_set(err, ERROR_CORRUPT,
                         "header: compression type %u and its feature bit disagree",
                         h->compression_type);
    if (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 &&
        h->cluster_bits < MIN_SUBCLUSTER_BITS + SUBCLUSTERS_BITS)
        return error_set(err, ERROR_CORRUPT,
                         "header: clusters of %u bytes are too small for extended L2",
                         1U << h->cluster_bits);
    if (h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA && !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE))
        return error_set(err, ERROR_CORRUPT,
                         "header: raw data file bit without an external data file");
    return 0;
}

static int add_extension(struct qcow2_header *h, uint32_t type, uint32_t length, uint32_t offset,
                         struct error *err)
{
    uint32_t n = h->nb_extensions;

    if ((n & (n - 1)) == 0) { /* full at each power of two */
        size_t room = n ? (size_t)n * 2 : 1;
        void *p = reallocarray(h->extensions, room, sizeof *h->extensions);

        if (!p)
            return error_no_memory(err);
        h->extensions = p;
    }
    h->extensions[n] = (struct qcow2_extension){.type = type, .length = length, .offset = offset};
    h->nb_extensions = n + 1;
    return 0;
}

static int check_extension(struct qcow2_header *h, const uint8_t *data,
                           const struct qcow2_extension *ext, struct error *err)
{
    if (ext->type == QCOW2_EXT_BACKING_FORMAT) {
        if (ext->length >= sizeof h->backing_format)
            return error_set(err, ERROR_CORRUPT,
                             "header: the backing format at %" PRIu32 " has %" PRIu32 " bytes",
                             ext->offset, ext->length);
        memset(h->backing_format, 0, sizeof h->backing_format);
        memcpy(h->backing_format, data, ext->length);
    }
    if (ext->type == QCOW2_EXT_CRYPTO &&
        (h->crypt_method != CRYPT_LUKS || ext->length != CRYPTO_EXTENSION_SIZE))
        return error_set(err, ERROR_CORRUPT,
                         "header: the encryption extension at %" PRIu32
                         " does not fit encryption method %" PRIu32,
                         ext->offset, h->crypt_method);
    return 0;
}

/* Walks the extensions as QEMU does: to the end mark, the backing name or the cluster's end. */
static int decode_extensions(struct qcow2_header *h, const uint8_t *buf, struct error *err)
{
    uint64_t end = h->backing_offset ? h->backing_offset : (uint64_t)1 << h->cluster_bits;
    uint64_t at = h->header_length;
    int rc;

    while (at < end) {
        uint32_t type, length;

        if (end - at < EXTENSION_HEAD)
            return error_set(err, ERROR_CORRUPT,
                             "header: the extension at %" PRIu64 " does not fit", at);
        type = be32_get(buf + at);
        length = be32_get(buf + at + 4);
        at += EXTENSION_HEAD;
        if (length > end - at)
            return error_set(err, ERROR_CORRUPT,
                             "header: the extension at %" PRIu64 " of %" PRIu32
                             " bytes does not fit",
                             at - EXTENSION_HEAD, length);
        if (type == QCOW2_EXT_END)
            return 0;
        if ((rc = add_extension(h, type, length, (uint32_t)at, err)) < 0 ||
            (rc = check_extension(h, buf + at, &h->extensions[h->nb_extensions - 1], err)) < 0)
            return rc;
        at += ((uint64_t)length + 7) & ~UINT64_C(7);
    }
    return 0;
}

static int decode_backing(struct qcow2_header *h, const uint8_t *buf, struct error *err)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;

    if (h->backing_offset == 0)
        return 0;
    if (h->backing_length > QCOW2_MAX_BACKING_NAME ||
        h->backing_length > cluster_size - h->backing_offset)
        return error_set(err, ERROR_CORRUPT,
                         "header: the backing file name at %" PRIu64 " of %" PRIu32
                         " bytes is too long",
                         h->backing_offset, h->backing_length);
    memcpy(h->backing_file, buf + h->backing_offset, h->backing_length);
    return 0;
}

/* Copies the name of incompatible feature ${bit} from the feature name table, where it has one. */
static void find_feature_name(const struct qcow2_header *h, const uint8_t *buf, unsigned bit,
                              char name[FEATURE_NAME_SIZE])
{
    name[0] = '\0';
    for (uint32_t i = 0; i < h->nb_extensions; i++) {
        const struct qcow2_extension *ext = &h->extensions[i];

        if (ext->type != QCOW2_EXT_FEATURE_NAMES)
            continue;
        for (uint32_t at = 0; ext->length - at >= FEATURE_NAME_SIZE; at += FEATURE_NAME_SIZE) {
            const uint8_t *p = buf + ext->offset + at;

            if (p[0] != 0 || p[1] != bit)
                continue;
            memcpy(name, p + 2, FEATURE_NAME_SIZE - 2);
            name[FEATURE_NAME_SIZE - 2] = '\0';
            for (char *c = name; *c; c++)
                if (*c < ' ' || *c > '~')
                    *c = '?'; /* it goes to a terminal */
            return;
        }
    }
}

static int refuse_unknown_features(struct qcow2_header *h, const uint8_t *buf, struct error *err)
{
    uint64_t unknown = h->incompatible & ~known_incompatible;
    unsigned bit;
    char name[FEATURE_NAME_SIZE];

    if (!unknown)
        return 0;
    bit = (unsigned)__builtin_ctzll(unknown);
    /* Only for the name: what an unknown feature makes of the extensions is not ours to judge. */
    decode_extensions(h, buf, NULL);
    find_feature_name(h, buf, bit, name);
    return error_set(err, ERROR_UNSUPPORTED, "the image needs the unknown feature %s%s%u%s", name,
                     *name ? " (incompatible bit " : "of incompatible bit ", bit, *name ? ")" : "");
}

int qcow2_header_decode(struct qcow2_header *h, const uint8_t *buf, size_t len, uint64_t file_size,
                        struct error *err)
{
    struct qcow2_header tmp = {0};
    int rc;

    if ((rc = decode_fields(&tmp, buf, len, err)) < 0)
        goto out;
    if (tmp.backing_offset > UINT64_C(1) << tmp.cluster_bits) {
        rc = error_set(err, ERROR_CORRUPT,
                       "header: the backing file name at %" PRIu64 " lies outside the header",
                       tmp.backing_offset);
        goto out;
    }
    if ((rc = refuse_unknown_features(&tmp, buf, err)) < 0 ||
        (rc = check_features(&tmp, err)) < 0 || (rc = check_tables(&tmp, file_size, err)) < 0 ||
        (rc = decode_extensions(&tmp, buf, err)) < 0 || (rc = decode_backing(&tmp, buf, err)) < 0)
        goto out;
    *h = tmp;
    return 0;

out:
    qcow2_header_clear(&tmp);
    return rc;
}

/* Where the next byte goes, and what is missing once it does not fit. */
struct space {
    uint8_t *buf;
    size_t size;
    size_t at;
};

static int put_extension(struct space *s, uint32_t type, const uint8_t *data, uint32_t length)
{
    size_t padded = ((size_t)length + 7) & ~(size_t)7;

    if (s->size - s->at < EXTENSION_HEAD || padded > s->size - s->at - EXTENSION_HEAD)
        return -1;
    be32_put(s->buf + s->at, type);
    be32_put(s->buf + s->at + 4, length);
    if (length)
        memcpy(s->buf + s->at + EXTENSION_HEAD, data, length);
    s->at += EXTENSION_HEAD + padded;
    return 0;
}

static int encode_extensions(struct space *s, const struct qcow2_header *h, const uint8_t *original,
                             struct error *err)
{
    const uint8_t *format = (const uint8_t *)h->backing_format;
    uint32_t format_length = (uint32_t)strnlen(h->backing_format, sizeof h->backing_format - 1);
    bool format_done = format_length == 0;
    int rc = 0;

    for (uint32_t i = 0; i < h->nb_extensions && rc == 0; i++) {
        const struct qcow2_extension *ext = &h->extensions[i];

        if (ext->type == QCOW2_EXT_BACKING_FORMAT) {
            if (!format_done)
                rc = put_extension(s, ext->type, format, format_length);
            format_done = true;
        } else if (original) {
            if (ext->offset > s->size || ext->length > s->size - ext->offset)
                return error_set(err, ERROR_USAGE,
                                 "header: the extension at %" PRIu32 " is not in the original",
                                 ext->offset);
            rc = put_extension(s, ext->type, original + ext->offset, ext->length);
        }
    }
    if (rc == 0 && !format_done)
        rc = put_extension(s, QCOW2_EXT_BACKING_FORMAT, format, format_length);
    if (rc < 0)
        return error_set(err, ERROR_NO_SPACE, "the header extensions do not fit %zu bytes",
                         s->size);
    return 0;
}

static int encode_backing(struct space *s, const struct qcow2_header *h, struct error *err)
{
    size_t length = strnlen(h->backing_file, sizeof h->backing_file);

    if (length > QCOW2_MAX_BACKING_NAME)
        return error_set(err, ERROR_USAGE, "the backing file name has more than %u bytes",
                         QCOW2_MAX_BACKING_NAME);
    /* Where there is no room for the end mark, the name itself ends the extensions. */
    if (s->size - s->at >= EXTENSION_HEAD + length)
        s->at += EXTENSION_HEAD;
    if (length == 0)
        return 0;
    if (length > s->size - s->at)
        return error_set(err, ERROR_NO_SPACE,
                         "the backing file name of %zu bytes does not fit a header of %zu bytes",
                         length, s->size);
    be64_put(s->buf + 8, s->at);
    be32_put(s->buf + 16, (uint32_t)length);
    memcpy(s->buf + s->at, h->backing_file, length);
    return 0;
}

static int check_encodable(const struct qcow2_header *h, size_t cluster_size, struct error *err)
{
    uint32_t min = h->version == 2 ? QCOW2_V2_HEADER_SIZE : QCOW2_V3_HEADER_SIZE;

    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS ||
        cluster_size != (size_t)1 << h->cluster_bits)
        return error_set(err, ERROR_USAGE, "header: cluster_bits %" PRIu32 " for %zu bytes",
                         h->cluster_bits, cluster_size);
    if ((h->version != 2 && h->version != 3) || h->header_length < min ||
        h->header_length > cluster_size)
        return error_set(err, ERROR_USAGE,
                         "header: version %" PRIu32 " with header_length %" PRIu32, h->version,
                         h->header_length);
    if (h->version == 2 &&
        (h->incompatible || h->compatible || h->autoclear || h->compression_type ||
         h->header_length != min || h->refcount_order != V2_REFCOUNT_ORDER))
        return error_set(err, ERROR_USAGE, "header: version 2 with features of version 3");
    if (h->compression_type && h->header_length <= COMPRESSION_TYPE_AT)
        return error_set(err, ERROR_USAGE,
                         "header: header_length %" PRIu32 " leaves out the compression type",
                         h->header_length);
    return check_features(h, err);
}

int qcow2_header_encode(uint8_t *buf, size_t cluster_size, const struct qcow2_header *h,
                        const uint8_t *original, struct error *err)
{
    struct space s = {.buf = buf, .size = cluster_size, .at = h->header_length};
    int rc;

    if ((rc = check_encodable(h, cluster_size, err)) < 0)
        return rc;
    memset(buf, 0, cluster_size);
    memcpy(buf, magic, MAGIC_LENGTH);
    be32_put(buf + 4, h->version);
    be32_put(buf + 20, h->cluster_bits);
    be64_put(buf + 24, h->size);
    be32_put(buf + 32, h->crypt_method);
    be32_put(buf + 36, h->l1_size);
    be64_put(buf + 40, h->l1_offset);
    be64_put(buf + 48, h->refcount_table_offset);
    be32_put(buf + 56, h->refcount_table_clusters);
    be32_put(buf + 60, h->nb_snapshots);
    be64_put(buf + 64, h->snapshots_offset);
    if (h->version == 3) {
        be64_put(buf + 72, h->incompatible);
        be64_put(buf + 80, h->compatible);
        be64_put(buf + 88, h->autoclear);
        be32_put(buf + 96, h->refcount_order);
        be32_put(buf + 100, h->header_length);
        if (original && be32_get(original + 4) == 3) {
            uint32_t length = be32_get(original + 100);

            if (length > h->header_length)
                length = h->header_length;
            if (length > COMPRESSION_TYPE_AT)
                memcpy(buf + COMPRESSION_TYPE_AT, original + COMPRESSION_TYPE_AT,
                       length - COMPRESSION_TYPE_AT);
        }
        if (h->header_length > COMPRESSION_TYPE_AT)
            buf[COMPRESSION_TYPE_AT] = h->compression_type;
    }
    if ((rc = encode_extensions(&s, h, original, err)) < 0 || (rc = encode_backing(&s, h, err)) < 0)
        return rc;
    return 0;
}
