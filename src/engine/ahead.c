/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two halves of a window: one is being read while the other is used. What is
 * in a region, the source says; how it is read, scatter.c and the store.
 */
#include "engine/ahead.h"

#include <stdlib.h>
#include <string.h>

enum { HALF = AHEAD_SLOTS / 2 };

struct half {
    struct scatter *scatter;
    uint8_t *data;    /* of HALF regions */
    bool dirty[HALF]; /* the region's bytes may be other than zeros */
    uint64_t regions[HALF];
    size_t count;
    size_t next; /* to be given */
};

struct ahead {
    struct ahead_source source;
    uint32_t region_size;
    struct half halves[2];
    unsigned current;
    bool reading;  /* the other half */
    bool finished; /* there is no region behind those that are known */
    uint64_t from;
};

int ahead_new(struct ahead **out, struct cs_fetch *fetch, uint32_t region_size,
              const struct ahead_source *source, struct error *err)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (a == NULL)
        return error_no_memory(err);
    int rc = 0;
    a->source = *source;
    a->region_size = region_size;
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        struct half *h = &a->halves[i];
        h->data = calloc(HALF, region_size);
        if (h->data == NULL) {
            rc = error_no_memory(err);
            break;
        }
        struct scatter_target memory = {
            .memory = h->data, .progress = source->progress, .arg = source->arg};
        rc = scatter_new(&h->scatter, fetch, &memory, err);
    }
    if (rc < 0) {
        ahead_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

void ahead_free(struct ahead *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < 2; i++) {
        scatter_free(a->halves[i].scatter);
        free(a->halves[i].data);
    }
    free(a);
}

/* Describes what comes next to the half that is not current, and begins to read it. */
static int begin(struct ahead *a, struct error *err)
{
    struct half *h = &a->halves[1 - a->current];
    int rc = 0;
    h->count = h->next = 0;
    while (rc == 0 && !a->finished && h->count < HALF) {
        uint64_t base = h->count * a->region_size;
        uint64_t before = scatter_put_bytes(h->scatter);
        bool found = false;
        if (h->dirty[h->count])
            memset(h->data + base, 0, a->region_size);
        h->dirty[h->count] = true;
        rc = a->source.describe(a->source.arg, a->from, h->scatter, base,
                                (size_t)(1 - a->current) * HALF + h->count, &h->regions[h->count],
                                &found, err);
        if (rc < 0)
            return rc;
        if (!found) {
            a->finished = true;
            break;
        }
        h->dirty[h->count] = scatter_put_bytes(h->scatter) > before;
        a->from = h->regions[h->count++] + 1;
    }
    if (rc == 0)
        rc = scatter_start(h->scatter, err);
    a->reading = rc == 0;
    return rc;
}

static int go_on(struct ahead *a, bool to_end, struct error *err)
{
    int rc = 0;
    do {
        if (!a->reading)
            return 0;
        rc = scatter_step(a->halves[1 - a->current].scatter, to_end, &a->reading, err);
    } while (rc == 0 && to_end);
    return rc;
}

int ahead_next(struct ahead *a, uint64_t *region, const uint8_t **data, size_t *slot, bool *found,
               struct error *err)
{
    struct half *h = &a->halves[a->current];
    int rc = 0;
    *found = false;
    if (h->next == h->count) {
        if (a->from == 0) /* the first call */
            rc = begin(a, err);
        if (rc == 0)
            rc = go_on(a, true, err);
        a->current = 1 - a->current;
        if (rc == 0)
            rc = begin(a, err);
    } else {
        rc = go_on(a, false, err);
    }
    h = &a->halves[a->current];
    if (rc < 0 || h->next == h->count)
        return rc;
    *found = true;
    *region = h->regions[h->next];
    *data = h->data + h->next * a->region_size;
    *slot = (size_t)a->current * HALF + h->next++;
    return 0;
}
