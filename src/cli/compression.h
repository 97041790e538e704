/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_COMPRESSION_H
#define BYRE_CLI_COMPRESSION_H

#include <jansson.h>

#include "base/error.h"
#include "chunkstore.h"

/* How strongly commands that store data compress it: their option, and what became of it. */

/* The option's line in a table; ${offset} as in struct option_spec. */
#define COMPRESSION_OPTION(offset)                                                                 \
    {                                                                                              \
        "compression", 0, OPTION_VALUE, offset, "LEVEL",                                           \
            "zstd's 1 to 19 (default: 3), none, or auto (as time allows)", NULL                    \
    }

/* Reads ${text}, the value of ${name}; NULL is the default. ${*level} as in cs_writer_options. */
int compression_option(const char *name, const char *text, int *level, struct error *err);

/* Adds the levels that were used to the summary ${json}; null where nothing was compressed. */
void compression_report(json_t *json, const struct cs_counters *counters);

#endif
