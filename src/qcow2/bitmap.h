/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_BITMAP_H
#define BYRE_QCOW2_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "qcow2/image.h"

/*
 * Persistent bitmaps as they are read. They are not the disk: whatever is wrong
 * with them is a problem to report, and never one of the image.
 */

enum {                          /* flags of a bitmap */
       QCOW2_BITMAP_IN_USE = 1, /* its writer crashed, or is still there: no use to anybody */
       QCOW2_BITMAP_AUTO = 2,   /* enabled: the writer of the image tracks in it */
       QCOW2_BITMAP_EXTRA_COMPATIBLE = 4, /* its extra data may be ignored */
};

enum qcow2_bitmap_class {
    QCOW2_BITMAP_CLEAR = 0, /* all bits of this cluster are clear, and it is not stored */
    QCOW2_BITMAP_ONES = 1,  /* all are set, and it is not stored */
    QCOW2_BITMAP_DATA = 2,
};

struct qcow2_bitmap {
    char *name;     /* unique in the image */
    uint32_t flags; /* as stored */
    uint8_t granularity_bits;
    uint8_t type; /* 1: a dirty tracking bitmap; there is no other */
    uint8_t *extra;
    uint32_t extra_len;
    uint64_t *table;     /* entries as stored, in host order */
    uint32_t table_size; /* entries, each a cluster of the bitmap */
};

/*
 * Sets ${*array}, given to the caller, to be freed by qcow2_bitmaps_free, and ${*count} to the
 * bitmaps of ${image} in the order of their directory. Those that are malformed are left out, and
 * where the directory is malformed or not valid (autoclear bit 0), all are; then ${*problem}, given
 * to the caller, says so, else it is NULL. No two clusters of what is handed out are the same one,
 * so that reading all is bounded by the file. Negative for failures of reading or memory only.
 */
int qcow2_image_bitmaps(struct qcow2_image *image, struct qcow2_bitmap **array, uint32_t *count,
                        char **problem, struct error *err);
void qcow2_bitmaps_free(struct qcow2_bitmap *array, uint32_t count);

/* Sets ${*class} to that of cluster ${index}, below table_size, of ${bitmap}, and where it is data,
 * reads it into ${buf} (a cluster; past a partial last one of the file, zeros). */
int qcow2_bitmap_read(struct qcow2_image *image, const struct qcow2_bitmap *bitmap, uint32_t index,
                      enum qcow2_bitmap_class *class, uint8_t *buf, struct error *err);

#endif
