/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_PROGRESS_RATE_H
#define BYRE_CLI_PROGRESS_RATE_H

#include <stdint.h>

/* How fast something goes now: over the last seconds, not since its beginning. Pure. */

enum { PROGRESS_SAMPLES = 20 };

struct progress_rate { /* all zero: nothing is known */
    unsigned count;
    unsigned newest;
    double time[PROGRESS_SAMPLES];
    uint64_t done[PROGRESS_SAMPLES];
};

/* ${done} bytes were dealt with at ${time} seconds, which never goes back. */
void progress_rate_add(struct progress_rate *rate, double time, uint64_t done);

/* Bytes a second; negative as long as it is too early to tell. */
double progress_rate_now(const struct progress_rate *rate, double time, uint64_t done);

/* Seconds that ${rest} bytes take at ${rate}; negative where that cannot be told. */
double progress_rate_left(double rate, uint64_t rest);

#endif
