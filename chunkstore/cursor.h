/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CURSOR_H
#define CS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/* A place in the data runs of a region, which are passed from the first byte to the last. */
struct cs_cursor {
    const struct cs_run *run; /* a data run; ${end} where no data is left */
    const struct cs_run *end;
    uint32_t at; /* region offset of the next byte; where no data is left, behind the last */
};

static inline bool cs_cursor_done(const struct cs_cursor *c)
{
    return c->run == c->end;
}

/* Bytes that are left of its run. */
static inline uint32_t cs_cursor_left(const struct cs_cursor *c)
{
    return c->run->offset + c->run->length - c->at;
}

static inline void cs_cursor_find_data(struct cs_cursor *c)
{
    while (c->run < c->end && c->run->zero)
        c->run++;
    if (c->run < c->end)
        c->at = c->run->offset;
}

static inline struct cs_cursor cs_cursor_of(const struct cs_run *runs, size_t n)
{
    struct cs_cursor c = {.run = runs, .end = n > 0 ? runs + n : runs};
    cs_cursor_find_data(&c);
    return c;
}

/* Goes on by ${n} bytes, at most those that are left of the run. */
static inline void cs_cursor_pass(struct cs_cursor *c, uint32_t n)
{
    c->at += n;
    if (cs_cursor_left(c) > 0)
        return;
    c->run++;
    cs_cursor_find_data(c);
}

/* Goes on by ${n} bytes, or to the end; returns where the last of them ends. */
static inline uint32_t cs_cursor_skip(struct cs_cursor *c, uint32_t n)
{
    uint32_t end = c->at;
    while (n > 0 && !cs_cursor_done(c)) {
        uint32_t part = cs_cursor_left(c) < n ? cs_cursor_left(c) : n;
        end = c->at + part;
        cs_cursor_pass(c, part);
        n -= part;
    }
    return end;
}

#endif
