/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nearest word, by edit distance with swaps of neighbours. A candidate that
 * the word is the beginning of, or one of the parts of, counts as near, since
 * people abbreviate; so does, a little less, one that it nearly is the beginning
 * of.
 */
#include "cli/suggest.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

enum { WORD_MAX = 63 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The distance from ${a} to ${b}, and ${*beginning}: that to the nearest beginning of ${b}. */
static unsigned distances(const char *a, const char *b, unsigned *beginning)
{
    unsigned row[3][WORD_MAX + 1]; /* two rows back, one row back, this one */
    unsigned *before = row[0];
    unsigned *above = row[1];
    unsigned *here = row[2];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);

    *beginning = UINT_MAX;
    if (a_len > WORD_MAX || b_len > WORD_MAX)
        return strcmp(a, b) == 0 ? 0 : UINT_MAX;
    for (unsigned j = 0; j <= b_len; j++)
        above[j] = j;
    memset(before, 0, sizeof row[0]);
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *spare = before;

        here[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = least(best, least(above[j], here[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = least(best, before[j - 2] + 1);
            here[j] = best;
        }
        before = above;
        above = here;
        here = spare;
    }
    for (size_t j = 0; j <= b_len; j++)
        *beginning = least(*beginning, above[j]);
    return above[b_len];
}

unsigned suggest_distance(const char *a, const char *b)
{
    unsigned beginning;

    return distances(a, b, &beginning);
}

/* Whether ${word} is a part of ${candidate}, between dashes. */
static bool is_part(const char *candidate, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = candidate; (at = strstr(at, word)) != NULL; at++) {
        if ((at == candidate || at[-1] == '-') && (at[len] == '-' || at[len] == '\0'))
            return true;
    }
    return false;
}

void suggest_begin(struct suggest *suggest, const char *word)
{
    suggest->word = word;
    suggest->nearest = NULL;
    suggest->distance = UINT_MAX;
}

void suggest_offer(struct suggest *suggest, const char *candidate)
{
    size_t len = strlen(suggest->word);
    unsigned beginning;
    unsigned distance = distances(suggest->word, candidate, &beginning);

    if (len >= 2 && strncmp(candidate, suggest->word, len) == 0)
        distance = least(distance, 1);
    else if (len >= 4 && (is_part(candidate, suggest->word) || beginning <= 1))
        distance = least(distance, 2);
    if (distance < suggest->distance) {
        suggest->distance = distance;
        suggest->nearest = candidate;
    }
}

const char *suggest_nearest(const struct suggest *suggest)
{
    size_t len = strlen(suggest->word);
    unsigned limit = len < 3 ? 1 : len < 7 ? 2 : 3;

    return suggest->distance <= limit && suggest->distance < len ? suggest->nearest : NULL;
}
