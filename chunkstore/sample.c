/* SPDX-License-Identifier: BSD-2-Clause */
/* Drawing packs for a check, and what whole ones say about the rest. Reads nothing itself. */
#include "sample.h"

#include <stdlib.h>

/* Even from 0 to ${n} - 1: what would favour some is drawn again. */
static uint64_t below(uint64_t n, uint64_t (*random)(void *arg), void *arg)
{
    uint64_t uneven = (UINT64_MAX - n + 1) % n; /* 2^64 mod n */
    uint64_t x;
    do
        x = random(arg);
    while (x < uneven);
    return x % n;
}

int cs_sample_draw(bool *chosen, const uint64_t *sizes, size_t n, double share,
                   uint64_t (*random)(void *arg), void *arg, struct cs_error *err)
{
    size_t *left = calloc(n + 1, sizeof *left);
    double total = 0, drawn = 0;
    if (left == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        left[i] = i;
        chosen[i] = false;
        total += (double)sizes[i];
    }
    for (size_t count = n; count > 0 && (count == n || drawn < share * total); count--) {
        size_t at = (size_t)below(count, random, arg);
        chosen[left[at]] = true;
        drawn += (double)sizes[left[at]];
        left[at] = left[count - 1];
    }
    free(left);
    return 0;
}

double cs_sample_finds(uint64_t n, uint64_t k, uint64_t d)
{
    double whole = 1;
    for (uint64_t i = 0; i < d; i++)
        whole *= i + k < n ? (double)(n - k - i) / (double)(n - i) : 0;
    return 1 - whole;
}

uint64_t cs_sample_bound(uint64_t n, uint64_t k, double confidence)
{
    double whole = 1;
    uint64_t d = 0;
    while (d < n && whole > 1 - confidence) {
        whole *= d + k < n ? (double)(n - k - d) / (double)(n - d) : 0;
        d++;
    }
    return d;
}
