/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a qcow2 image: it is refused, or all of it can be read and what
 * was decoded encodes to the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qcow2/bitmap.h"
#include "qcow2/entry.h"
#include "qcow2/image.h"
#include "qcow2/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 4 << 20, MAX_VIEWS = 4, STEP = 64 };

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_header(const struct qcow2_image *image)
{
    const struct qcow2_header *h = qcow2_image_header(image);
    size_t size = qcow2_image_cluster_size(image);
    uint8_t *buf = malloc(size);
    struct qcow2_header again;
    struct error err;
    int ret;

    require(buf != NULL);
    ret = qcow2_header_encode(buf, size, h, qcow2_image_header_cluster(image), &err);
    require(ret == 0 || err.code == ERROR_NO_SPACE);
    if (ret == 0) {
        require(qcow2_header_decode(&again, buf, size, INT64_MAX, &err) == 0);
        require(again.size == h->size && again.l1_offset == h->l1_offset);
        require(strcmp(again.backing_file, h->backing_file) == 0);
        require(strcmp(again.backing_format, h->backing_format) == 0);
        qcow2_header_clear(&again);
    }
    free(buf);
}

static void check_entry(const struct qcow2_header *h, const struct qcow2_entry *e)
{
    struct qcow2_entry again;
    struct error err;
    uint8_t word[16];

    require(qcow2_entry_encode(word, h, e, true, &err) == 0);
    require(qcow2_entry_decode(&again, h, word, &err) == 0);
    require(again.class == e->class && again.host == e->host && again.sub_alloc == e->sub_alloc &&
            again.sub_zero == e->sub_zero);
    /* A true length is rounded up to sectors. */
    require(again.length >= e->length && again.length - e->length < QCOW2_SECTOR_SIZE);
}

/* The bytes as entries of all forms. */
static void check_raw_entries(const uint8_t *data, size_t size)
{
    struct qcow2_header h = {.version = 3, .cluster_bits = 16};

    for (size_t at = 0; at + 16 <= size && at < 4096; at += 16) {
        struct qcow2_entry e;
        struct error err;

        h.incompatible = at / 16 & 1 ? QCOW2_INCOMPAT_EXTENDED_L2 : 0;
        h.incompatible |= at / 16 & 2 ? QCOW2_INCOMPAT_DATA_FILE : 0;
        h.cluster_bits = 14 + at / 16 % 8;
        if (qcow2_entry_decode(&e, &h, data + at, &err) == 0)
            check_entry(&h, &e);
    }
}

static void read_view(struct qcow2_image *image, struct qcow2_view *view)
{
    size_t size = qcow2_image_cluster_size(image);
    uint8_t *buf = malloc(STEP * size);
    struct qcow2_entry entries[STEP];
    uint64_t end = qcow2_view_clusters(view);
    uint64_t bytes = 0;
    struct error err;

    require(buf != NULL);
    for (uint64_t at = qcow2_view_next_table(view, 0); at < end && bytes < MAX_BYTES;
         at = qcow2_view_next_table(view, at + STEP)) {
        if (qcow2_view_entries(view, at, STEP, entries, &err) < 0)
            continue;
        for (size_t i = 0; i < STEP; i++)
            check_entry(qcow2_image_header(image), &entries[i]);
        /* Big clusters: as many as fit the budget of one input. */
        for (size_t i = 0; i < STEP && bytes < MAX_BYTES; i += 4, bytes += 4 * size) {
            if (qcow2_image_read(image, at + i, 4, &entries[i], buf, &err) == 0)
                check_entry(qcow2_image_header(image), &entries[i]);
        }
    }
    free(buf);
}

static void read_views(struct qcow2_image *image)
{
    const struct qcow2_snapshot *s;
    uint32_t n;

    qcow2_image_snapshots(image, &s, &n);
    for (uint32_t i = 0; i <= n && i < MAX_VIEWS; i++) {
        struct qcow2_view *view;
        struct error err;

        if (qcow2_view_open(&view, image, i, &err) < 0)
            continue;
        read_view(image, view);
        qcow2_view_close(view);
    }
}

/* The bytes as a snapshot table: what is decoded encodes to the same. */
static void check_snapshots(const uint8_t *data, size_t size)
{
    uint8_t *again = calloc(1, size + 8);
    struct qcow2_snapshot *s;
    struct error err;

    require(again != NULL);
    for (uint32_t n = 1; n < 4; n++) {
        size_t at = 0;

        if (qcow2_snapshots_decode(&s, n, data, size, 512, &err) < 0)
            continue;
        for (uint32_t i = 0; i < n; i++) {
            qcow2_snapshot_encode(again + at, &s[i], s[i].l1_offset);
            require(memcmp(again + at, data + at, s[i].raw_len) == 0);
            at += qcow2_snapshot_size(&s[i]);
        }
        qcow2_snapshots_free(s, n);
    }
    free(again);
}

static void read_bitmaps(struct qcow2_image *image)
{
    uint8_t *buf = malloc(qcow2_image_cluster_size(image));
    struct qcow2_bitmap *bitmaps;
    enum qcow2_bitmap_class class;
    struct error err;
    uint64_t bytes = 0;
    char *problem;
    uint32_t n;

    require(buf != NULL);
    require(qcow2_image_bitmaps(image, &bitmaps, &n, &problem, &err) == 0);
    require(n > 0 || bitmaps == NULL || problem != NULL);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < bitmaps[i].table_size && bytes < MAX_BYTES; j++) {
            require(qcow2_bitmap_read(image, &bitmaps[i], j, &class, buf, &err) == 0);
            if (class == QCOW2_BITMAP_DATA)
                bytes += qcow2_image_cluster_size(image);
        }
    qcow2_bitmaps_free(bitmaps, n);
    free(problem);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qcow2_open_options options = {.force_corrupt = true, .data_size = size};
    static int fd = -1;
    struct qcow2_image *image;
    struct error err;

    if (fd < 0)
        fd = memfd_create("image", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, 0) == 0);
    require(pwrite(fd, data, size, 0) == (ssize_t)size);
    check_raw_entries(data, size);
    check_snapshots(data, size);
    options.data_fd = fd; /* where it wants one, it is its own */
    if (qcow2_image_open(&image, fd, "input", size, &options, &err) == 0) {
        check_header(image);
        read_views(image);
        read_bitmaps(image);
        qcow2_image_close(image);
    }
    return 0;
}
