/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RECHUNK_FIXTURE_H
#define RECHUNK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rechunk.h"

/* Regions byte by byte, drawn at random, and what is known of them beforehand. Every failure ends
 * the test. */

enum { KIB = 1024, SECTOR = 512 };
enum kind { HOLE, DATA, ZERO };

extern uint64_t random_state; /* the seed; all that is drawn follows from it */
uint32_t below(uint32_t n);
void fill(uint8_t *p, size_t n);

uint32_t least(uint32_t a, uint32_t b);
void *new_bytes(size_t n); /* zeros, to be freed */

/* The one context of a program, for its group of tests. */
int fingerprinter_setup(void **state);
int fingerprinter_teardown(void **state);

struct cs_chunker standard(void);
/* Of short regions, which meet every rule soon; blocks as large as a sector, and larger. */
struct cs_chunker small(void);

/* What the guest sees. */
struct picture {
    uint8_t *kind;
    uint8_t *value;
    uint32_t size;
};

struct picture new_picture(uint32_t size); /* all holes */
void free_picture(struct picture *p);
/* Draws stretches on units of clusters or subclusters, and zeros of all lengths in the data. */
void draw(struct picture *p, uint32_t block);
/* A copy with some changes, or none. */
struct picture changed(const struct picture *old, uint32_t block);
/* Which bytes are said to be as before: of clusters or sectors that are, and not always. */
uint8_t *draw_same(const struct picture *old, const struct picture *p);

/* A region with buffers of exactly the sizes that chunker.h promises to be enough. */
struct work {
    struct cs_region region;
    struct cs_cut *cuts;
    struct cs_chunk *chunks;
    bool *known;
    size_t count;
};

struct work new_work(const struct cs_chunker *c);
void free_work(struct work *w);
/* Describes ${p}, in the buffer what is not ${same} (NULL: nothing is). */
void lay_out(struct work *w, const struct picture *p, const uint8_t *same);
/* Sets id and fingerprint of the chunks that are not known, from the bytes in the buffer. */
void identify(struct work *w);
struct work cut_plainly(const struct cs_chunker *c, const struct picture *p);
struct cs_content content_of(const struct work *w); /* lent */
void assert_equal_work(const struct work *a, const struct work *b);

/* Where a region is read from. */
struct source {
    const struct picture *p;
    const uint8_t *same; /* NULL: nothing is said to be */
    const uint8_t *data; /* where the region has its bytes */
    uint8_t *read;       /* which bytes were, and where to */
    uint32_t bytes;      /* how many of them are the same */
    uint32_t calls;      /* in how many calls any of those */
    uint32_t fails_in;   /* calls of any kind; 0: never */
};

/* To be a region's; reads only data, and nothing twice to one place. */
int read_source(void *arg, uint32_t offset, uint32_t length, uint8_t *to, struct cs_error *err);

/* By what was ${before}. ${source}: nothing is at hand, and all is read from it; NULL: what is laid
 * out is. */
int rechunk(const struct cs_chunker *c, struct work *w, const struct cs_content *before,
            struct source *source, struct cs_error *err);

#endif
