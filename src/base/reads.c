/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads that are described here and done there, and what they leave in the page
 * cache. Which bytes are wanted, and which thread does it, is the caller's.
 */
#include "base/reads.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"

#ifndef SYS_cachestat /* Linux 6.5; older headers lack it */
#define SYS_cachestat 451
#endif

enum { PAGES_AT_ONCE = 1024 }; /* that are asked for */

void reads_pages_open(struct reads_pages *pages, int fd, uint64_t size)
{
    *pages = (struct reads_pages){0};
    if (size == 0 || size > SIZE_MAX)
        return;
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    *pages = (struct reads_pages){.map = map, .size = size};
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

void reads_pages_close(struct reads_pages *pages)
{
    if (pages->map != NULL)
        munmap(pages->map, (size_t)pages->size);
    *pages = (struct reads_pages){0};
}

/* The array of elements of ${size} bytes, at twice its room where ${count} are all that fit. NULL:
 * no memory, and it is as it was. */
static void *with_room(void *array, size_t *room, size_t count, size_t size)
{
    size_t bigger = *room > 0 ? 2 * *room : 8;

    if (array != NULL && count < *room)
        return array;
    array = reallocarray(array, bigger, size);
    if (array != NULL)
        *room = bigger;
    return array;
}

static int add(struct reads *reads, uint64_t from, uint8_t *to, size_t len, bool spare,
               struct error *err)
{
    struct reads_piece *last = reads->count > 0 ? &reads->pieces[reads->count - 1] : NULL;
    struct reads_piece *pieces;

    if (last && last->spare == spare && last->from + last->len == from &&
        (to ? last->to && last->to + last->len == to : !last->to)) {
        last->len += len;
        return 0;
    }
    pieces = with_room(reads->pieces, &reads->room, reads->count, sizeof *pieces);
    if (pieces == NULL)
        return error_no_memory(err);
    reads->pieces = pieces;
    pieces[reads->count++] =
        (struct reads_piece){.from = from, .to = to, .len = len, .spare = spare};
    return 0;
}

int reads_add(struct reads *reads, uint64_t from, uint8_t *to, size_t len, struct error *err)
{
    return add(reads, from, to, len, false, err);
}

int reads_add_spare(struct reads *reads, uint64_t from, uint8_t *to, size_t len, struct error *err)
{
    return add(reads, from, to, len, true, err);
}

static int by_offset(const void *a, const void *b)
{
    const struct reads_piece *x = a, *y = b;

    return (x->from > y->from) - (x->from < y->from);
}

static int by_place(const void *a, const void *b)
{
    const struct reads_piece *x = a, *y = b;

    return (x->to > y->to) - (x->to < y->to);
}

static int add_absent(struct reads *reads, uint64_t from, uint64_t end, struct error *err)
{
    struct reads_stretch *last =
        reads->absent_count > 0 ? &reads->absent[reads->absent_count - 1] : NULL;
    struct reads_stretch *absent;

    if (last && last->end >= from && last->from <= from) {
        if (last->end < end)
            last->end = end;
        return 0;
    }
    absent = with_room(reads->absent, &reads->absent_room, reads->absent_count, sizeof *absent);
    if (absent == NULL)
        return error_no_memory(err);
    reads->absent = absent;
    absent[reads->absent_count++] = (struct reads_stretch){.from = from, .end = end};
    return 0;
}

/* How many of the pages with bytes from ${from} to ${end} are in the cache, for a third of what it
 * costs to ask which; false: the kernel does not tell. */
static bool count_cached(int fd, uint64_t from, uint64_t end, uint64_t *count)
{
    struct {
        uint64_t from, len;
    } range = {from, end - from};
    struct {
        uint64_t cached, dirty, written, evicted, evicted_lately;
    } pages = {0};

    if (syscall(SYS_cachestat, fd, &range, &pages, 0) < 0)
        return false;
    *count = pages.cached;
    return true;
}

/* Notes which of the pages with bytes from ${from} to ${end} are not in the cache. */
static int look(struct reads *reads, uint64_t from, uint64_t end, struct error *err)
{
    const struct reads_pages *pages = reads->pages;
    unsigned char in[PAGES_AT_ONCE];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t cached;
    int rc = 0;

    if (end > pages->size)
        end = pages->size;
    from = from / page * page;
    if (from < end && count_cached(reads->fd, from, end, &cached)) {
        uint64_t all = (end - from + page - 1) / page;

        if (cached == 0)
            return add_absent(reads, from, from + all * page, err);
        if (cached == all)
            return 0;
    }
    for (uint64_t at = from, stop; rc == 0 && at < end; at = stop) {
        size_t n;

        stop = at + PAGES_AT_ONCE * page < end ? at + PAGES_AT_ONCE * page : end;
        n = (size_t)((stop - at + page - 1) / page);
        if (mincore((uint8_t *)pages->map + at, (size_t)(stop - at), in) < 0)
            return 0;
        for (size_t i = 0, k; rc == 0 && i < n; i = k) {
            for (k = i + 1; k < n && (in[k] & 1) == (in[i] & 1); k++)
                ;
            if (!(in[i] & 1))
                rc = add_absent(reads, at + i * page, at + k * page, err);
        }
    }
    return rc;
}

int reads_prepare(struct reads *reads, struct error *err)
{
    bool cached = !reads->pages || !reads->pages->map;
    int rc = 0;

    if (reads->count > 1)
        qsort(reads->pieces, reads->count, sizeof *reads->pieces, by_offset);
    for (size_t i = 0; rc == 0 && !cached && i < reads->count; i++) {
        const struct reads_piece *p = &reads->pieces[i];

        if (!p->spare)
            rc = look(reads, p->from, p->from + p->len, err);
    }
    for (size_t i = 0; rc == 0 && i < reads->absent_count; i++)
        posix_fadvise(reads->fd, (off_t)reads->absent[i].from,
                      (off_t)(reads->absent[i].end - reads->absent[i].from), POSIX_FADV_WILLNEED);
    if (reads->count > 1)
        qsort(reads->pieces, reads->count, sizeof *reads->pieces, by_place);
    return rc;
}

int reads_beside(const struct reads *reads, uint64_t from, uint8_t *to, size_t len, size_t *got,
                 struct error *err)
{
    struct reads one = {.fd = reads->fd, .pages = reads->pages};
    int rc = reads->pages && reads->pages->map ? look(&one, from, from + len, err) : 0;

    if (rc == 0)
        rc = io_read_some(reads->fd, reads->name, from, to, len, got, err);
    if (rc == 0 && reads->count_bytes)
        *reads->count_bytes += *got;
    reads_drop(&one);
    reads_clear(&one);
    return rc;
}

/* Brings ${n} bytes that are ${skip} behind the begin of ${p}. */
static int bring_part(const struct reads *reads, const struct reads_piece *p, size_t skip, size_t n,
                      uint8_t *to, struct error *err)
{
    size_t got = 0;
    int rc = p->spare ? reads_beside(reads, p->from + skip, to, n, &got, err)
                      : io_read_some(reads->fd, reads->name, p->from + skip, to, n, &got, err);

    if (rc < 0)
        return rc;
    if (!p->spare && reads->count_bytes)
        *reads->count_bytes += got;
    if (got < n && p->len - skip - got >= reads->slack)
        return error_set(err, ERROR_CORRUPT,
                         "%s: the file ends at %" PRIu64 ", before the data up to %" PRIu64,
                         reads->name, p->from + skip + got, p->from + p->len);
    memset(to + got, 0, n - got);
    return 0;
}

/* The first piece that does not end before ${place}. */
static size_t find(const struct reads *reads, const uint8_t *place)
{
    size_t low = 0, high = reads->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (reads->pieces[mid].to + reads->pieces[mid].len <= place)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int reads_bring(const struct reads *reads, const uint8_t *place, size_t len, uint8_t *to,
                struct error *err)
{
    int rc = 0;

    for (size_t i = find(reads, place), n; rc == 0 && len > 0; place += n, to += n, len -= n) {
        const struct reads_piece *p = i < reads->count ? &reads->pieces[i] : NULL;

        if (p && p->to <= place) {
            n = p->to + p->len - place < (ptrdiff_t)len ? (size_t)(p->to + p->len - place) : len;
            rc = bring_part(reads, p, (size_t)(place - p->to), n, to, err);
            i++;
            continue;
        }
        n = p && p->to - place < (ptrdiff_t)len ? (size_t)(p->to - place) : len;
        if (to != place)
            memcpy(to, place, n);
    }
    return rc;
}

void reads_drop(const struct reads *reads)
{
    for (size_t i = 0; i < reads->absent_count; i++)
        posix_fadvise(reads->fd, (off_t)reads->absent[i].from,
                      (off_t)(reads->absent[i].end - reads->absent[i].from), POSIX_FADV_DONTNEED);
}

void reads_clear(struct reads *reads)
{
    free(reads->pieces);
    free(reads->absent);
    *reads = (struct reads){0};
}
