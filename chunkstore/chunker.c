/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the chunks of a region end. Two passes: the first turns long zero
 * stretches of the data runs into zero runs and makes the runs canonical, the
 * second cuts. Every decision depends on the canonical runs and their bytes
 * alone, never on how the caller had them split.
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

/* Whether block ${i} of the region is zero; it lies whole in ${run}, whose bytes are at ${data}. */
static bool zero_block(const struct cs_chunker *c, const struct cs_run *run, const uint8_t *data,
                       uint32_t i)
{
    const uint8_t *p = data + (i * c->block_size - run->offset);
    return p[0] == 0 && memcmp(p, p + 1, c->block_size - 1) == 0;
}

/*
 * Finds the first zero stretch of ${run}, whose bytes are at ${data}, at or after region offset
 * ${from}, which is the run's start or the end of the stretch before.
 */
static bool next_zeros(const struct cs_chunker *c, const struct cs_run *run, const uint8_t *data,
                       uint32_t from, struct stretch *found)
{
    uint32_t size = c->block_size;
    uint32_t first = (from + size - 1) / size;
    uint32_t behind = (run->offset + run->length) / size; /* the first block not whole in the run */

    /* A stretch that begins at ${first} has the last block of this window too: where that is not
     * zero, the others need not be looked at. Most blocks of ordinary data are passed over. */
    while (first < behind && behind - first >= c->zero_blocks) {
        uint32_t end = first + c->zero_blocks;
        uint32_t i = end;
        while (i > first && zero_block(c, run, data, i - 1))
            i--;
        if (i > first) {
            first = i;
            continue;
        }
        while (end < behind && zero_block(c, run, data, end))
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

static size_t merge(struct cs_run *runs, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        append(runs, &count, runs[i].offset, runs[i].length, runs[i].zero);
    return count;
}

/* Counts the runs that ${runs} become beyond their number; sets ${*any} where there are zeros. */
static size_t count_extra(const struct cs_chunker *c, const struct cs_run *runs, size_t n,
                          const uint8_t *data, bool *any)
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
        while (next_zeros(c, &runs[i], data, pos, &zeros)) {
            parts += zeros.begin > pos ? 2 : 1;
            pos = zeros.end;
            *any = true;
        }
        parts += pos < end;
        extra += parts - 1;
        data += runs[i].length;
    }
    return extra;
}

static void keep(uint8_t **to, const uint8_t *from, uint32_t n)
{
    if (*to != from)
        memmove(*to, from, n);
    *to += n;
}

/* Makes ${n} merged runs canonical and compacts ${data}; returns their new number. */
static size_t take_zeros_out(const struct cs_chunker *c, uint8_t *data, struct cs_run *runs,
                             size_t n)
{
    bool any;
    size_t extra = count_extra(c, runs, n, data, &any);
    if (!any)
        return n;
    /* With the old runs this far up, the new ones never overtake them. */
    memmove(runs + extra, runs, n * sizeof *runs);
    uint8_t *to = data;
    size_t count = 0;
    for (size_t i = extra; i < extra + n; i++) {
        struct cs_run run = runs[i];
        if (run.zero) {
            append(runs, &count, run.offset, run.length, true);
            continue;
        }
        uint32_t end = run.offset + run.length;
        uint32_t pos = run.offset;
        struct stretch zeros;
        /* What is kept moves only to places before the bytes that are still to be looked at. */
        while (next_zeros(c, &run, data, pos, &zeros)) {
            append(runs, &count, pos, zeros.begin - pos, false);
            keep(&to, data + (pos - run.offset), zeros.begin - pos);
            append(runs, &count, zeros.begin, zeros.end - zeros.begin, true);
            pos = zeros.end;
        }
        append(runs, &count, pos, end - pos, false);
        keep(&to, data + (pos - run.offset), end - pos);
        data += run.length;
    }
    return count;
}

static void end_chunk(struct cs_cut *chunk, struct cs_cut *cuts, size_t *count)
{
    cuts[(*count)++] = *chunk;
    *chunk = (struct cs_cut){.offset = chunk->offset + chunk->length};
}

static size_t cut(const struct cs_chunker *c, const uint8_t *data, const struct cs_run *runs,
                  size_t n, struct cs_cut *cuts)
{
    size_t count = 0;
    struct cs_cut chunk = {0};
    for (size_t i = 0; i < n; i++) {
        if (runs[i].zero)
            continue;
        uint32_t end = runs[i].offset + runs[i].length;
        uint32_t block;
        for (uint32_t pos = runs[i].offset; pos < end; pos += block) {
            block = c->block_size - pos % c->block_size;
            if (block > end - pos)
                block = end - pos;
            if (chunk.length + block > c->max_size)
                end_chunk(&chunk, cuts, &count);
            const uint8_t *p = data + chunk.offset + chunk.length;
            chunk.length += block;
            /* what cannot end a chunk need not be hashed */
            if (chunk.length >= c->min_size &&
                XXH3_64bits_withSecret(p, block, c->secret, sizeof c->secret) < c->threshold)
                end_chunk(&chunk, cuts, &count);
        }
        if (chunk.length >= c->min_size)
            end_chunk(&chunk, cuts, &count);
    }
    if (chunk.length > 0)
        end_chunk(&chunk, cuts, &count);
    return count;
}

void cs_chunker_cut(const struct cs_chunker *chunker, uint8_t *data, struct cs_run *runs,
                    size_t *run_count, struct cs_cut *cuts, size_t *cut_count)
{
    size_t n = merge(runs, *run_count);
    n = take_zeros_out(chunker, data, runs, n);
    *run_count = n;
    *cut_count = cut(chunker, data, runs, n, cuts);
}
