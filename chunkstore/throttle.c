/* SPDX-License-Identifier: BSD-2-Clause */
/* How long to wait so that no more bytes a second go through than may. Who writes what, and where
 * it goes, is none of its business. */
#include "throttle.h"

#include <stddef.h>
#include <time.h>

#define SECOND UINT64_C(1000000000) /* nanoseconds */

enum { SLICE = 100000000 }; /* nanoseconds: how late a cancellation may be noticed */

/* ${bytes} at ${rate}, in nanoseconds; at most ten years, so that sums of it and a clock fit. */
static uint64_t duration(uint64_t bytes, uint64_t rate)
{
    const uint64_t max = UINT64_C(10) * 365 * 24 * 3600 * SECOND;
    uint64_t seconds = bytes / rate;
    uint64_t rest = bytes % rate;

    if (seconds >= max / SECOND)
        return max;
    /* The rest is below a second; where its product would overflow, the rate makes up for a loss
     * of its lower digits. */
    return seconds * SECOND +
           (rest <= UINT64_MAX / SECOND ? rest * SECOND / rate : rest / (rate / SECOND));
}

uint64_t cs_throttle_take(struct cs_throttle *throttle, uint64_t bytes, uint64_t now)
{
    uint64_t wait;

    if (throttle->rate == 0)
        return 0;
    if (now > SECOND && throttle->paid < now - SECOND)
        throttle->paid = now - SECOND;
    wait = throttle->paid > now ? throttle->paid - now : 0;
    if (throttle->paid <= UINT64_MAX / 2)
        throttle->paid += duration(bytes, throttle->rate);
    return wait;
}

void cs_throttle_wait(struct cs_throttle *throttle, uint64_t bytes, const volatile int *cancel)
{
    struct timespec clock;
    uint64_t wait;

    if (throttle->rate == 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    wait = cs_throttle_take(throttle, bytes,
                            (uint64_t)clock.tv_sec * SECOND + (uint64_t)clock.tv_nsec);
    while (wait > 0 && !(cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED))) {
        uint64_t slice = wait < SLICE ? wait : SLICE;
        struct timespec span = {.tv_nsec = (long)slice};

        nanosleep(&span, NULL);
        wait -= slice;
    }
}
