/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_SPANS_H
#define BYRE_QCOW2_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A set of claims on byte ranges, which tells the bytes that were claimed more
 * than once. Claims that lie end to end cost no more than one.
 */

struct span {
    uint64_t start;
    uint64_t end; /* behind the last byte */
};

struct span_list {
    struct span *items;
    size_t n;
    size_t room;
};

/* Adds a span to ${list}, which owns its items. */
int span_list_add(struct span_list *list, uint64_t start, uint64_t end, struct error *err);

struct spans {
    struct span_list claimed;
    struct span_list contested;
};

void spans_init(struct spans *spans);
void spans_clear(struct spans *spans);

/* Claims the ${len} bytes from ${start} on; their sum is no more than UINT64_MAX. */
int spans_claim(struct spans *spans, uint64_t start, uint64_t len, struct error *err);

/* Ends the claims. Before it, spans_contested() has no answers. */
int spans_settle(struct spans *spans, struct error *err);

/* Whether any of the ${len} bytes from ${start} on was claimed more than once. */
bool spans_contested(const struct spans *spans, uint64_t start, uint64_t len);

#endif
