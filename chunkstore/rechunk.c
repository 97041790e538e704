/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region against its earlier leaf: which old chunks are chunks of the new
 * region too, and which bytes must be read to tell. The rules of cutting are
 * chunker.c's; here is only shown where following them would give what is known.
 */
#include "rechunk.h"

#include <string.h>

enum {
    SECTOR = 512, /* runs begin and end on these, but for the last one's end */
    SECTORS_MAX = CS_RECHUNK_REGION_MAX / SECTOR,
};

/* What is known of a sector of the data runs. */
enum {
    SAME = 1,    /* it has the bytes that the earlier leaf tells */
    MISSING = 2, /* they are not at hand */
    ZERO = 4,    /* the earlier leaf tells that they are zeros */
};

struct walk {
    const struct cs_chunker *chunker;
    struct cs_fingerprinter *fingerprinter;
    const struct cs_region_before *before;
    const struct cs_region *region;
    uint8_t *data;
    uint8_t *sectors;    /* NULL: all bytes are at hand, and none are known to be the same */
    uint32_t data_end;   /* behind the last run */
    struct cs_cursor at; /* in the new data */
    struct cs_cursor old;
    size_t old_chunk;          /* begins at ${old}; the count of chunks: there are none */
    struct cs_cursor old_next; /* where the chunk behind it begins */
    uint32_t old_end;          /* behind its last byte */
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The first sector that is not whole before ${at}, but for the end of the last run. */
static uint32_t sector_behind(const struct walk *w, uint32_t at)
{
    return at >= w->data_end ? (at + SECTOR - 1) / SECTOR : at / SECTOR;
}

/* ---- which bytes are at hand ---- */

/* Reads what is missing of the bytes from ${begin} to ${end}, in whole sectors. */
static int fetch(const struct walk *w, uint32_t begin, uint32_t end, struct cs_error *err)
{
    for (uint32_t i = begin / SECTOR, k; w->sectors != NULL && i * SECTOR < end; i = k) {
        k = i + 1;
        if (!(w->sectors[i] & MISSING))
            continue;
        while (k * SECTOR < end && w->sectors[k] & MISSING)
            k++;
        if (w->before->read == NULL)
            return cs_fail(err, CS_USAGE, "region %llu: what is as before cannot be read at %u",
                           (unsigned long long)w->region->index, i * SECTOR);
        uint32_t stop = least(k * SECTOR, w->data_end);
        int rc = w->before->read(w->before->arg, i * SECTOR, stop - i * SECTOR, err);
        if (rc < 0)
            return rc;
        for (; i < k; i++)
            w->sectors[i] &= (uint8_t)~MISSING;
    }
    return 0;
}

/* Bytes ${begin} to ${end} are zeros, and so need not be read. */
static void fill_zeros(const struct walk *w, uint32_t begin, uint32_t end)
{
    uint32_t first = (begin + SECTOR - 1) / SECTOR, behind = sector_behind(w, end);
    for (uint32_t i = first; i < behind; i++)
        w->sectors[i] = SAME | ZERO;
    if (first < behind)
        memset(w->data + (size_t)first * SECTOR, 0, least(behind * SECTOR, end) - first * SECTOR);
}

/* Marks the sectors of ${run}, which is as before; ${*old} is the first old run to look at. */
static int mark_run(const struct walk *w, const struct cs_run *run, size_t *old,
                    struct cs_error *err)
{
    const struct cs_content *content = w->before->content;
    uint32_t end = run->offset + run->length, stop;
    /* A sector that is missing is taken for one with something in it: no block of zeros. */
    for (uint32_t i = run->offset / SECTOR; i * SECTOR < end; i++) {
        w->sectors[i] = SAME | MISSING;
        w->data[(size_t)i * SECTOR] = 1;
    }
    for (uint32_t at = run->offset; at < end; at = stop) {
        const struct cs_run *o = &content->runs[*old];
        while (*old < content->run_count && o->offset + o->length <= at)
            o = &content->runs[++*old];
        if (*old == content->run_count || o->offset > at)
            return cs_fail(err, CS_USAGE,
                           "region %llu: a run is said to be as before, which has nothing at %u",
                           (unsigned long long)w->region->index, at);
        stop = least(end, o->offset + o->length);
        if (o->zero)
            fill_zeros(w, at, stop);
    }
    return 0;
}

static int mark(const struct walk *w, struct cs_error *err)
{
    size_t old = 0;
    int rc = 0;
    memset(w->sectors, 0, w->chunker->region_size / SECTOR);
    for (size_t i = 0; rc == 0 && i < w->region->run_count; i++)
        if (w->region->runs[i].same && !w->region->runs[i].zero)
            rc = mark_run(w, &w->region->runs[i], &old, err);
    return rc;
}

/* The number of sectors of block ${i} that have one of ${flags}. */
static uint32_t count_in_block(const struct walk *w, uint32_t i, uint8_t flags)
{
    uint32_t per_block = w->chunker->block_size / SECTOR, n = 0;
    for (uint32_t k = 0; k < per_block; k++)
        n += (w->sectors[i * per_block + k] & flags) != 0;
    return n;
}

/* ---- which blocks are zero ---- */

static int fetch_block(const struct walk *w, uint32_t i, struct cs_error *err)
{
    return fetch(w, i * w->chunker->block_size, (i + 1) * w->chunker->block_size, err);
}

static bool all_missing(const struct walk *w, uint32_t i)
{
    return count_in_block(w, i, MISSING) == w->chunker->block_size / SECTOR;
}

/* Whether some of block ${i} is missing, and what is at hand of it is zero. */
static bool half_zero(const struct walk *w, uint32_t i)
{
    uint32_t per_block = w->chunker->block_size / SECTOR, missing = count_in_block(w, i, MISSING);
    if (missing == 0 || missing == per_block)
        return false;
    for (uint32_t k = i * per_block; k < (i + 1) * per_block; k++) {
        const uint8_t *p = w->data + (size_t)k * SECTOR;
        if (!(w->sectors[k] & MISSING) && (p[0] != 0 || memcmp(p, p + 1, SECTOR - 1) != 0))
            return false;
    }
    return true;
}

/*
 * Whether block ${i} is zero, and the missing one beside it may be, too. It cannot where ${i} was
 * in a zero run of the earlier leaf: both were data, so the zeros would have been taken out
 * together.
 */
static bool may_go_on(const struct walk *w, uint32_t i)
{
    return cs_chunker_zero_block(w->chunker, w->data, i) &&
           count_in_block(w, i, ZERO) < w->chunker->block_size / SECTOR;
}

/*
 * Reads the blocks of a run that may belong to a zero run now and are missing. A stretch of zero
 * blocks that were data and are all missing was too short to become a zero run, and is so still; so
 * they matter only where a zero block that is at hand reaches them.
 */
static int look_for_zeros(const struct walk *w, const struct cs_run *run, struct cs_error *err)
{
    uint32_t size = w->chunker->block_size;
    uint32_t first = (run->offset + size - 1) / size;
    uint32_t behind = (run->offset + run->length) / size; /* the blocks that are whole in the run */
    int rc = 0;
    for (uint32_t i = first; rc == 0 && i < behind; i++)
        if (half_zero(w, i))
            rc = fetch_block(w, i, err);
    for (uint32_t i = first + 1; rc == 0 && i < behind; i++)
        if (all_missing(w, i) && may_go_on(w, i - 1))
            rc = fetch_block(w, i, err);
    for (uint32_t i = behind; rc == 0 && i > first + 1; i--)
        if (all_missing(w, i - 2) && may_go_on(w, i - 1))
            rc = fetch_block(w, i - 2, err);
    return rc;
}

/* ---- old chunks ---- */

/* Sets what follows from ${old} and ${old_chunk}. */
static void measure_old(struct walk *w)
{
    if (w->old_chunk == w->before->content->chunk_count)
        return;
    w->old_next = w->old;
    w->old_end = cs_cursor_skip(&w->old_next, w->before->content->chunks[w->old_chunk].length);
}

/* Goes on to the last old chunk that begins at or before ${at}. */
static void seek_old(struct walk *w, uint32_t at)
{
    while (w->old_chunk + 1 < w->before->content->chunk_count && !cs_cursor_done(&w->old_next) &&
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

static bool all_same(const struct walk *w, uint32_t begin, uint32_t end)
{
    if (w->sectors == NULL)
        return false;
    for (uint32_t i = begin / SECTOR; i * SECTOR < end; i++)
        if (!(w->sectors[i] & SAME))
            return false;
    return true;
}

/* Whether the ${length} bytes at ${at} have ${expected}; reads what is missing of them. */
static int has_fingerprint(const struct walk *w, struct cs_cursor at, uint32_t length,
                           const uint8_t expected[16], bool *has, struct cs_error *err)
{
    uint8_t found[16];
    int rc = 0;
    cs_fingerprint_begin(w->fingerprinter);
    while (rc == 0 && length > 0) {
        uint32_t n = least(length, cs_cursor_left(&at));
        rc = fetch(w, at.at, at.at + n, err);
        if (rc == 0)
            cs_fingerprint_add(w->fingerprinter, w->data + at.at, n);
        length -= n;
        cs_cursor_pass(&at, n);
    }
    if (rc == 0)
        rc = cs_fingerprint_end(w->fingerprinter, found, err);
    *has = rc == 0 && memcmp(found, expected, sizeof found) == 0;
    return rc;
}

/* Takes the old chunk that begins where the walk is over, if there is one and it is a chunk still;
 * sets ${*taken}. */
static int take_old(struct walk *w, struct cs_chunk *chunk, bool *taken, struct cs_error *err)
{
    *taken = false;
    seek_old(w, w->at.at);
    if (w->old_chunk == w->before->content->chunk_count || w->old.at != w->at.at)
        return 0;
    const struct cs_chunk *old = &w->before->content->chunks[w->old_chunk];
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
static int need_block(struct walk *w, struct cs_error *err)
{
    uint32_t end = w->at.at + cs_chunker_block(w->chunker, &w->at);
    int rc = 0;
    for (uint32_t i = w->at.at / SECTOR; rc == 0 && w->sectors != NULL && i * SECTOR < end; i++) {
        if (!(w->sectors[i] & MISSING))
            continue;
        seek_old(w, i * SECTOR);
        uint32_t stop = w->old_end > i * SECTOR ? w->old_end : i * SECTOR + 1;
        rc = fetch(w, i * SECTOR, stop, err);
    }
    return rc;
}

static int cut_next(struct walk *w, struct cs_cut *cut, struct cs_error *err)
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

static int cut_all(struct walk *w, struct cs_rechunk *r, struct cs_error *err)
{
    w->at = cs_cursor_of(r->region->runs, r->region->run_count);
    w->old = cs_cursor_of(w->before->content->runs, w->before->content->run_count);
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

int cs_rechunk(struct cs_rechunk *r, struct cs_error *err)
{
    uint8_t sectors[SECTORS_MAX];
    struct cs_region *region = r->region;
    struct walk w = {
        .chunker = r->chunker,
        .fingerprinter = r->fingerprinter,
        .before = r->before,
        .region = region,
        .data = region->data,
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
    for (size_t i = 0; rc == 0 && w.sectors != NULL && i < region->run_count; i++)
        if (!region->runs[i].zero)
            rc = look_for_zeros(&w, &region->runs[i], err);
    if (rc < 0)
        return rc;
    region->run_count =
        cs_chunker_take_zeros_out(r->chunker, region->data, region->runs, region->run_count);
    return cut_all(&w, r, err);
}
