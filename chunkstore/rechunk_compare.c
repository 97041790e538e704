/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is to be read of a region, held against the chunks of its earlier leaf.
 * Some chunks at a time come to a window that stays in the processor's cache,
 * and go on to the region only where they are others than before: mostly
 * nothing does, and memory is not written.
 */
#include <string.h>

#include "rechunk_parts.h"

struct window {
    struct cs_cursor at; /* in the earlier data: where its first chunk begins */
    uint32_t length;     /* bytes of its chunks */
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Whether all of the earlier bytes from ${begin} to ${end} are data still, and missing; ${*news}:
 * not all are known to be the same. */
static bool is_missing(const struct cs_rechunk_walk *w, uint32_t begin, uint32_t end, bool *news)
{
    if (begin % CS_SECTOR != 0 || end > w->data_end || (end % CS_SECTOR != 0 && end != w->data_end))
        return false;
    for (uint32_t i = begin / CS_SECTOR; i * CS_SECTOR < end; i++) {
        if (!(w->sectors[i] & CS_SECTOR_MISSING))
            return false;
        *news |= !(w->sectors[i] & CS_SECTOR_SAME);
    }
    return true;
}

/* Whether the old chunk of ${length} bytes at ${*at} may be a chunk still and is not known to be.
 * Passes it. */
static bool is_worth_it(const struct cs_rechunk_walk *w, struct cs_cursor *at, uint32_t length)
{
    bool good = length <= w->chunker->max_size, news = false;
    while (length > 0 && !cs_cursor_done(at)) {
        uint32_t n = least(length, cs_cursor_left(at));
        good = good && is_missing(w, at->at, at->at + n, &news);
        cs_cursor_pass(at, n);
        length -= n;
    }
    return good && news && length == 0;
}

/* Brings the bytes of the window to the scratch, one behind the other. */
static int read_window(const struct cs_rechunk_walk *w, const struct window *window,
                       struct cs_error *err)
{
    struct cs_cursor at = window->at;
    for (uint32_t done = 0, n; done < window->length; done += n) {
        n = least(window->length - done, cs_cursor_left(&at));
        int rc = w->job->read(w->job->read_arg, at.at, n, w->job->scratch + done, err);
        if (rc < 0)
            return rc;
        cs_cursor_pass(&at, n);
    }
    return 0;
}

/* The ${length} bytes at ${offset} are the same. Whether a block is zero is what will be asked of
 * them where there are zeros beside. */
static void keep(const struct cs_rechunk_walk *w, uint32_t offset, uint32_t length,
                 const uint8_t *bytes)
{
    uint32_t size = w->chunker->block_size, end = offset + length;
    for (uint32_t i = offset / CS_SECTOR; i * CS_SECTOR < end; i++)
        w->sectors[i] |= CS_SECTOR_SAME;
    for (uint32_t at = (offset + size - 1) / size * size; at + size <= end; at += size)
        if (!cs_chunker_zero_block(w->chunker, bytes + (at - offset), 0))
            memset(w->sectors + at / CS_SECTOR,
                   CS_SECTOR_SAME | CS_SECTOR_MISSING | CS_SECTOR_SOLID, size / CS_SECTOR);
}

/* The ${length} bytes at ${offset} may be others. */
static void bring(const struct cs_rechunk_walk *w, uint32_t offset, uint32_t length,
                  const uint8_t *bytes)
{
    memcpy(w->data + offset, bytes, length);
    for (uint32_t i = offset / CS_SECTOR; i * CS_SECTOR < offset + length; i++)
        w->sectors[i] &= (uint8_t)~CS_SECTOR_MISSING;
}

/* Holds the ${chunk}, whose bytes now are ${bytes}, against what it was. Passes it. */
static int settle(const struct cs_rechunk_walk *w, struct cs_cursor *at,
                  const struct cs_chunk *chunk, const uint8_t *bytes, struct cs_error *err)
{
    uint8_t found[sizeof chunk->fingerprint];
    int rc = cs_fingerprint(w->job->fingerprinter, bytes, chunk->length, found, err);
    if (rc < 0)
        return rc;
    bool same = memcmp(found, chunk->fingerprint, sizeof found) == 0;
    for (uint32_t done = 0, n; done < chunk->length; done += n) {
        n = least(chunk->length - done, cs_cursor_left(at));
        (same ? keep : bring)(w, at->at, n, bytes + done);
        cs_cursor_pass(at, n);
    }
    return 0;
}

/* Brings to hand what is missing and not the same. */
static int fetch_news(const struct cs_rechunk_walk *w, struct cs_error *err)
{
    const uint8_t flags = CS_SECTOR_SAME | CS_SECTOR_MISSING;
    int rc = 0;
    for (uint32_t i = 0, k; rc == 0 && i * CS_SECTOR < w->data_end; i = k) {
        k = i + 1;
        if ((w->sectors[i] & flags) != CS_SECTOR_MISSING)
            continue;
        while (k * CS_SECTOR < w->data_end && (w->sectors[k] & flags) == CS_SECTOR_MISSING)
            k++;
        rc = cs_rechunk_fetch(w, i * CS_SECTOR, k * CS_SECTOR, err);
    }
    return rc;
}

int cs_rechunk_compare(const struct cs_rechunk_walk *w, struct cs_error *err)
{
    const struct cs_chunk *chunks = w->before->chunks;
    struct cs_cursor at = cs_cursor_of(w->before->runs, w->before->run_count);
    for (size_t i = 0, k; i < w->before->chunk_count; i = k) {
        struct window window = {.at = at};
        struct cs_cursor next = at;
        for (k = i; k < w->before->chunk_count; k++, at = next) {
            uint32_t n = chunks[k].length;
            if (!is_worth_it(w, &next, n) || (k > i && window.length + n > CS_RECHUNK_WINDOW))
                break;
            window.length += n;
        }
        if (k == i) { /* this one is not */
            at = next;
            k++;
            continue;
        }
        int rc = read_window(w, &window, err);
        for (uint32_t done = 0; rc == 0 && i < k; done += chunks[i++].length)
            rc = settle(w, &window.at, &chunks[i], w->job->scratch + done, err);
        if (rc < 0)
            return rc;
    }
    return fetch_news(w, err);
}
