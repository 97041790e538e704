/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Claims on byte ranges. They are collected in any order; whenever the list is
 * full it is sorted and neighbours are joined, and what lies in two claims goes
 * to a second list. So a file of packed streams takes a few entries, not one a
 * stream.
 */
#include "qcow2/spans.h"

#include <stdlib.h>
#include <string.h>

enum { SPANS_MIN_ROOM = 1024 };

void spans_init(struct spans *spans)
{
    memset(spans, 0, sizeof *spans);
}

void spans_clear(struct spans *spans)
{
    free(spans->claimed.items);
    free(spans->contested.items);
    memset(spans, 0, sizeof *spans);
}

static int grow(struct span_list *list, struct error *err)
{
    size_t room = list->room ? list->room * 2 : SPANS_MIN_ROOM;
    struct span *items = reallocarray(list->items, room, sizeof *items);

    if (items == NULL)
        return error_no_memory(err);
    list->items = items;
    list->room = room;
    return 0;
}

int span_list_add(struct span_list *list, uint64_t start, uint64_t end, struct error *err)
{
    int rc;

    if (list->n == list->room && (rc = grow(list, err)) < 0)
        return rc;
    list->items[list->n++] = (struct span){start, end};
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return (x->start > y->start) - (x->start < y->start);
}

/* Sorts ${list} and joins what touches; what is in two of its spans is added to ${twice}, if any.
 */
static int join(struct span_list *list, struct span_list *twice, struct error *err)
{
    size_t n = 0;
    int rc;

    if (list->n > 1)
        qsort(list->items, list->n, sizeof *list->items, by_start);
    for (size_t i = 0; i < list->n; i++) {
        struct span next = list->items[i];
        struct span *last = n > 0 ? &list->items[n - 1] : NULL;

        if (last == NULL || next.start > last->end) {
            list->items[n++] = next;
            continue;
        }
        if (twice != NULL && next.start < last->end) {
            uint64_t end = next.end < last->end ? next.end : last->end;

            if ((rc = span_list_add(twice, next.start, end, err)) < 0)
                return rc;
        }
        if (next.end > last->end)
            last->end = next.end;
    }
    list->n = n;
    return 0;
}

int spans_claim(struct spans *spans, uint64_t start, uint64_t len, struct error *err)
{
    struct span_list *list = &spans->claimed;
    int rc;

    if (list->n > 0 && list->items[list->n - 1].end == start) {
        list->items[list->n - 1].end += len;
        return 0;
    }
    if (list->n == list->room) {
        if ((rc = join(list, &spans->contested, err)) < 0)
            return rc;
        /* Only when joining frees much is it cheaper than growing. */
        if (list->n >= list->room / 2 && (rc = grow(list, err)) < 0)
            return rc;
    }
    return span_list_add(list, start, start + len, err);
}

int spans_settle(struct spans *spans, struct error *err)
{
    int rc;

    if ((rc = join(&spans->claimed, &spans->contested, err)) < 0)
        return rc;
    return join(&spans->contested, NULL, err);
}

bool spans_contested(const struct spans *spans, uint64_t start, uint64_t len)
{
    const struct span_list *list = &spans->contested;
    size_t low = 0, high = list->n;

    while (low < high) { /* the first span that ends behind ${start} */
        size_t mid = low + (high - low) / 2;

        if (list->items[mid].end <= start)
            low = mid + 1;
        else
            high = mid;
    }
    return low < list->n && list->items[low].start < start + len;
}
