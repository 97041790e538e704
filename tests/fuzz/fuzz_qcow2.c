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

#include "qcow2/entry.h"
#include "qcow2/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 4 << 20, STEP = 64 };

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

/* The bytes as entries, also of the form that images with it are still refused for. */
static void check_raw_entries(const uint8_t *data, size_t size)
{
    struct qcow2_header h = {.version = 3, .cluster_bits = 16};

    for (size_t at = 0; at + 16 <= size && at < 4096; at += 16) {
        struct qcow2_entry e;
        struct error err;

        h.incompatible ^= QCOW2_INCOMPAT_EXTENDED_L2;
        h.cluster_bits = 14 + at / 16 % 8;
        if (qcow2_entry_decode(&e, &h, data + at, &err) == 0)
            check_entry(&h, &e);
    }
}

static void read_all(struct qcow2_image *image)
{
    size_t size = qcow2_image_cluster_size(image);
    uint8_t *buf = malloc(STEP * size);
    struct qcow2_entry entries[STEP];
    uint64_t end = qcow2_image_clusters(image);
    uint64_t bytes = 0;
    struct error err;

    require(buf != NULL);
    for (uint64_t at = qcow2_image_next_table(image, 0); at < end && bytes < MAX_BYTES;
         at = qcow2_image_next_table(image, at + STEP)) {
        if (qcow2_image_entries(image, at, STEP, entries, &err) < 0)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct qcow2_image *image;
    struct error err;

    if (fd < 0)
        fd = memfd_create("image", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, 0) == 0);
    require(pwrite(fd, data, size, 0) == (ssize_t)size);
    check_raw_entries(data, size);
    if (qcow2_image_open(&image, fd, "input", size, &err) == 0) {
        check_header(image);
        read_all(image);
        qcow2_image_close(image);
    }
    return 0;
}
