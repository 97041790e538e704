/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent bitmaps: their clusters as they come, the table of each, and at the
 * end the directory of all. What the bits mean is nothing to it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "qcow2/writer_internal.h"

enum {
    MAX_BITMAPS = 65535,
    MAX_DIRECTORY = 1024 * MAX_BITMAPS, /* bytes */
    MAX_BITMAP_BYTES = 512 << 20,       /* of one; all three are what QEMU opens */
    MAX_NAME = 1023,
    ENTRY_HEAD = 24,
    MIN_DIRECTORY_ROOM = 4096,
};

void writer_bitmaps_clear(struct qcow2_writer *w)
{
    free(w->bitmaps.table);
    free(w->bitmaps.directory);
}

static int check_bitmap(const struct qcow2_writer *w, const struct qcow2_bitmap *b,
                        struct error *err)
{
    const char *why = NULL;

    if (w->header.version < 3)
        why = "version 2 has no bitmaps";
    else if (b->name[0] == '\0' || strlen(b->name) > MAX_NAME)
        why = "its name is empty or too long";
    else if (b->table_size == 0 || b->table_size > MAX_BITMAP_BYTES / w->cluster_size)
        why = "its size is impossible";
    else if (w->bitmaps.n == MAX_BITMAPS)
        why = "there are too many";
    if (why != NULL)
        return error_set(err, ERROR_CORRUPT, "%s: cannot write bitmap \"%s\": %s", w->target.name,
                         b->name, why);
    return 0;
}

/* Makes room for an entry of ${len} bytes, zeroed. */
static int grow_directory(struct qcow2_writer *w, size_t len, struct error *err)
{
    struct writer_bitmaps *b = &w->bitmaps;
    size_t room = b->directory_room ? b->directory_room : MIN_DIRECTORY_ROOM;
    uint8_t *p = NULL;

    if (len > MAX_DIRECTORY - b->directory_len)
        return error_set(err, ERROR_CORRUPT, "%s: the bitmap directory is too long",
                         w->target.name);
    while (room - b->directory_len < len)
        room *= 2;
    if (room > b->directory_room) {
        p = realloc(b->directory, room);
        if (p == NULL)
            return error_no_memory(err);
        b->directory = p;
        b->directory_room = room;
    }
    memset(b->directory + b->directory_len, 0, len);
    return 0;
}

int qcow2_writer_bitmap_begin(struct qcow2_writer *w, const struct qcow2_bitmap *bitmap,
                              struct error *err)
{
    struct writer_bitmaps *b = &w->bitmaps;
    size_t name_len, len;
    uint8_t *p = NULL;
    int rc;

    if (!w->layout->old_places || !w->placed || b->table != NULL)
        return writer_wrong_order(w, "a bitmap does not come in its order", err);
    if ((rc = check_bitmap(w, bitmap, err)) < 0)
        return rc;
    name_len = strlen(bitmap->name);
    len = (ENTRY_HEAD + name_len + 7) & ~(size_t)7;
    if (bitmap->extra_len > MAX_DIRECTORY - len)
        return error_set(err, ERROR_CORRUPT, "%s: the extra data of bitmap \"%s\" is too long",
                         w->target.name, bitmap->name);
    len = (ENTRY_HEAD + name_len + bitmap->extra_len + 7) & ~(size_t)7;
    if ((rc = grow_directory(w, len, err)) < 0)
        return rc;
    p = b->directory + b->directory_len;
    be32_put(p + 8, bitmap->table_size);
    be32_put(p + 12, bitmap->flags);
    p[16] = bitmap->type;
    p[17] = bitmap->granularity_bits;
    be16_put(p + 18, (uint16_t)name_len);
    be32_put(p + 20, bitmap->extra_len);
    if (bitmap->extra_len > 0)
        memcpy(p + ENTRY_HEAD, bitmap->extra, bitmap->extra_len);
    memcpy(p + ENTRY_HEAD + bitmap->extra_len, bitmap->name, name_len);
    b->next_len = len;

    b->table = calloc(writer_clusters(w, bitmap->table_size * sizeof(uint64_t)), w->cluster_size);
    if (b->table == NULL)
        return error_no_memory(err);
    b->table_size = bitmap->table_size;
    b->filled = 0;
    return 0;
}

/* The table of a complete bitmap. */
static int write_table(struct qcow2_writer *w, struct error *err)
{
    struct writer_bitmaps *b = &w->bitmaps;
    uint64_t clusters = writer_clusters(w, b->table_size * sizeof(uint64_t));
    uint64_t host;
    int rc;

    if ((rc = writer_place_metadata(w, clusters, &host, err)) < 0 ||
        (rc = writer_write(w, host, b->table, clusters * w->cluster_size, err)) < 0)
        return rc;
    be64_put(b->directory + b->directory_len, host);
    b->directory_len += b->next_len;
    b->n++;
    free(b->table);
    b->table = NULL;
    return 0;
}

int qcow2_writer_bitmap_cluster(struct qcow2_writer *w, enum qcow2_bitmap_class class,
                                const uint8_t *data, struct error *err)
{
    struct writer_bitmaps *b = &w->bitmaps;
    uint64_t word = class == QCOW2_BITMAP_ONES;
    int rc;

    if (b->table == NULL)
        return writer_wrong_order(w, "a cluster of a bitmap does not come in its order", err);
    if (class == QCOW2_BITMAP_DATA &&
        ((rc = writer_place_metadata(w, 1, &word, err)) < 0 ||
         (rc = writer_write(w, word, data, w->cluster_size, err)) < 0))
        return rc;
    be64_put(b->table + b->filled++ * sizeof word, word);
    return b->filled == b->table_size ? write_table(w, err) : 0;
}

int writer_bitmaps_finish(struct qcow2_writer *w, struct error *err)
{
    struct writer_bitmaps *b = &w->bitmaps;
    uint64_t host = 0;
    int rc;

    if (b->table != NULL)
        return writer_wrong_order(w, "a bitmap is not complete", err);
    if (b->n > 0 &&
        ((rc = writer_place_metadata(w, writer_clusters(w, b->directory_len), &host, err)) < 0 ||
         (rc = writer_write(w, host, b->directory, b->directory_len, err)) < 0))
        return rc;
    return writer_header_set_bitmaps(w, host, err);
}
