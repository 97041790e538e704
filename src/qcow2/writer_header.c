/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The header of a written file: what may stand in it, what is kept of the one
 * that it was, and the extensions that are made anew (LUKS area, data file's
 * name, bitmaps). Places nothing and writes nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum {
    MAX_L1_SIZE = (32 << 20) / 8, /* entries; the most that QEMU opens */
    MAX_L1_TOTAL = 1 << 26,       /* entries of all views: 256 MiB of memory */
    MAX_REFCOUNT_ORDER = 6,
    MAX_VIEWS = 1 + QCOW2_MAX_SNAPSHOTS,
    CRYPT_LUKS = 2,
    CRYPTO_EXTENSION_SIZE = 16,
    BITMAPS_EXTENSION_SIZE = 24,
};

static int check_l1s(const struct qcow2_header *header, const struct qcow2_writer_options *options,
                     const char *name, struct error *err)
{
    uint64_t table_bytes = UINT64_C(1) << (header->cluster_bits + qcow2_entry_l2_bits(header));
    uint64_t needed = header->size / table_bytes + (header->size % table_bytes != 0);
    uint64_t total = header->l1_size;

    if (header->l1_size > MAX_L1_SIZE || header->l1_size < needed)
        return error_set(err, ERROR_CORRUPT,
                         "%s: cannot write a disk of %" PRIu64 " bytes with an L1 of %" PRIu32
                         " entries",
                         name, header->size, header->l1_size);
    if (options == NULL)
        return 0;
    if (options->views == 0 || options->views > MAX_VIEWS)
        return error_set(err, ERROR_USAGE, "%s: cannot write %" PRIu32 " views", name,
                         options->views);
    for (uint32_t i = 1; i < options->views; i++) {
        total += options->l1_sizes[i];
        if (options->l1_sizes[i] > MAX_L1_SIZE || total > MAX_L1_TOTAL)
            return error_set(err, ERROR_CORRUPT,
                             "%s: cannot write snapshot %" PRIu32 " with an L1 of %" PRIu32
                             " entries, of %" PRIu64 " in all",
                             name, i - 1, options->l1_sizes[i], total);
    }
    if (options->views > 1 && header->incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return error_set(err, ERROR_CORRUPT,
                         "%s: there are no snapshots with an external data file", name);
    return 0;
}

static int check_crypto(const struct qcow2_header *header,
                        const struct qcow2_writer_options *options, const char *name,
                        struct error *err)
{
    uint64_t offset = options != NULL ? options->crypto_offset : 0;
    uint64_t length = options != NULL ? options->crypto_length : 0;
    uint64_t cluster_size = UINT64_C(1) << header->cluster_bits;

    if ((header->crypt_method == CRYPT_LUKS) != (length > 0))
        return error_set(err, ERROR_CORRUPT,
                         "%s: encryption method %" PRIu32 " with a LUKS header of %" PRIu64
                         " bytes",
                         name, header->crypt_method, length);
    if (length > 0 && (offset == 0 || offset % cluster_size != 0 || offset > QCOW2_OFFSET_MASK ||
                       length > QCOW2_OFFSET_MASK))
        return error_set(err, ERROR_CORRUPT,
                         "%s: a LUKS header of %" PRIu64 " bytes at %" PRIu64 " is impossible",
                         name, length, offset);
    return 0;
}

int writer_header_check(const struct writer_layout *layout, const struct qcow2_header *header,
                        const struct qcow2_writer_options *options, const char *name,
                        struct error *err)
{
    int rc;

    /* What the rest of the writer computes with; the encoder checks the other fields. */
    if (header->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        header->cluster_bits > QCOW2_MAX_CLUSTER_BITS ||
        header->refcount_order > MAX_REFCOUNT_ORDER)
        return error_set(err, ERROR_CORRUPT,
                         "%s: cannot write clusters of %" PRIu32
                         " bits and refcount order %" PRIu32,
                         name, header->cluster_bits, header->refcount_order);
    if (!layout->old_places &&
        (header->crypt_method != 0 || header->incompatible & QCOW2_INCOMPAT_DATA_FILE))
        return error_set(err, ERROR_UNSUPPORTED, "%s: cannot write a compact qcow2 file with %s",
                         name, header->crypt_method != 0 ? "encryption" : "an external data file");
    if ((rc = check_l1s(header, options, name, err)) < 0)
        return rc;
    return check_crypto(header, options, name, err);
}

/* Gives extension ${type} the ${len} bytes at ${data}; where it is missing, it becomes the last. */
static int set_extension(struct qcow2_writer *w, uint32_t type, const void *data, size_t len,
                         struct error *err)
{
    struct qcow2_header *h = &w->header;
    uint32_t i = 0;

    while (i < h->nb_extensions && h->extensions[i].type != type)
        i++;
    if (i == h->nb_extensions) {
        void *p = reallocarray(h->extensions, (size_t)i + 1, sizeof *h->extensions);

        if (p == NULL)
            return error_no_memory(err);
        h->extensions = p;
        h->extensions[i] = (struct qcow2_extension){.type = type};
        h->nb_extensions++;
    }
    if (len > h->extensions[i].length) {
        if (len > w->cluster_size - w->original_len)
            return error_set(err, ERROR_NO_SPACE, "%s: the header extensions do not fit %zu bytes",
                             w->target.name, w->cluster_size);
        h->extensions[i].offset = (uint32_t)w->original_len;
        w->original_len += len;
    }
    h->extensions[i].length = (uint32_t)len;
    if (len > 0)
        memcpy(w->original + h->extensions[i].offset, data, len);
    return 0;
}

/* What is made anew must not take the room of the new. */
static bool is_replaced(const struct qcow2_writer_options *options, uint32_t type)
{
    return type == QCOW2_EXT_CRYPTO || type == QCOW2_EXT_BITMAPS ||
           (type == QCOW2_EXT_DATA_FILE && options != NULL && options->data_file != NULL);
}

/* Repacks the extensions of ${original}: so there is room for what is longer than it was. */
static int copy_extensions(struct qcow2_writer *w, const struct qcow2_header *header,
                           const uint8_t *original, const struct qcow2_writer_options *options,
                           struct error *err)
{
    struct qcow2_header *h = &w->header;

    if (header->nb_extensions == 0)
        return 0;
    h->extensions = calloc(header->nb_extensions, sizeof *h->extensions);
    if (h->extensions == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < header->nb_extensions; i++) {
        struct qcow2_extension ext = header->extensions[i];

        if (ext.type == QCOW2_EXT_CRYPTO && w->crypto_length == 0)
            continue;
        if (ext.offset > w->cluster_size || ext.length > w->cluster_size - ext.offset)
            return error_set(err, ERROR_USAGE,
                             "%s: the header extension at %" PRIu32 " is not in the original",
                             w->target.name, ext.offset);
        if (is_replaced(options, ext.type))
            ext.length = 0;
        if (ext.length > w->cluster_size - w->original_len)
            return error_set(err, ERROR_NO_SPACE, "%s: the header extensions do not fit %zu bytes",
                             w->target.name, w->cluster_size);
        if (ext.length > 0)
            memcpy(w->original + w->original_len, original + ext.offset, ext.length);
        ext.offset = (uint32_t)w->original_len;
        w->original_len += ext.length;
        h->extensions[h->nb_extensions++] = ext;
    }
    return 0;
}

static int make_extensions(struct qcow2_writer *w, const struct qcow2_writer_options *options,
                           struct error *err)
{
    uint8_t data[BITMAPS_EXTENSION_SIZE] = {0};
    int rc;

    be64_put(data, w->crypto_offset);
    be64_put(data + 8, w->crypto_length);
    if (w->crypto_length > 0 &&
        (rc = set_extension(w, QCOW2_EXT_CRYPTO, data, CRYPTO_EXTENSION_SIZE, err)) < 0)
        return rc;
    if (w->external && options != NULL && options->data_file != NULL &&
        (rc = set_extension(w, QCOW2_EXT_DATA_FILE, options->data_file, strlen(options->data_file),
                            err)) < 0)
        return rc;
    /* So that it is known from the start whether they fit; where there are none, it goes again. */
    for (uint32_t i = 0; i < w->header.nb_extensions; i++)
        if (w->header.extensions[i].type == QCOW2_EXT_BITMAPS)
            return set_extension(w, QCOW2_EXT_BITMAPS, data, BITMAPS_EXTENSION_SIZE, err);
    return 0;
}

int writer_header_copy(struct qcow2_writer *w, const struct qcow2_header *header,
                       const uint8_t *original, const struct qcow2_writer_options *options,
                       struct error *err)
{
    struct qcow2_header *h = &w->header;
    int rc;

    *h = *header;
    h->extensions = NULL;
    h->nb_extensions = 0;
    h->l1_offset = 0;
    h->refcount_table_offset = 0;
    h->refcount_table_clusters = 0;
    h->nb_snapshots = 0;
    h->snapshots_offset = 0;
    h->backing_offset = 0;
    h->backing_length = 0;
    h->incompatible &= ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    h->autoclear &= w->external ? QCOW2_AUTOCLEAR_RAW_DATA : 0;
    w->original = calloc(1, w->cluster_size);
    if (w->original == NULL)
        return error_no_memory(err);
    w->original_len =
        header->header_length < w->cluster_size ? header->header_length : w->cluster_size;
    if (original != NULL) {
        /* Unknown bytes may stand behind the fields, as far as the original's own length says. */
        memcpy(w->original, original, w->original_len);
        if (w->original_len >= QCOW2_V3_HEADER_SIZE && be32_get(original + 100) > w->original_len)
            be32_put(w->original + 100, (uint32_t)w->original_len);
        if ((rc = copy_extensions(w, header, original, options, err)) < 0)
            return rc;
    }
    return make_extensions(w, options, err);
}

int writer_header_encode(struct qcow2_writer *w, struct error *err)
{
    int rc = qcow2_header_encode(w->scratch, w->cluster_size, &w->header, w->original, err);

    return rc < 0 ? error_wrap(err, "%s", w->target.name) : 0;
}

int writer_header_set_bitmaps(struct qcow2_writer *w, uint64_t directory, struct error *err)
{
    struct qcow2_header *h = &w->header;
    uint8_t data[BITMAPS_EXTENSION_SIZE] = {0};
    uint32_t n = 0;

    if (w->bitmaps.n > 0) {
        h->autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
        be32_put(data, w->bitmaps.n);
        be64_put(data + 8, w->bitmaps.directory_len);
        be64_put(data + 16, directory);
        return set_extension(w, QCOW2_EXT_BITMAPS, data, sizeof data, err);
    }
    for (uint32_t i = 0; i < h->nb_extensions; i++)
        if (h->extensions[i].type != QCOW2_EXT_BITMAPS)
            h->extensions[n++] = h->extensions[i];
    h->nb_extensions = n;
    return 0;
}
