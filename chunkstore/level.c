/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The level of compression that follows the bottleneck. What is slow beside
 * storage and compression (reading, hashing) speaks for no change.
 */
#include "level.h"

int cs_level_next(int level, const struct cs_level_times *t)
{
    if (t->storing >= t->elapsed - t->elapsed / 4)
        return level < CS_LEVEL_HIGHEST ? level + 1 : level;
    if (t->storing <= t->elapsed / 4 && t->compressing / t->workers >= t->elapsed / 2)
        return level > CS_LEVEL_LOWEST ? level - 1 : level;
    return level;
}
