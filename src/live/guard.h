/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_GUARD_H
#define BYRE_LIVE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * A process beside byre that does one last thing where byre dies, however it
 * dies, or takes too long. A signal to byre's group does not reach it.
 */

struct guard;

/*
 * From now on ${last} runs with ${arg}, in a copy of this process, once this process has ended
 * without guard_release, or after ${seconds} (0: no limit). It keeps the ${count} descriptors of
 * ${keep}, all others are closed there; stdin, stdout and stderr are /dev/null. It must end by
 * itself, and may lock nothing that another thread of this process could hold now. Only the thread
 * that started it may release it.
 */
int guard_start(struct guard **out, unsigned seconds, const int *keep, size_t count,
                void (*last)(void *arg), void *arg, struct error *err);

/* All is well, and the guard ends; waits for that. Whether ${last} has run all the same, because it
 * took too long. Frees ${g}; NULL is fine, and false. */
bool guard_release(struct guard *g);

#endif
