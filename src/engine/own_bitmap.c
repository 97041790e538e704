/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of byre's own bitmaps, and which of an image's are such. Changes no image. */
#include "engine/own_bitmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dirty_bits.h"
#include "qcow2/bitmap.h"

#define PREFIX "byre-"

enum {
    REPOSITORY_DIGITS = 8,
    RANDOM_DIGITS = 16,
    DEFAULT_MIN = 4 << 10,
    DEFAULT_MAX = 64 << 10,
    GRANULARITY_BITS_MAX = 31,
};

static void make_prefix(const struct cs_id *repository, char name[OWN_BITMAP_NAME])
{
    char hex[CS_ID_HEX];
    snprintf(name, OWN_BITMAP_NAME, PREFIX "%.*s-", REPOSITORY_DIGITS, cs_id_hex(repository, hex));
}

void own_bitmap_make(const struct cs_id *repository, char name[OWN_BITMAP_NAME])
{
    make_prefix(repository, name);
    cs_random_hex(name + strlen(name), RANDOM_DIGITS);
}

bool own_bitmap_is(const struct cs_id *repository, const char *name)
{
    char prefix[OWN_BITMAP_NAME];
    make_prefix(repository, prefix);
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && strspn(name + n, "0123456789abcdef") == RANDOM_DIGITS &&
           name[n + RANDOM_DIGITS] == 0;
}

int own_bitmap_list(struct qcow2_image *image, const struct cs_id *repository,
                    struct own_bitmap **list, size_t *count, char **problem, struct error *err)
{
    struct qcow2_bitmap *bitmaps = NULL;
    uint32_t n = 0;
    *list = NULL;
    *count = 0;
    int rc = qcow2_image_bitmaps(image, &bitmaps, &n, problem, err);
    if (rc < 0)
        return rc;
    *list = calloc(n + (size_t)1, sizeof **list);
    if (*list == NULL)
        rc = error_no_memory(err);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct own_bitmap *own = &(*list)[*count];
        if (!own_bitmap_is(repository, bitmaps[i].name))
            continue;
        memcpy(own->name, bitmaps[i].name, sizeof own->name);
        own->tracks =
            (bitmaps[i].flags & (QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE)) == QCOW2_BITMAP_AUTO;
        ++*count;
    }
    qcow2_bitmaps_free(bitmaps, n);
    return rc;
}

uint64_t own_bitmap_granularity(const struct qcow2_image *image)
{
    uint64_t size = qcow2_image_virtual_size(image);
    uint64_t granularity = qcow2_image_cluster_size(image);
    if (granularity < DEFAULT_MIN)
        granularity = DEFAULT_MIN;
    if (granularity > DEFAULT_MAX)
        granularity = DEFAULT_MAX;
    while (size / granularity >= DIRTY_BITS_MAX && granularity >> GRANULARITY_BITS_MAX == 0)
        granularity *= 2;
    return granularity;
}
