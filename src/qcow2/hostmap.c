/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The taken clusters of a host file, as bitmaps in lazily made pages, and
 * the search for gaps between them. Knows nothing of what lies in a cluster,
 * nor how often it is referenced: see refcount.c.
 */
#include "qcow2/hostmap.h"

#include <stdlib.h>
#include <string.h>

enum {
    WORD_BITS = 64,
    PAGE_WORDS = 64,
    PAGE_CLUSTERS = WORD_BITS * PAGE_WORDS,
};

struct hostmap_page {
    uint64_t taken[PAGE_WORDS];
    uint64_t fixed[PAGE_WORDS];
    uint64_t marked[PAGE_WORDS];
};

void hostmap_init(struct hostmap *map, uint64_t limit)
{
    memset(map, 0, sizeof *map);
    map->limit = limit < HOSTMAP_MAX_CLUSTERS ? limit : HOSTMAP_MAX_CLUSTERS;
}

void hostmap_clear(struct hostmap *map)
{
    for (size_t i = 0; i < map->nb_pages; i++)
        free(map->pages[i]);
    free(map->pages);
    memset(map, 0, sizeof *map);
}

static const struct hostmap_page *page_at(const struct hostmap *map, uint64_t cluster)
{
    uint64_t i = cluster / PAGE_CLUSTERS;

    return i < map->nb_pages ? map->pages[i] : NULL;
}

/* The page of ${cluster}, below the limit, made where it is missing. NULL: no memory. */
static struct hostmap_page *page_make(struct hostmap *map, uint64_t cluster)
{
    size_t i = cluster / PAGE_CLUSTERS;

    if (i >= map->nb_pages) {
        size_t n = map->nb_pages ? map->nb_pages : 16;
        struct hostmap_page **pages = NULL;

        while (n <= i)
            n *= 2;
        pages = realloc(map->pages, n * sizeof *pages);
        if (pages == NULL)
            return NULL;
        memset(pages + map->nb_pages, 0, (n - map->nb_pages) * sizeof *pages);
        map->pages = pages;
        map->nb_pages = n;
    }
    if (map->pages[i] == NULL)
        map->pages[i] = calloc(1, sizeof *map->pages[i]);
    return map->pages[i];
}

int hostmap_take(struct hostmap *map, uint64_t first, uint64_t n, enum hostmap_use use,
                 struct error *err)
{
    if (n > map->limit || first > map->limit - n)
        return error_set(err, ERROR_UNSUPPORTED,
                         "host cluster %llu: only %llu clusters can be addressed",
                         (unsigned long long)first, (unsigned long long)map->limit);
    for (uint64_t c = first; c < first + n; c++) {
        struct hostmap_page *page = page_make(map, c);
        size_t word = c % PAGE_CLUSTERS / WORD_BITS;
        uint64_t bit = UINT64_C(1) << (c % WORD_BITS);

        if (page == NULL)
            return error_no_memory(err);
        page->taken[word] |= bit;
        if (use == HOSTMAP_FIXED)
            page->fixed[word] |= bit;
    }
    if (n > 0 && first + n > map->end)
        map->end = first + n;
    return 0;
}

enum hostmap_use hostmap_use(const struct hostmap *map, uint64_t cluster)
{
    const struct hostmap_page *page = page_at(map, cluster);
    size_t word = cluster % PAGE_CLUSTERS / WORD_BITS;
    uint64_t bit = UINT64_C(1) << (cluster % WORD_BITS);

    if (page == NULL || !(page->taken[word] & bit))
        return HOSTMAP_FREE;
    return page->fixed[word] & bit ? HOSTMAP_FIXED : HOSTMAP_STREAMS;
}

bool hostmap_marked(const struct hostmap *map, uint64_t cluster)
{
    const struct hostmap_page *page = page_at(map, cluster);

    return page != NULL &&
           page->marked[cluster % PAGE_CLUSTERS / WORD_BITS] >> (cluster % WORD_BITS) & 1;
}

void hostmap_mark(struct hostmap *map, uint64_t cluster)
{
    struct hostmap_page *page = map->pages[cluster / PAGE_CLUSTERS];

    page->marked[cluster % PAGE_CLUSTERS / WORD_BITS] |= UINT64_C(1) << (cluster % WORD_BITS);
}

int hostmap_append(struct hostmap *map, uint64_t n, enum hostmap_use use, uint64_t *first,
                   struct error *err)
{
    uint64_t end = map->end;
    int rc = hostmap_take(map, end, n, use, err);

    if (rc == 0)
        *first = end;
    return rc;
}

/* The first cluster at or after ${cluster} and below ${stop} that is taken, or, with ${taken}
 * false, that is free; else ${stop}. */
static uint64_t find(const struct hostmap *map, uint64_t cluster, uint64_t stop, bool taken)
{
    while (cluster < stop) {
        const struct hostmap_page *page = page_at(map, cluster);
        uint64_t word;

        if (page == NULL) {
            if (!taken)
                return cluster;
            cluster = (cluster / PAGE_CLUSTERS + 1) * PAGE_CLUSTERS;
            continue;
        }
        word = page->taken[cluster % PAGE_CLUSTERS / WORD_BITS];
        word = (taken ? word : ~word) >> (cluster % WORD_BITS);
        if (word != 0) {
            cluster += (uint64_t)__builtin_ctzll(word);
            return cluster < stop ? cluster : stop;
        }
        cluster = (cluster / WORD_BITS + 1) * WORD_BITS;
    }
    return stop;
}

int hostmap_fill(struct hostmap *map, uint64_t n, uint64_t *first, struct error *err)
{
    uint64_t gap = find(map, map->maybe_gap, map->end, false);

    map->maybe_gap = gap;
    while (gap < map->end) {
        /* The cluster before the end is taken, so no gap reaches the end. */
        uint64_t stop = n < map->end - gap ? gap + n : map->end;
        uint64_t taken = find(map, gap, stop, true);

        if (taken - gap == n) {
            *first = gap;
            return hostmap_take(map, gap, n, HOSTMAP_FIXED, err);
        }
        gap = find(map, taken, map->end, false);
    }
    return hostmap_append(map, n, HOSTMAP_FIXED, first, err);
}
