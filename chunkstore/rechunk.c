/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region against its earlier leaf: which old chunks are chunks of the new
 * region too, and which bytes must be read to tell. The rules of cutting are
 * chunker.c's; here is only shown where following them would give what is known.
 */
#include "rechunk_parts.h"

#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The first sector that is not whole before ${at}, but for the end of the last run. */
static uint32_t sector_behind(const struct cs_rechunk_walk *w, uint32_t at)
{
    return at >= w->data_end ? (at + CS_SECTOR - 1) / CS_SECTOR : at / CS_SECTOR;
}

/* ---- which bytes are at hand ---- */

int cs_rechunk_fetch(const struct cs_rechunk_walk *w, uint32_t begin, uint32_t end,
                     struct cs_error *err)
{
    for (uint32_t i = begin / CS_SECTOR, k; w->sectors != NULL && i * CS_SECTOR < end; i = k) {
        k = i + 1;
        if (!(w->sectors[i] & CS_SECTOR_MISSING))
            continue;
        while (k * CS_SECTOR < end && w->sectors[k] & CS_SECTOR_MISSING)
            k++;
        if (w->job->read == NULL)
            return cs_fail(err, CS_USAGE, "region %llu: what is as before cannot be read at %u",
                           (unsigned long long)w->region->index, i * CS_SECTOR);
        uint32_t stop = least(k * CS_SECTOR, w->data_end);
        int rc = w->job->read(w->job->read_arg, i * CS_SECTOR, stop - i * CS_SECTOR,
                              w->data + (size_t)i * CS_SECTOR, err);
        if (rc < 0)
            return rc;
        for (; i < k; i++)
            w->sectors[i] &= (uint8_t)~CS_SECTOR_MISSING;
    }
    return 0;
}

/* Bytes ${begin} to ${end} are zeros, and so need not be read. */
static void fill_zeros(const struct cs_rechunk_walk *w, uint32_t begin, uint32_t end)
{
    uint32_t first = (begin + CS_SECTOR - 1) / CS_SECTOR, behind = sector_behind(w, end);
    for (uint32_t i = first; i < behind; i++)
        w->sectors[i] = CS_SECTOR_SAME | CS_SECTOR_ZERO;
    if (first < behind)
        memset(w->data + (size_t)first * CS_SECTOR, 0,
               least(behind * CS_SECTOR, end) - first * CS_SECTOR);
}

static void mark_all(const struct cs_rechunk_walk *w, const struct cs_run *run, uint8_t flags)
{
    uint32_t first = run->offset / CS_SECTOR, end = run->offset + run->length;
    memset(w->sectors + first, flags, (end + CS_SECTOR - 1) / CS_SECTOR - first);
}

/* Marks the sectors of ${run}, which is as before; ${*old} is the first old run to look at. */
static int mark_same(const struct cs_rechunk_walk *w, const struct cs_run *run, size_t *old,
                     struct cs_error *err)
{
    uint32_t end = run->offset + run->length, stop;
    mark_all(w, run, CS_SECTOR_SAME | CS_SECTOR_MISSING);
    for (uint32_t at = run->offset; at < end; at = stop) {
        stop = cs_rechunk_same_until(w->before, at, old);
        if (stop <= at)
            return cs_fail(err, CS_USAGE,
                           "region %llu: a run is said to be as before, which has nothing at %u",
                           (unsigned long long)w->region->index, at);
        stop = least(end, stop);
        if (w->before->runs[*old].zero)
            fill_zeros(w, at, stop);
    }
    return 0;
}

static int mark(const struct cs_rechunk_walk *w, struct cs_error *err)
{
    size_t old = 0;
    int rc = 0;
    memset(w->sectors, 0, w->chunker->region_size / CS_SECTOR);
    for (size_t i = 0; rc == 0 && i < w->region->run_count; i++) {
        const struct cs_run *run = &w->region->runs[i];
        if (!run->zero && run->same)
            rc = mark_same(w, run, &old, err);
        else if (!run->zero && w->job->read != NULL)
            mark_all(w, run, CS_SECTOR_MISSING);
    }
    return rc;
}

/* The number of sectors of block ${i} that have one of ${flags}. */
static uint32_t count_in_block(const struct cs_rechunk_walk *w, uint32_t i, uint8_t flags)
{
    uint32_t per_block = w->chunker->block_size / CS_SECTOR, n = 0;
    for (uint32_t k = 0; k < per_block; k++)
        n += (w->sectors[i * per_block + k] & flags) != 0;
    return n;
}

/* ---- which blocks are zero ---- */

static int fetch_block(const struct cs_rechunk_walk *w, uint32_t i, struct cs_error *err)
{
    return cs_rechunk_fetch(w, i * w->chunker->block_size, (i + 1) * w->chunker->block_size, err);
}

/* Whether all of block ${i} is missing, and it is not known whether it is zero. */
static bool all_missing(const struct cs_rechunk_walk *w, uint32_t i)
{
    return count_in_block(w, i, CS_SECTOR_MISSING) == w->chunker->block_size / CS_SECTOR &&
           count_in_block(w, i, CS_SECTOR_SOLID) == 0;
}

/* Whether some of block ${i} is missing, and what is at hand of it is zero. */
static bool half_zero(const struct cs_rechunk_walk *w, uint32_t i)
{
    uint32_t per_block = w->chunker->block_size / CS_SECTOR,
             missing = count_in_block(w, i, CS_SECTOR_MISSING);
    if (missing == 0 || missing == per_block)
        return false;
    for (uint32_t k = i * per_block; k < (i + 1) * per_block; k++) {
        const uint8_t *p = w->data + (size_t)k * CS_SECTOR;
        if (!(w->sectors[k] & CS_SECTOR_MISSING) &&
            (p[0] != 0 || memcmp(p, p + 1, CS_SECTOR - 1) != 0))
            return false;
    }
    return true;
}

/*
 * Whether a stretch of zero blocks with something new in it, ${live} up to the block before ${i},
 * goes on to its end. It does not where ${i} was in a zero run of the earlier leaf: both were data,
 * so the zeros would have been taken out together.
 */
static bool goes_on(const struct cs_rechunk_walk *w, uint32_t i, bool live)
{
    uint32_t per_block = w->chunker->block_size / CS_SECTOR;
    return count_in_block(w, i, CS_SECTOR_MISSING) == 0 &&
           cs_chunker_zero_block(w->chunker, w->data, i) &&
           count_in_block(w, i, CS_SECTOR_ZERO) < per_block &&
           (live || count_in_block(w, i, CS_SECTOR_SAME) < per_block);
}

/*
 * Reads the blocks of a run that may belong to a zero run now and are missing. A stretch of zero
 * blocks that were data and are all the same was too short to become a zero run, and is so still;
 * so they matter only where a zero block that is new reaches them.
 */
static int look_for_zeros(const struct cs_rechunk_walk *w, const struct cs_run *run,
                          struct cs_error *err)
{
    uint32_t size = w->chunker->block_size;
    uint32_t first = (run->offset + size - 1) / size;
    uint32_t behind = (run->offset + run->length) / size; /* the blocks that are whole in the run */
    bool live = false;
    int rc = 0;
    for (uint32_t i = first; rc == 0 && i < behind; i++)
        if (half_zero(w, i))
            rc = fetch_block(w, i, err);
    for (uint32_t i = first; rc == 0 && i < behind; i++) {
        if (live && all_missing(w, i))
            rc = fetch_block(w, i, err);
        live = goes_on(w, i, live);
    }
    live = false;
    for (uint32_t i = behind; rc == 0 && i > first; i--) {
        if (live && all_missing(w, i - 1))
            rc = fetch_block(w, i - 1, err);
        live = goes_on(w, i - 1, live);
    }
    return rc;
}

/* Tells which blocks need not be looked at: of those that are missing none belongs to a zero run.
 */
static void find_solid(const struct cs_rechunk_walk *w, bool *solid)
{
    for (uint32_t i = 0; i < w->chunker->region_size / w->chunker->block_size; i++)
        solid[i] = count_in_block(w, i, CS_SECTOR_MISSING) > 0;
}

/* ---- old chunks ---- */

/* Sets what follows from ${old} and ${old_chunk}. */
static void measure_old(struct cs_rechunk_walk *w)
{
    if (w->old_chunk == w->before->chunk_count)
        return;
    w->old_next = w->old;
    w->old_end = cs_cursor_skip(&w->old_next, w->before->chunks[w->old_chunk].length);
}

/* Goes on to the last old chunk that begins at or before ${at}. */
static void seek_old(struct cs_rechunk_walk *w, uint32_t at)
{
    while (w->old_chunk + 1 < w->before->chunk_count && !cs_cursor_done(&w->old_next) &&
           w->old_next.at <= at) {
        w->old_chunk++;
        w->old = w->old_next;
        measure_old(w);
    }
}

/*
 * Whether a chunk of ${length} bytes, whose blocks are those of an old chunk, ends where that one
 * ended: before ${next}, while ${old_next} followed then. ${goes_on}, ${old_went_on}: the run does
 * so there. Where only its last block could tell, it is taken for one that does not.
 */
static bool ends_as_before(const struct cs_chunker *c, uint32_t length,
                           const struct cs_cursor *next, bool goes_on,
                           const struct cs_cursor *old_next, bool old_went_on)
{
    if (length < c->min_size)
        return cs_cursor_done(next);
    if (!goes_on)
        return true;
    /* by the hash, or because the block then would have been too much: so is one as large */
    return old_went_on && cs_chunker_block(c, next) >= cs_chunker_block(c, old_next);
}

static bool all_same(const struct cs_rechunk_walk *w, uint32_t begin, uint32_t end)
{
    if (w->sectors == NULL)
        return false;
    for (uint32_t i = begin / CS_SECTOR; i * CS_SECTOR < end; i++)
        if (!(w->sectors[i] & CS_SECTOR_SAME))
            return false;
    return true;
}

/* Whether the ${length} bytes at ${at} have ${expected}; reads what is missing of them. */
static int has_fingerprint(const struct cs_rechunk_walk *w, struct cs_cursor at, uint32_t length,
                           const uint8_t expected[16], bool *has, struct cs_error *err)
{
    uint8_t found[16];
    int rc = 0;
    cs_fingerprint_begin(w->job->fingerprinter);
    while (rc == 0 && length > 0) {
        uint32_t n = least(length, cs_cursor_left(&at));
        rc = cs_rechunk_fetch(w, at.at, at.at + n, err);
        if (rc == 0)
            cs_fingerprint_add(w->job->fingerprinter, w->data + at.at, n);
        length -= n;
        cs_cursor_pass(&at, n);
    }
    if (rc == 0)
        rc = cs_fingerprint_end(w->job->fingerprinter, found, err);
    *has = rc == 0 && memcmp(found, expected, sizeof found) == 0;
    return rc;
}

/* Takes the old chunk that begins where the walk is over, if there is one and it is a chunk still;
 * sets ${*taken}. */
static int take_old(struct cs_rechunk_walk *w, struct cs_chunk *chunk, bool *taken,
                    struct cs_error *err)
{
    *taken = false;
    seek_old(w, w->at.at);
    if (w->old_chunk == w->before->chunk_count || w->old.at != w->at.at)
        return 0;
    const struct cs_chunk *old = &w->before->chunks[w->old_chunk];
    struct cs_cursor a = w->at, b = w->old;
    bool same = true, goes_on = false, old_went_on = false;
    for (uint32_t left = old->length, n; left > 0; left -= n) {
        if (cs_cursor_done(&a) || cs_cursor_done(&b) || a.at != b.at)
            return 0;
        n = least(left, least(cs_cursor_left(&a), cs_cursor_left(&b)));
        same = same && all_same(w, a.at, a.at + n);
        goes_on = n < cs_cursor_left(&a);
        old_went_on = n < cs_cursor_left(&b);
        cs_cursor_pass(&a, n);
        cs_cursor_pass(&b, n);
    }
    if (!ends_as_before(w->chunker, old->length, &a, goes_on, &b, old_went_on))
        return 0;
    if (!same) {
        if (w->job->read != NULL) /* it was compared */
            return 0;
        int rc = has_fingerprint(w, w->at, old->length, old->fingerprint, &same, err);
        if (rc < 0 || !same)
            return rc;
    }
    *chunk = *old;
    *taken = true;
    w->at = a;
    return 0;
}

/* ---- the walk ---- */

/* Brings the next block to hand: with the old chunk that it is of, for the walk must go on at least
 * to the end of that. */
static int need_block(struct cs_rechunk_walk *w, struct cs_error *err)
{
    uint32_t end = w->at.at + cs_chunker_block(w->chunker, &w->at);
    int rc = 0;
    for (uint32_t i = w->at.at / CS_SECTOR; rc == 0 && w->sectors != NULL && i * CS_SECTOR < end;
         i++) {
        if (!(w->sectors[i] & CS_SECTOR_MISSING))
            continue;
        seek_old(w, i * CS_SECTOR);
        uint32_t stop = w->old_end > i * CS_SECTOR ? w->old_end : i * CS_SECTOR + 1;
        rc = cs_rechunk_fetch(w, i * CS_SECTOR, stop, err);
    }
    return rc;
}

static int cut_next(struct cs_rechunk_walk *w, struct cs_cut *cut, struct cs_error *err)
{
    bool ended = false;
    *cut = (struct cs_cut){.offset = w->at.at};
    while (!ended && !cs_cursor_done(&w->at) && !cs_chunker_full(w->chunker, &w->at, cut)) {
        int rc = need_block(w, err);
        if (rc < 0)
            return rc;
        ended = cs_chunker_add(w->chunker, w->data, &w->at, cut);
    }
    return 0;
}

static int cut_all(struct cs_rechunk_walk *w, struct cs_rechunk *r, struct cs_error *err)
{
    w->at = cs_cursor_of(r->region->runs, r->region->run_count);
    w->old = cs_cursor_of(w->before->runs, w->before->run_count);
    measure_old(w);
    for (r->count = 0; !cs_cursor_done(&w->at); r->count++) {
        struct cs_cut *cut = &r->cuts[r->count];
        struct cs_chunk *chunk = &r->chunks[r->count];
        uint32_t offset = w->at.at;
        int rc = take_old(w, chunk, &r->known[r->count], err);
        if (rc == 0 && r->known[r->count])
            *cut = (struct cs_cut){.offset = offset, .length = chunk->length};
        else if (rc == 0)
            rc = cut_next(w, cut, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

uint32_t cs_rechunk_same_until(const struct cs_content *before, uint32_t at, size_t *old)
{
    while (*old < before->run_count && before->runs[*old].offset + before->runs[*old].length <= at)
        ++*old;
    if (*old == before->run_count || before->runs[*old].offset > at)
        return 0;
    return before->runs[*old].offset + before->runs[*old].length;
}

int cs_rechunk(struct cs_rechunk *r, struct cs_error *err)
{
    uint8_t sectors[CS_SECTORS_MAX];
    bool solid[CS_SECTORS_MAX]; /* of blocks, which are no smaller than sectors */
    struct cs_region *region = r->region;
    struct cs_rechunk_walk w = {
        .job = r,
        .chunker = r->chunker,
        .before = r->before,
        .region = region,
        .data = region->data,
        .sectors = r->read != NULL ? sectors : NULL,
    };
    int rc = 0;
    for (size_t i = 0; i < region->run_count; i++) {
        w.data_end = region->runs[i].offset + region->runs[i].length;
        if (region->runs[i].same)
            w.sectors = sectors;
    }
    if (w.sectors != NULL)
        rc = mark(&w, err);
    region->run_count = cs_chunker_merge(region->runs, region->run_count);
    if (rc == 0 && r->read != NULL)
        rc = cs_rechunk_compare(&w, err);
    for (size_t i = 0; rc == 0 && w.sectors != NULL && i < region->run_count; i++)
        if (!region->runs[i].zero)
            rc = look_for_zeros(&w, &region->runs[i], err);
    if (rc < 0)
        return rc;
    if (w.sectors != NULL)
        find_solid(&w, solid);
    region->run_count =
        cs_chunker_take_zeros_out(r->chunker, region->data, w.sectors != NULL ? solid : NULL,
                                  region->runs, region->run_count);
    return cut_all(&w, r, err);
}
