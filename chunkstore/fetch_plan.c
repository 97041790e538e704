/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order of reading: where the index has each chunk, sorted. It opens no
 * pack, so what it says may turn out to be wrong.
 */
#include "fetch_plan.h"

#include <stdlib.h>
#include <string.h>

#include "index.h"

struct group { /* the items of one pack */
    size_t first, count;
    uint32_t earliest; /* wanted */
};

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_items(const void *a, const void *b)
{
    const struct cs_plan_item *x = a, *y = b;
    int order = memcmp(&x->pack, &y->pack, sizeof x->pack);
    if (order == 0)
        order = compare_numbers(x->frame, y->frame);
    if (order == 0)
        order = compare_numbers(x->slot, y->slot);
    return order != 0 ? order : compare_numbers(x->wanted, y->wanted);
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return compare_numbers(x->earliest, y->earliest);
}

static int locate(struct cs_plan_item *item, struct cs_store *store, const struct cs_wanted *wanted,
                  struct cs_error *err)
{
    struct cs_location where;
    bool found = false;
    int rc = cs_index_find(store, &wanted[item->wanted].id, 0, &where, &found, err);
    if (rc < 0)
        return rc;
    memset(&item->pack, 0, sizeof item->pack);
    item->frame = CS_PLAN_NOWHERE;
    item->slot = 0;
    if (found) {
        item->pack = where.pack;
        item->frame = where.frame;
        item->slot = where.slot;
    }
    return 0;
}

static bool same_pack(const struct cs_plan_item *a, const struct cs_plan_item *b)
{
    return memcmp(&a->pack, &b->pack, sizeof a->pack) == 0;
}

/* Sorted items, pack by pack, in the order of what each pack is first wanted for. */
static int order_packs(struct cs_plan_item *items, size_t n, struct cs_error *err)
{
    size_t packs = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        packs += i == 0 || !same_pack(&items[i], &items[i - 1]);
    struct group *groups = calloc(packs + 1, sizeof *groups);
    struct cs_plan_item *sorted = calloc(n + 1, sizeof *sorted);
    int rc = groups == NULL || sorted == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0, g = 0; rc == 0 && i < n; i++) {
        if (i == 0 || !same_pack(&items[i], &items[i - 1]))
            groups[g++] = (struct group){.first = i, .earliest = UINT32_MAX};
        groups[g - 1].count++;
        if (items[i].wanted < groups[g - 1].earliest)
            groups[g - 1].earliest = items[i].wanted;
    }
    if (rc == 0) {
        qsort(groups, packs, sizeof *groups, compare_groups);
        for (size_t g = 0; g < packs; g++) {
            memcpy(sorted + at, items + groups[g].first, groups[g].count * sizeof *sorted);
            at += groups[g].count;
        }
        memcpy(items, sorted, n * sizeof *items);
    }
    free(groups);
    free(sorted);
    return rc;
}

int cs_plan_again(struct cs_plan *plan, size_t first, struct cs_store *store,
                  const struct cs_wanted *wanted, struct cs_error *err)
{
    int rc = 0;
    size_t n = plan->count - first;
    for (size_t i = first; rc == 0 && i < plan->count; i++)
        rc = locate(&plan->items[i], store, wanted, err);
    if (rc < 0 || n == 0)
        return rc;
    qsort(plan->items + first, n, sizeof *plan->items, compare_items);
    return order_packs(plan->items + first, n, err);
}

int cs_plan_make(struct cs_plan *plan, struct cs_store *store, const struct cs_wanted *wanted,
                 size_t n, struct cs_error *err)
{
    if (n > UINT32_MAX)
        return cs_fail(err, CS_USAGE, "%zu chunks are too many at once", n);
    if (n > plan->room) {
        struct cs_plan_item *items = reallocarray(plan->items, n, sizeof *items);
        if (items == NULL)
            return cs_fail_memory(err);
        plan->items = items;
        plan->room = n;
    }
    plan->count = n;
    for (size_t i = 0; i < n; i++)
        plan->items[i].wanted = (uint32_t)i;
    return cs_plan_again(plan, 0, store, wanted, err);
}

void cs_plan_clear(struct cs_plan *plan)
{
    free(plan->items);
    *plan = (struct cs_plan){0};
}
