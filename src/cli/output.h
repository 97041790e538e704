/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_OUTPUT_H
#define BYRE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "chunkstore.h"

/* Results on stdout, and JSON on either stream. */

/* JSON for ${text}, with U+FFFD where it is not UTF-8; null for NULL. */
json_t *output_string(const char *text);

json_t *output_size(uint64_t bytes);

/* To the millisecond. */
json_t *output_seconds(double seconds);

/* The hex digits of ${id}. */
json_t *output_id(const struct cs_id *id);

/* Writes ${json}, which it takes over, as one line to ${stream} and flushes that. */
void output_json(FILE *stream, json_t *json);

/* Closes stdout. Returns ${code}; where a result could not be written, says so and returns a code
 * of failure if ${code} was none. */
int output_finish(int code);

#endif
