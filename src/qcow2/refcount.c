/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reference counts of host clusters: counting, and the placing and encoding of
 * the structures that hold them in the file. Does no I/O; what is referenced,
 * the writer knows.
 */
#include "qcow2/refcount.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"

enum { PAGE_CLUSTERS = 4096 };

/* Counts hardly ever exceed a byte; a page where one does has words instead. */
struct refcount_page {
    uint8_t *narrow;
    uint32_t *wide;
};

void refcounts_init(struct refcounts *counts, uint32_t order, uint32_t cluster_bits)
{
    memset(counts, 0, sizeof *counts);
    counts->order = order;
    counts->cluster_bits = cluster_bits;
    counts->block_entries = (UINT64_C(8) << cluster_bits) >> order;
    counts->max = order < 5 ? (UINT64_C(1) << (1 << order)) - 1 : UINT32_MAX;
}

void refcounts_clear(struct refcounts *counts)
{
    for (size_t i = 0; i < counts->nb_pages; i++) {
        free(counts->pages[i].narrow);
        free(counts->pages[i].wide);
    }
    free(counts->pages);
    free(counts->blocks);
    memset(counts, 0, sizeof *counts);
}

uint64_t refcounts_limit(const struct refcounts *counts)
{
    return REFCOUNT_MAX_TABLE_SIZE / sizeof(uint64_t) * counts->block_entries;
}

static struct refcount_page *page_make(struct refcounts *counts, uint64_t cluster)
{
    size_t i = cluster / PAGE_CLUSTERS;
    struct refcount_page *page = NULL;

    if (i >= counts->nb_pages) {
        size_t n = counts->nb_pages ? counts->nb_pages : 16;
        struct refcount_page *pages = NULL;

        while (n <= i)
            n *= 2;
        pages = reallocarray(counts->pages, n, sizeof *pages);
        if (pages == NULL)
            return NULL;
        memset(pages + counts->nb_pages, 0, (n - counts->nb_pages) * sizeof *pages);
        counts->pages = pages;
        counts->nb_pages = n;
    }
    page = &counts->pages[i];
    if (page->narrow == NULL && page->wide == NULL) {
        page->narrow = calloc(PAGE_CLUSTERS, sizeof *page->narrow);
        if (page->narrow == NULL)
            return NULL;
    }
    return page;
}

static int widen(struct refcount_page *page)
{
    page->wide = calloc(PAGE_CLUSTERS, sizeof *page->wide);
    if (page->wide == NULL)
        return -1;
    for (size_t i = 0; i < PAGE_CLUSTERS; i++)
        page->wide[i] = page->narrow[i];
    free(page->narrow);
    page->narrow = NULL;
    return 0;
}

int refcounts_add(struct refcounts *counts, uint64_t cluster, uint32_t n, struct error *err)
{
    struct refcount_page *page = NULL;
    size_t i = cluster % PAGE_CLUSTERS;

    if (n > counts->max - refcounts_get(counts, cluster))
        return error_set(err, ERROR_UNSUPPORTED,
                         "host offset %llu: more references than %u bits of refcount can count",
                         (unsigned long long)cluster << counts->cluster_bits, 1U << counts->order);
    page = page_make(counts, cluster);
    if (page == NULL)
        return error_no_memory(err);
    if (page->narrow != NULL && n > (uint32_t)(UINT8_MAX - page->narrow[i]) && widen(page) < 0)
        return error_no_memory(err);
    if (page->wide != NULL)
        page->wide[i] += n;
    else if (page->narrow != NULL)
        page->narrow[i] = (uint8_t)(page->narrow[i] + n);
    return 0;
}

uint64_t refcounts_get(const struct refcounts *counts, uint64_t cluster)
{
    const struct refcount_page *page = NULL;

    if (cluster / PAGE_CLUSTERS >= counts->nb_pages)
        return 0;
    page = &counts->pages[cluster / PAGE_CLUSTERS];
    if (page->wide != NULL)
        return page->wide[cluster % PAGE_CLUSTERS];
    return page->narrow != NULL ? page->narrow[cluster % PAGE_CLUSTERS] : 0;
}

/* Whether anything is counted in block ${index}. */
static bool block_used(const struct refcounts *counts, uint64_t index)
{
    uint64_t cluster = index * counts->block_entries;
    uint64_t end = cluster + counts->block_entries;

    while (cluster < end && cluster / PAGE_CLUSTERS < counts->nb_pages) {
        const struct refcount_page *page = &counts->pages[cluster / PAGE_CLUSTERS];

        if (page->narrow == NULL && page->wide == NULL)
            cluster = (cluster / PAGE_CLUSTERS + 1) * PAGE_CLUSTERS;
        else if (refcounts_get(counts, cluster) > 0)
            return true;
        else
            cluster++;
    }
    return false;
}

/*
 * Sets the number of clusters that the table needs to count a file of ${end} clusters with
 * itself and its blocks added. As blocks that fit in gaps are not known yet, it can be a cluster
 * more than necessary.
 */
static int size_table(struct refcounts *counts, uint64_t end, struct error *err)
{
    uint64_t cluster_size = UINT64_C(1) << counts->cluster_bits;
    uint64_t blocks = 0, table = 0, total = 0;

    do {
        total = end + blocks + table;
        blocks = (total + counts->block_entries - 1) / counts->block_entries;
        table = (blocks * sizeof(uint64_t) + cluster_size - 1) / cluster_size;
    } while (end + blocks + table > total);
    if (table * cluster_size > REFCOUNT_MAX_TABLE_SIZE)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the refcount table would have %llu bytes, and QEMU opens no more than %d",
                         (unsigned long long)(table * cluster_size), (int)REFCOUNT_MAX_TABLE_SIZE);
    counts->table_clusters = (uint32_t)table;
    counts->nb_blocks = table * cluster_size / sizeof(uint64_t);
    return 0;
}

/* Places block ${index}, then the block that counts it, and so on until one is there already. */
static int place_block(struct refcounts *counts, uint64_t index, struct hostmap *map,
                       struct error *err)
{
    uint64_t cluster;
    int rc;

    while (counts->blocks[index] == 0) {
        if ((rc = hostmap_fill(map, 1, &cluster, err)) < 0 ||
            (rc = refcounts_add(counts, cluster, 1, err)) < 0)
            return rc;
        counts->blocks[index] = cluster << counts->cluster_bits;
        index = cluster / counts->block_entries;
    }
    return 0;
}

int refcounts_place(struct refcounts *counts, struct hostmap *map, struct error *err)
{
    uint64_t first;
    int rc;

    if ((rc = size_table(counts, map->end, err)) < 0)
        return rc;
    counts->blocks = calloc(counts->nb_blocks, sizeof *counts->blocks);
    if (counts->blocks == NULL)
        return error_no_memory(err);
    if ((rc = hostmap_fill(map, counts->table_clusters, &first, err)) < 0)
        return rc;
    counts->table_offset = first << counts->cluster_bits;
    for (uint32_t i = 0; i < counts->table_clusters; i++)
        if ((rc = refcounts_add(counts, first + i, 1, err)) < 0)
            return rc;
    for (uint64_t i = 0; i < counts->nb_blocks; i++)
        if (block_used(counts, i) && (rc = place_block(counts, i, map, err)) < 0)
            return rc;
    return 0;
}

void refcounts_encode_table(const struct refcounts *counts, uint32_t index, uint8_t *buf)
{
    size_t n = ((size_t)1 << counts->cluster_bits) / sizeof(uint64_t);

    for (size_t i = 0; i < n; i++)
        be64_put(buf + i * sizeof(uint64_t), counts->blocks[index * n + i]);
}

void refcounts_encode_block(const struct refcounts *counts, uint64_t index, uint8_t *buf)
{
    uint64_t first = index * counts->block_entries;

    memset(buf, 0, (size_t)1 << counts->cluster_bits);
    for (uint64_t i = 0; i < counts->block_entries; i++) {
        uint64_t count = refcounts_get(counts, first + i);
        uint64_t bit = i << counts->order;

        if (count == 0)
            continue;
        switch (counts->order) {
        case 6:
            be64_put(buf + bit / 8, count);
            break;
        case 5:
            be32_put(buf + bit / 8, (uint32_t)count);
            break;
        case 4:
            be16_put(buf + bit / 8, (uint16_t)count);
            break;
        default: /* up to a byte; the lowest bits are the first entry's */
            buf[bit / 8] |= (uint8_t)(count << (bit % 8));
        }
    }
}
