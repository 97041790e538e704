/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the chunks of a region end, rule by rule: what of the data runs becomes
 * zero runs, and after which block a chunk ends. Every decision depends on the
 * canonical runs and their bytes alone, never on how the caller had them split.
 * What was known of them beforehand is rechunk.c's.
 */
#include "chunker.h"

#include <string.h>

/* The form that chooses AVX2 or AVX-512 at run time is 2.5 times as fast; only x86-64 has it. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

struct stretch { /* of zeros; offsets in the region */
    uint32_t begin;
    uint32_t end;
};

bool cs_chunker_zero_block(const struct cs_chunker *c, const uint8_t *data, uint32_t i)
{
    const uint8_t *p = data + (size_t)i * c->block_size;
    return p[0] == 0 && memcmp(p, p + 1, c->block_size - 1) == 0;
}

static bool is_zero(const struct cs_chunker *c, const uint8_t *data, const bool *solid, uint32_t i)
{
    return (solid == NULL || !solid[i]) && cs_chunker_zero_block(c, data, i);
}

/*
 * Finds the first zero stretch of ${run} at or after region offset ${from}, which is the run's
 * start or the end of the stretch before.
 */
static bool next_zeros(const struct cs_chunker *c, const uint8_t *data, const bool *solid,
                       const struct cs_run *run, uint32_t from, struct stretch *found)
{
    uint32_t size = c->block_size;
    uint32_t first = (from + size - 1) / size;
    uint32_t behind = (run->offset + run->length) / size; /* the first block not whole in the run */

    /* A stretch that begins at ${first} has the last block of this window too: where that is not
     * zero, the others need not be looked at. Most blocks of ordinary data are passed over. */
    while (first < behind && behind - first >= c->zero_blocks) {
        uint32_t end = first + c->zero_blocks;
        uint32_t i = end;
        while (i > first && is_zero(c, data, solid, i - 1))
            i--;
        if (i > first) {
            first = i;
            continue;
        }
        while (end < behind && is_zero(c, data, solid, end))
            end++;
        *found = (struct stretch){.begin = first * size, .end = end * size};
        return true;
    }
    return false;
}

/* Appends a run; one that goes on where the last of its kind ends makes that longer. */
static void append(struct cs_run *runs, size_t *count, uint32_t offset, uint32_t length, bool zero)
{
    if (length == 0)
        return;
    if (*count > 0) {
        struct cs_run *last = &runs[*count - 1];
        if (last->zero == zero && last->offset + last->length == offset) {
            last->length += length;
            return;
        }
    }
    runs[(*count)++] = (struct cs_run){.offset = offset, .length = length, .zero = zero};
}

size_t cs_chunker_merge(struct cs_run *runs, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        append(runs, &count, runs[i].offset, runs[i].length, runs[i].zero);
    return count;
}

/* Counts the runs that ${runs} become beyond their number; sets ${*any} where there are zeros. */
static size_t count_extra(const struct cs_chunker *c, const uint8_t *data, const bool *solid,
                          const struct cs_run *runs, size_t n, bool *any)
{
    size_t extra = 0;
    *any = false;
    for (size_t i = 0; i < n; i++) {
        if (runs[i].zero)
            continue;
        size_t parts = 0;
        uint32_t end = runs[i].offset + runs[i].length;
        uint32_t pos = runs[i].offset;
        struct stretch zeros;
        while (next_zeros(c, data, solid, &runs[i], pos, &zeros)) {
            parts += zeros.begin > pos ? 2 : 1;
            pos = zeros.end;
            *any = true;
        }
        parts += pos < end;
        extra += parts - 1;
    }
    return extra;
}

size_t cs_chunker_take_zeros_out(const struct cs_chunker *c, const uint8_t *data, const bool *solid,
                                 struct cs_run *runs, size_t n)
{
    bool any;
    size_t extra = count_extra(c, data, solid, runs, n, &any);
    if (!any)
        return n;
    /* With the old runs this far up, the new ones never overtake them. */
    memmove(runs + extra, runs, n * sizeof *runs);
    size_t count = 0;
    for (size_t i = extra; i < extra + n; i++) {
        struct cs_run run = runs[i];
        if (run.zero) {
            append(runs, &count, run.offset, run.length, true);
            continue;
        }
        uint32_t pos = run.offset;
        struct stretch zeros;
        while (next_zeros(c, data, solid, &run, pos, &zeros)) {
            append(runs, &count, pos, zeros.begin - pos, false);
            append(runs, &count, zeros.begin, zeros.end - zeros.begin, true);
            pos = zeros.end;
        }
        append(runs, &count, pos, run.offset + run.length - pos, false);
    }
    return count;
}

uint32_t cs_chunker_block(const struct cs_chunker *c, const struct cs_cursor *at)
{
    uint32_t block = c->block_size - at->at % c->block_size;
    return block < cs_cursor_left(at) ? block : cs_cursor_left(at);
}

bool cs_chunker_add(const struct cs_chunker *c, const uint8_t *data, struct cs_cursor *at,
                    struct cs_cut *chunk)
{
    uint32_t block = cs_chunker_block(c, at);
    const uint8_t *p = data + at->at;
    bool run_ends = block == cs_cursor_left(at);
    chunk->length += block;
    cs_cursor_pass(at, block);
    /* what cannot end a chunk, or ends it in any case, need not be hashed */
    if (chunk->length < c->min_size)
        return false;
    return run_ends || XXH3_64bits_withSecret(p, block, c->secret, sizeof c->secret) < c->threshold;
}

void cs_chunker_gather(uint8_t *data, struct cs_cursor *at, uint32_t length)
{
    uint8_t *to = data + at->at;
    while (length > 0) {
        uint32_t n = cs_cursor_left(at) < length ? cs_cursor_left(at) : length;
        if (to != data + at->at)
            memmove(to, data + at->at, n);
        to += n;
        cs_cursor_pass(at, n);
        length -= n;
    }
}

void cs_chunker_cut(const struct cs_chunker *c, const uint8_t *data, struct cs_run *runs,
                    size_t *run_count, struct cs_cut *cuts, size_t *cut_count)
{
    size_t n = cs_chunker_merge(runs, *run_count);
    *run_count = cs_chunker_take_zeros_out(c, data, NULL, runs, n);
    *cut_count = 0;
    struct cs_cursor at = cs_cursor_of(runs, *run_count);
    while (!cs_cursor_done(&at)) {
        struct cs_cut chunk = {.offset = at.at};
        bool ended = false;
        while (!ended && !cs_cursor_done(&at) && !cs_chunker_full(c, &at, &chunk))
            ended = cs_chunker_add(c, data, &at, &chunk);
        cuts[(*cut_count)++] = chunk;
    }
}
