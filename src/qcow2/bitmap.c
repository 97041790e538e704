/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bitmap directory and the tables of bitmaps. What is wrong is collected as
 * text, not as an error: a bitmap is no part of the disk.
 */
#include "qcow2/bitmap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/bytes.h"
#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/image_internal.h"

enum {
    EXTENSION_SIZE = 24,
    ENTRY_FIXED_SIZE = 24,
    MAX_BITMAPS = 65535,
    MAX_NAME = 1023,
    TYPE_DIRTY = 1,
    MIN_GRANULARITY_BITS = 9,
    MAX_GRANULARITY_BITS = 31,
    KNOWN_FLAGS = QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_COMPATIBLE,
    ALL_ONES = 1,
};

#define MAX_DIRECTORY     (UINT64_C(1024) * MAX_BITMAPS) /* bytes */
#define MAX_BITMAP_BYTES  (UINT64_C(512) << 20)          /* of one bitmap, in its clusters */
#define MAX_TABLE_BYTES   (UINT64_C(64) << 20)           /* of all tables: ours to keep */
#define TABLE_OFFSET_MASK QCOW2_OFFSET_MASK
#define TABLE_RESERVED    UINT64_C(0xff000000000001fe)

/* The bitmaps read so far, and what was wrong with others. */
struct loader {
    struct qcow2_image *image;
    struct qcow2_bitmap *array;
    uint32_t count;
    uint64_t table_bytes;
    char *problem; /* the first one */
    uint32_t problems;
};

/* A directory entry; what it points to in the directory is lent. */
struct entry {
    uint64_t table_offset;
    uint32_t table_size;
    uint32_t flags;
    uint8_t type;
    uint8_t granularity_bits;
    uint32_t extra_len;
    uint32_t name_len;
    const uint8_t *extra;
    const uint8_t *name;
};

static void bitmap_clear(struct qcow2_bitmap *b)
{
    free(b->name);
    free(b->extra);
    free(b->table);
}

void qcow2_bitmaps_free(struct qcow2_bitmap *array, uint32_t count)
{
    if (!array)
        return;
    for (uint32_t i = 0; i < count; i++)
        bitmap_clear(&array[i]);
    free(array);
}

/* Notes a problem; only the first is kept as text. */
__attribute__((format(printf, 2, 3))) static void note(struct loader *l, const char *fmt, ...)
{
    va_list ap;

    if (l->problems++ > 0)
        return;
    va_start(ap, fmt);
    if (vasprintf(&l->problem, fmt, ap) < 0)
        l->problem = NULL;
    va_end(ap);
}

/* Like note(), of the bitmap of directory entry ${e}; its name goes to a terminal. */
static void note_entry(struct loader *l, const struct entry *e, const char *what, uint64_t number)
{
    char name[MAX_NAME + 1];
    uint32_t n = e->name_len < MAX_NAME ? e->name_len : MAX_NAME;

    for (uint32_t i = 0; i < n; i++)
        name[i] = e->name[i] < ' ' || e->name[i] == 0x7f ? '?' : (char)e->name[i];
    name[n] = '\0';
    note(l, "bitmap \"%s\": %s (%" PRIu64 ")", name, what, number);
}

/* Drops all bitmaps. */
static void drop_all(struct loader *l)
{
    qcow2_bitmaps_free(l->array, l->count);
    l->array = NULL;
    l->count = 0;
}

/* Whether ${len} bytes at cluster-aligned ${offset} are inside the file and not the header. */
static bool is_inside(const struct qcow2_image *image, uint64_t offset, uint64_t len)
{
    return offset != 0 && (offset & (image->cluster_size - 1)) == 0 && len <= image->file_size &&
           offset <= image->file_size - len;
}

/* Sets ${*ext} to the extension, NULL where there are no valid bitmaps. */
static void find_extension(struct loader *l, const struct qcow2_extension **ext)
{
    const struct qcow2_header *h = &l->image->header;

    *ext = NULL;
    for (uint32_t i = 0; i < h->nb_extensions; i++) {
        if (h->extensions[i].type != QCOW2_EXT_BITMAPS)
            continue;
        if (*ext) {
            note(l, "two bitmaps extensions, at %" PRIu32 " and %" PRIu32 " of the header",
                 (*ext)->offset, h->extensions[i].offset);
            *ext = NULL;
            return;
        }
        *ext = &h->extensions[i];
    }
    if (*ext && !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        note(l, "the bitmaps are not valid: the image was written to by somebody who does not know "
                "them");
        *ext = NULL;
    }
}

/* Reads the directory that ${ext} names; sets ${*dir} to its ${*len} bytes, NULL where that was a
 * problem, and ${*n} to its entries. */
static int read_directory(struct loader *l, const struct qcow2_extension *ext, uint8_t **dir,
                          size_t *len, uint32_t *n, struct error *err)
{
    struct qcow2_image *image = l->image;
    const uint8_t *p = image->header_cluster + ext->offset;
    uint64_t size, offset;
    int rc;

    if (ext->length != EXTENSION_SIZE || be32_get(p + 4) != 0) {
        note(l, "the bitmaps extension at %" PRIu32 " of the header is malformed", ext->offset);
        return 0;
    }
    *n = be32_get(p);
    size = be64_get(p + 8);
    offset = be64_get(p + 16);
    if (*n == 0 || *n > MAX_BITMAPS) {
        note(l, "the bitmaps extension names %" PRIu32 " bitmaps", *n);
        return 0;
    }
    if (size > MAX_DIRECTORY || size < (uint64_t)*n * ENTRY_FIXED_SIZE) {
        note(l,
             "the bitmap directory at %" PRIu64 " of %" PRIu64 " bytes cannot have %" PRIu32
             " entries",
             offset, size, *n);
        return 0;
    }
    if (!is_inside(image, offset, size)) {
        note(l,
             "the bitmap directory at %" PRIu64 " of %" PRIu64
             " bytes is not aligned to a cluster, or not inside the file",
             offset, size);
        return 0;
    }
    if (!(*dir = malloc((size_t)size)))
        return error_no_memory(err);
    if ((rc = io_read(image->fd, image->name, offset, *dir, (size_t)size, err)) < 0)
        return rc;
    image->metadata_read += size;
    *len = (size_t)size;
    return 0;
}

/* Decodes the entry at the start of the ${len} bytes at ${p}. Returns the bytes it takes, padding
 * included; 0 where it does not fit. */
static size_t decode_entry(struct entry *e, const uint8_t *p, size_t len)
{
    uint64_t size;

    if (len < ENTRY_FIXED_SIZE)
        return 0;
    e->table_offset = be64_get(p);
    e->table_size = be32_get(p + 8);
    e->flags = be32_get(p + 12);
    e->type = p[16];
    e->granularity_bits = p[17];
    e->name_len = be16_get(p + 18);
    e->extra_len = be32_get(p + 20);
    e->extra = p + ENTRY_FIXED_SIZE;
    size = ((uint64_t)ENTRY_FIXED_SIZE + e->extra_len + e->name_len + 7) & ~UINT64_C(7);
    if (size > len)
        return 0;
    e->name = e->extra + e->extra_len;
    return (size_t)size;
}

/* Whether QEMU would take ${e}, but for extra data; else notes why not. */
static bool is_sane(struct loader *l, const struct entry *e)
{
    const struct qcow2_image *image = l->image;
    uint64_t bytes = (uint64_t)e->table_size * image->cluster_size;

    if (e->name_len == 0 || e->name_len > MAX_NAME || memchr(e->name, '\0', e->name_len))
        note_entry(l, e, "its name is empty, too long, or has a NUL in it", e->name_len);
    else if (e->type != TYPE_DIRTY)
        note_entry(l, e, "its type is not known", e->type);
    else if (e->flags & ~(uint32_t)KNOWN_FLAGS)
        note_entry(l, e, "it has flags that are not known", e->flags);
    else if (e->granularity_bits < MIN_GRANULARITY_BITS ||
             e->granularity_bits > MAX_GRANULARITY_BITS)
        note_entry(l, e, "its granularity is impossible", e->granularity_bits);
    else if (e->table_size == 0 || bytes > MAX_BITMAP_BYTES)
        note_entry(l, e, "the size of its table is impossible", e->table_size);
    else if (!is_inside(image, e->table_offset, (uint64_t)e->table_size * 8))
        note_entry(l, e, "its table is not aligned to a cluster, or not inside the file",
                   e->table_offset);
    else if (!(e->flags & QCOW2_BITMAP_IN_USE) &&
             (bytes * 8) << e->granularity_bits < qcow2_image_virtual_size(image))
        note_entry(l, e, "it does not cover the disk", e->table_size);
    else if (l->table_bytes + (uint64_t)e->table_size * 8 > MAX_TABLE_BYTES)
        note_entry(l, e, "the tables of all bitmaps are too large", e->table_offset);
    else
        return true;
    return false;
}

static bool is_sane_word(const struct qcow2_image *image, uint64_t word)
{
    uint64_t offset = word & TABLE_OFFSET_MASK;

    if (word & TABLE_RESERVED)
        return false;
    if (offset == 0)
        return true;
    /* The file may end within its last cluster. */
    return !(word & ALL_ONES) && (offset & (image->cluster_size - 1)) == 0 &&
           offset < image->file_size;
}

/* Reads the table of ${e} into ${b}; sets ${*good} to whether it is one. */
static int read_table(struct loader *l, const struct entry *e, struct qcow2_bitmap *b, bool *good,
                      struct error *err)
{
    struct qcow2_image *image = l->image;
    size_t bytes = (size_t)e->table_size * 8;
    int rc;

    *good = false;
    if (!(b->table = malloc(bytes)))
        return error_no_memory(err);
    if ((rc = io_read(image->fd, image->name, e->table_offset, b->table, bytes, err)) < 0)
        return rc;
    image->metadata_read += bytes;
    for (uint32_t i = 0; i < e->table_size; i++) {
        b->table[i] = be64_get((const uint8_t *)&b->table[i]);
        if (!is_sane_word(image, b->table[i])) {
            note_entry(l, e, "a table entry is malformed, or points out of the file",
                       e->table_offset + (uint64_t)i * 8);
            return 0;
        }
    }
    *good = true;
    return 0;
}

/* Adds the bitmap of directory entry ${e}, or notes why not. */
static int add(struct loader *l, const struct entry *e, struct error *err)
{
    struct qcow2_bitmap b = {
        .flags = e->flags,
        .granularity_bits = e->granularity_bits,
        .type = e->type,
        .extra_len = e->extra_len,
        .table_size = e->table_size,
    };
    bool good = false;
    int rc = 0;

    if (!is_sane(l, e))
        return 0;
    b.name = bytes_to_text(e->name, e->name_len);
    b.extra = malloc(e->extra_len + (size_t)1);
    if (!b.name || !b.extra) {
        rc = error_no_memory(err);
        goto out;
    }
    memcpy(b.extra, e->extra, e->extra_len);
    rc = read_table(l, e, &b, &good, err);

out:
    if (!good) {
        bitmap_clear(&b);
        return rc;
    }
    l->table_bytes += (uint64_t)b.table_size * 8;
    l->array[l->count++] = b;
    return 0;
}

static int read_entries(struct loader *l, const uint8_t *dir, size_t len, uint32_t n,
                        struct error *err)
{
    size_t at = 0, size;
    struct entry e;
    int rc;

    if (!(l->array = calloc(n, sizeof *l->array)))
        return error_no_memory(err);
    for (uint32_t i = 0; i < n; i++, at += size) {
        if ((size = decode_entry(&e, dir + at, len - at)) == 0) {
            note(l, "the bitmap directory ends within entry %" PRIu32 " at %zu", i, at);
            drop_all(l);
            return 0;
        }
        if ((rc = add(l, &e, err)) < 0)
            return rc;
    }
    if (at != len) {
        note(l, "the bitmap directory has %zu bytes, of which %zu are entries", len, at);
        drop_all(l);
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_names(struct loader *l, struct error *err)
{
    char **names = calloc(l->count + (size_t)1, sizeof *names);

    if (!names)
        return error_no_memory(err);
    for (uint32_t i = 0; i < l->count; i++)
        names[i] = l->array[i].name;
    qsort(names, l->count, sizeof *names, compare_names);
    for (uint32_t i = 1; i < l->count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            note(l, "two bitmaps have the same name");
            drop_all(l);
            break;
        }
    }
    free(names);
    return 0;
}

static int compare_offsets(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Each cluster once, or a small file could stand for terabytes of bitmaps. */
static int check_distinct(struct loader *l, struct error *err)
{
    uint64_t *offsets = malloc(l->table_bytes + 8);
    size_t n = 0;

    if (!offsets)
        return error_no_memory(err);
    for (uint32_t i = 0; i < l->count; i++)
        for (uint32_t j = 0; j < l->array[i].table_size; j++)
            if (l->array[i].table[j] & TABLE_OFFSET_MASK)
                offsets[n++] = l->array[i].table[j];
    qsort(offsets, n, sizeof *offsets, compare_offsets);
    for (size_t i = 1; i < n; i++) {
        if (offsets[i - 1] == offsets[i]) {
            note(l, "two clusters of bitmaps share host offset %" PRIu64, offsets[i]);
            drop_all(l);
            break;
        }
    }
    free(offsets);
    return 0;
}

/* Sets ${*problem} to what was noted, NULL for nothing. */
static int finish_problem(struct loader *l, char **problem, struct error *err)
{
    if (l->problems == 0)
        return 0;
    if (!l->problem)
        return error_no_memory(err);
    if (l->problems == 1) {
        *problem = l->problem;
        l->problem = NULL;
    } else if (asprintf(problem, "%s; and %" PRIu32 " more like that", l->problem,
                        l->problems - 1) < 0) {
        *problem = NULL;
        return error_no_memory(err);
    }
    return 0;
}

int qcow2_image_bitmaps(struct qcow2_image *image, struct qcow2_bitmap **array, uint32_t *count,
                        char **problem, struct error *err)
{
    struct loader l = {.image = image};
    const struct qcow2_extension *ext;
    uint8_t *dir = NULL;
    uint32_t n = 0;
    size_t len = 0;
    int rc = 0;

    *array = NULL;
    *count = 0;
    *problem = NULL;
    find_extension(&l, &ext);
    if (ext && (rc = read_directory(&l, ext, &dir, &len, &n, err)) < 0)
        goto out;
    if (dir && ((rc = read_entries(&l, dir, len, n, err)) < 0 || (rc = check_names(&l, err)) < 0 ||
                (rc = check_distinct(&l, err)) < 0))
        goto out;
    if ((rc = finish_problem(&l, problem, err)) < 0)
        goto out;
    *array = l.array;
    *count = l.count;
    l.array = NULL;
    l.count = 0;

out:
    drop_all(&l);
    free(l.problem);
    free(dir);
    return rc;
}

int qcow2_bitmap_read(struct qcow2_image *image, const struct qcow2_bitmap *bitmap, uint32_t index,
                      enum qcow2_bitmap_class *class, uint8_t *buf, struct error *err)
{
    uint64_t word, offset;
    size_t got;
    int rc;

    if (index >= bitmap->table_size)
        return error_set(err, ERROR_USAGE, "%s: the bitmap has no cluster %" PRIu32, image->name,
                         index);
    word = bitmap->table[index];
    offset = word & TABLE_OFFSET_MASK;
    if (offset == 0) {
        *class = word & ALL_ONES ? QCOW2_BITMAP_ONES : QCOW2_BITMAP_CLEAR;
        return 0;
    }
    *class = QCOW2_BITMAP_DATA;
    if ((rc = io_read_some(image->fd, image->name, offset, buf, image->cluster_size, &got, err)) <
        0)
        return rc;
    memset(buf + got, 0, image->cluster_size - got);
    image->metadata_read += got;
    return 0;
}
