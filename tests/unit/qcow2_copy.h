/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_TESTS_QCOW2_COPY_H
#define BYRE_TESTS_QCOW2_COPY_H

#include "qcow2/writer.h"
#include "qcow2_content.h"

/* Whole images, with snapshots, bitmaps, LUKS area and data file, through reader and writer. */

enum { COPY_MAX_VIEWS = 16 };

struct image_file {
    struct qcow2_image *image;
    int fd;
    int data_fd;
    uint64_t data_size;
    size_t cluster_size;
    const struct qcow2_snapshot *snapshots;
    uint32_t nb_views;
    struct qcow2_view *views[COPY_MAX_VIEWS];
};

/* Opens image ${name}, with its data file ${data} (NULL: none), even if it is marked corrupt. */
struct image_file image_file_open(const char *name, const char *data);
void image_file_close(struct image_file *f);

/*
 * Copies ${from} to the new image ${to}, and its data file ${data_from} to ${data_to} (NULL: none),
 * in the physical layout: ${step} clusters of each view in turn. What the writer does not want is
 * handed over as garbage.
 */
struct qcow2_writer_report copy_image(const char *from, const char *data_from, const char *to,
                                      const char *data_to, size_t step);

/* That both images have the same entries and bytes in all views, to the host offset and the length
 * of each stream. */
void assert_same_views(const char *from, const char *data_from, const char *to,
                       const char *data_to);

/* That QEMU describes both alike, but for names and blocks. */
void same_description(const char *a, const char *b);

#endif
