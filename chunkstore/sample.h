/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_SAMPLE_H
#define CS_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/*
 * Which packs a check reads, and what is known of the others then. Pure: the
 * random numbers are the caller's.
 *
 * Where d of n packs are damaged and k are drawn, none drawn twice and each
 * draw even, all that were drawn are whole with the probability
 *
 *     C(n-d, k) / C(n, k)  =  (n-d)/n * (n-d-1)/(n-1) * ... , k factors
 *                          =  (n-k)/n * (n-k-1)/(n-1) * ... , d factors
 *
 * (hypergeometric). So whoever found them whole may say with confidence c that
 * fewer than b are damaged: b is the least number for which this is at most
 * 1 - c. Packs are drawn until they have enough bytes, so that k hangs on their
 * sizes: the formula holds for damage that does not go by size.
 */

/*
 * Draws packs, ${n} of ${sizes} bytes each, until those drawn have at least ${share} (0 to 1) of
 * all bytes: sets ${chosen[i]}; at least one where there is any. ${random} returns 64 even bits.
 * CS_NO_MEMORY.
 */
int cs_sample_draw(bool *chosen, const uint64_t *sizes, size_t n, double share,
                   uint64_t (*random)(void *arg), void *arg, struct cs_error *err);

/* The probability that ${k} packs drawn from ${n} have a damaged one among them, where ${d} are. */
double cs_sample_finds(uint64_t n, uint64_t k, uint64_t d);

/* The least number of damaged packs that ${k} drawn from ${n} find with at least ${confidence}
 * (below 1). ${k} is 1 to ${n}. */
uint64_t cs_sample_bound(uint64_t n, uint64_t k, double confidence);

#endif
