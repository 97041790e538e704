/* SPDX-License-Identifier: BSD-2-Clause */
/* Regions byte by byte, drawn at random, and what is known of them beforehand. */
#include "rechunk_fixture.h"

#include <stdlib.h>
#include <string.h>

static struct cs_fingerprinter *fingerprinter;
uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random() % n);
}

uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = next_random();
        memcpy(p + i, &v, n - i < 8 ? n - i : 8);
    }
}

void *new_bytes(size_t n)
{
    void *p = calloc(1, n);
    assert_non_null(p);
    return p;
}

static struct cs_chunker chunker(uint32_t region, uint32_t block, uint32_t min, uint32_t max)
{
    struct cs_chunker c = {.region_size = region,
                           .block_size = block,
                           .min_size = min,
                           .max_size = max,
                           .threshold = UINT64_MAX / 12,
                           .zero_blocks = 4};
    for (unsigned i = 0; i < sizeof c.secret; i++)
        c.secret[i] = (uint8_t)(i * 151 + 7);
    return c;
}

struct cs_chunker standard(void)
{
    return chunker(4096 * KIB, 4 * KIB, 16 * KIB, 256 * KIB);
}

/* Short regions, which meet every rule soon; blocks as large as a sector, and larger. */
struct cs_chunker small(void)
{
    uint32_t block = below(3) == 0 ? SECTOR : 2 * KIB;
    struct cs_chunker c = chunker(128 * KIB, block, 4 * KIB, 16 * KIB);
    c.zero_blocks = 1 + below(6);
    if (below(8) == 0)
        c.threshold = 1;
    return c;
}

/* ---- regions, byte by byte ---- */

struct picture new_picture(uint32_t size)
{
    return (struct picture){.kind = new_bytes(size), .value = new_bytes(size), .size = size};
}

void free_picture(struct picture *p)
{
    free(p->kind);
    free(p->value);
}

/* The bytes of data: all kinds of them. */
static void put_data(struct picture *p, uint32_t at, uint32_t n, uint32_t block)
{
    memset(p->kind + at, DATA, n);
    switch (below(5)) {
    case 0: /* equal blocks */
        for (uint32_t i = 0; i < n; i++)
            p->value[at + i] = (uint8_t)((at + i) % block * 31 + 1);
        break;
    case 1:
        memset(p->value + at, 0, n);
        break;
    default:
        fill(p->value + at, n);
    }
}

static uint32_t unit(void)
{
    static const uint32_t units[] = {SECTOR, 4 * KIB, 64 * KIB};
    return units[below(3)];
}

/* Draws stretches on units of clusters or subclusters, and zeros of all lengths in the data. */
void draw(struct picture *p, uint32_t block)
{
    uint32_t step = unit(), longest = 1 + below(1 << (1 + below(6)));
    uint32_t size = below(4) != 0 ? p->size : 1 + below(p->size);
    for (uint32_t at = 0, n; at < size; at += n) {
        n = least((1 + below(longest)) * step, size - at);
        if (below(3) != 0)
            put_data(p, at, n, block);
        else
            memset(p->kind + at, below(2) ? HOLE : ZERO, n);
    }
    for (uint32_t i = below(24); i > 0; i--) {
        uint32_t at = below(p->size), n = (1 + below(9)) * (below(3) ? block : SECTOR);
        at -= at % (below(4) ? block : SECTOR);
        memset(p->value + at, 0, least(n, p->size - at));
    }
}

/* Where a change begins: often beside a place where the kind changes. */
static uint32_t draw_place(const struct picture *p, uint32_t step)
{
    uint32_t at = below(p->size);
    if (below(2))
        while (at + 1 < p->size && p->kind[at] == p->kind[at + 1])
            at++;
    at -= at % step;
    return at >= step && below(3) == 0 ? at - step : at;
}

static void change(struct picture *p, uint32_t block)
{
    uint32_t step = below(2) ? SECTOR : below(2) ? block : unit();
    uint32_t at = draw_place(p, step), n = least((1 + below(1 << below(6))) * step, p->size - at);
    switch (below(6)) {
    case 0:
        p->value[at] ^= 1;
        break;
    case 1: /* of what is there */
        memset(p->value + at, 0, n);
        break;
    case 2:
        memset(p->kind + at, HOLE, n);
        break;
    case 3:
        memset(p->kind + at, ZERO, n);
        break;
    default:
        put_data(p, at, n, block);
    }
}

/* Runs begin and end on sectors, but for the end of the last. */
static void straighten(struct picture *p)
{
    uint32_t end = p->size;
    while (end > 0 && p->kind[end - 1] == HOLE)
        end--;
    for (uint32_t at = 0; at < end; at += SECTOR)
        memset(p->kind + at, p->kind[at], least(SECTOR, end - at));
}

struct picture changed(const struct picture *old, uint32_t block)
{
    struct picture p = new_picture(old->size);
    memcpy(p.kind, old->kind, p.size);
    memcpy(p.value, old->value, p.size);
    for (uint32_t i = below(5); i > 0; i--)
        change(&p, block);
    straighten(&p);
    return p;
}

/* Which bytes are said to be as before: of clusters or sectors that are, and not always. */
uint8_t *draw_same(const struct picture *old, const struct picture *p)
{
    uint8_t *same = new_bytes(p->size);
    uint32_t step = unit(), forgets = below(3) ? 0 : 1 + below(20);
    for (uint32_t at = 0, n; at < p->size; at += n) {
        n = least(step, p->size - at);
        uint32_t i = at;
        while (i < at + n && p->kind[i] == old->kind[i] &&
               (p->kind[i] != DATA || p->value[i] == old->value[i]))
            i++;
        if (i == at + n && below(100) >= forgets)
            for (i = at; i < at + n; i++)
                same[i] = p->kind[i] == DATA;
    }
    return same;
}

/* ---- cutting ---- */

struct work new_work(const struct cs_chunker *c)
{
    size_t room = c->region_size / c->min_size + 1;
    size_t runs = c->region_size / SECTOR + 1;
    return (struct work){
        .region = {.data = new_bytes(c->region_size),
                   .runs = new_bytes(runs * sizeof(struct cs_run)),
                   .run_capacity = runs},
        .cuts = new_bytes(room * sizeof(struct cs_cut)),
        .chunks = new_bytes(room * sizeof(struct cs_chunk)),
        .known = new_bytes(room * sizeof(bool)),
    };
}

void free_work(struct work *w)
{
    free(w->region.data);
    free(w->region.runs);
    free(w->cuts);
    free(w->chunks);
    free(w->known);
}

/* Describes ${p}, in the buffer what is not ${same} (NULL: nothing is). */
void lay_out(struct work *w, const struct picture *p, const uint8_t *same)
{
    struct cs_region *r = &w->region;
    uint32_t end;
    memset(r->data, below(2) ? 0 : 0xa5, p->size);
    for (uint32_t at = 0; at < p->size; at = end) {
        bool is_same = same != NULL && same[at];
        for (end = at + 1; end < p->size && p->kind[end] == p->kind[at]; end++)
            if (same != NULL && same[end] != same[at])
                break;
        if (p->kind[at] == HOLE)
            continue;
        r->runs[r->run_count++] = (struct cs_run){
            .offset = at, .length = end - at, .zero = p->kind[at] == ZERO, .same = is_same};
        if (p->kind[at] == DATA && !is_same)
            memcpy(r->data + at, p->value + at, end - at);
    }
}

void identify(struct work *w)
{
    struct cs_cursor at = cs_cursor_of(w->region.runs, w->region.run_count);
    struct cs_error err;
    for (size_t i = 0; i < w->count; i++) {
        struct cs_chunk *chunk = &w->chunks[i];
        assert_int_equal(at.at, w->cuts[i].offset);
        if (w->known[i]) {
            assert_int_equal(chunk->length, w->cuts[i].length);
            cs_cursor_skip(&at, chunk->length);
            continue;
        }
        cs_chunker_gather(w->region.data, &at, w->cuts[i].length);
        chunk->length = w->cuts[i].length;
        assert_int_equal(cs_fingerprint(fingerprinter, w->region.data + w->cuts[i].offset,
                                        chunk->length, chunk->fingerprint, &err),
                         0);
        for (size_t k = 0; k < sizeof chunk->id.bytes; k++) /* an id, for want of a better one */
            chunk->id.bytes[k] = chunk->fingerprint[k % 16] ^ (uint8_t)(k + 1);
    }
    assert_true(cs_cursor_done(&at));
}

struct work cut_plainly(const struct cs_chunker *c, const struct picture *p)
{
    struct work w = new_work(c);
    lay_out(&w, p, NULL);
    cs_chunker_cut(c, w.region.data, w.region.runs, &w.region.run_count, w.cuts, &w.count);
    identify(&w);
    return w;
}

struct cs_content content_of(const struct work *w)
{
    return (struct cs_content){.runs = w->region.runs,
                               .run_count = w->region.run_count,
                               .chunks = w->chunks,
                               .chunk_count = w->count};
}

int read_source(void *arg, uint32_t offset, uint32_t length, uint8_t *to, struct cs_error *err)
{
    enum { TO_ITS_PLACE = 1, ELSEWHERE = 2 };
    struct source *s = arg;
    uint8_t where = to == s->data + offset ? TO_ITS_PLACE : ELSEWHERE;
    uint32_t same = 0;
    if (s->fails_in > 0 && --s->fails_in == 0)
        return cs_fail(err, CS_IO, "the source cannot be read");
    assert_int_equal(offset % SECTOR, 0);
    assert_true(length > 0 && length <= s->p->size && offset <= s->p->size - length);
    for (uint32_t i = offset; i < offset + length; i++) {
        assert_int_equal(s->p->kind[i], DATA);
        assert_false(s->read[i] & where);
        s->read[i] |= where;
        same += s->same != NULL && s->same[i];
    }
    memcpy(to, s->p->value + offset, length);
    s->bytes += same;
    s->calls += same > 0;
    return 0;
}

int rechunk(const struct cs_chunker *c, struct work *w, const struct cs_content *before,
            struct source *source, struct cs_error *err)
{
    uint8_t *scratch = new_bytes(cs_rechunk_scratch_size(c));
    struct cs_rechunk r = {.chunker = c,
                           .fingerprinter = fingerprinter,
                           .before = before,
                           .read = source != NULL ? read_source : NULL,
                           .read_arg = source,
                           .scratch = scratch,
                           .region = &w->region,
                           .cuts = w->cuts,
                           .chunks = w->chunks,
                           .known = w->known};
    if (source != NULL)
        memset(w->region.data, 0, c->region_size);
    int rc = cs_rechunk(&r, err);
    w->count = r.count;
    free(scratch);
    return rc;
}

void assert_equal_work(const struct work *a, const struct work *b)
{
    assert_int_equal(a->region.run_count, b->region.run_count);
    for (size_t i = 0; i < a->region.run_count; i++) {
        assert_int_equal(a->region.runs[i].offset, b->region.runs[i].offset);
        assert_int_equal(a->region.runs[i].length, b->region.runs[i].length);
        assert_int_equal(a->region.runs[i].zero, b->region.runs[i].zero);
        assert_false(a->region.runs[i].same);
    }
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->chunks[i].length, b->chunks[i].length);
        assert_memory_equal(&a->chunks[i].id, &b->chunks[i].id, sizeof a->chunks[i].id);
        assert_memory_equal(a->chunks[i].fingerprint, b->chunks[i].fingerprint, 16);
    }
}

int fingerprinter_setup(void **state)
{
    static const uint8_t key[32] = {7};
    struct cs_error err;
    (void)state;
    return cs_fingerprinter_new(&fingerprinter, key, &err);
}

int fingerprinter_teardown(void **state)
{
    (void)state;
    cs_fingerprinter_free(fingerprinter);
    return 0;
}
