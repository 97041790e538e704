/* SPDX-License-Identifier: BSD-2-Clause */
/* Levels of compression as users say them, and as summaries tell them. */
#include "cli/compression.h"

#include <string.h>

#include "cli/option.h"

enum { LEVEL_MIN = 1, LEVEL_MAX = 19 };

int compression_option(const char *name, const char *text, int *level, struct error *err)
{
    long number = 0;

    *level = 0;
    if (!text)
        return 0;
    if (strcmp(text, "auto") == 0) {
        *level = CS_LEVEL_AUTO;
        return 0;
    }
    if (strcmp(text, "none") == 0 || strcmp(text, "0") == 0) {
        *level = CS_LEVEL_NONE;
        return 0;
    }
    if (option_number(name, text, LEVEL_MIN, LEVEL_MAX, &number, NULL))
        return error_set(err, ERROR_USAGE, "%s: not a number from %d to %d, none or auto: \"%s\"",
                         name, LEVEL_MIN, LEVEL_MAX, text);
    *level = (int)number;
    return 0;
}

void compression_report(json_t *json, const struct cs_counters *counters)
{
    bool any = counters->level_highest > 0;

    json_object_set_new(json, "compression_lowest",
                        any ? json_integer(counters->level_lowest) : json_null());
    json_object_set_new(json, "compression_highest",
                        any ? json_integer(counters->level_highest) : json_null());
}
