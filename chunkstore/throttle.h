/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_THROTTLE_H
#define CS_THROTTLE_H

#include <stdint.h>

/*
 * A limit of bytes a second, as a bucket that leaks: what was let through is a
 * debt, which time pays off. For one thread.
 */

struct cs_throttle {
    uint64_t rate; /* bytes a second; 0: no limit */
    uint64_t paid; /* when the debt is paid off, nanoseconds of the caller's clock */
};

/* Adds ${bytes} to the debt at ${now} and returns how many nanoseconds to wait before they go
 * through: until the earlier debt is paid. Of time that passed without any, at most a second is
 * saved up. Pure. */
uint64_t cs_throttle_take(struct cs_throttle *throttle, uint64_t bytes, uint64_t now);

/* Takes ${bytes}, and waits. Where ${*cancel} (may be NULL) is or becomes non-zero, it does not:
 * whoever was asked to stop is to be done soon. */
void cs_throttle_wait(struct cs_throttle *throttle, uint64_t bytes, const volatile int *cancel);

#endif
