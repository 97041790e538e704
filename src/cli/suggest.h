/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SUGGEST_H
#define BYRE_CLI_SUGGEST_H

/* What somebody who mistyped a word may have meant: the nearest of the words offered. */

struct suggest {
    const char *word;
    const char *nearest;
    unsigned distance;
};

void suggest_begin(struct suggest *suggest, const char *word);

/* ${candidate} is lent. */
void suggest_offer(struct suggest *suggest, const char *candidate);

/* The nearest candidate, or NULL where none is near enough to be worth naming. */
const char *suggest_nearest(const struct suggest *suggest);

/* The insertions, deletions, replacements and swaps of neighbours that lead from ${a} to ${b}; of
 * words longer than 63 bytes only whether they are equal. */
unsigned suggest_distance(const char *a, const char *b);

#endif
