/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_POLICY_H
#define BYRE_ENGINE_POLICY_H

#include "engine/upkeep.h"

/* Which archives of a group a policy keeps, and why. Pure; all times are UTC. */

/* Whether ${keep} has any rule. */
bool policy_is_set(const struct engine_keep *keep);

/*
 * Decides on the ${n} archives of one group, the newest first: sets keep and adds reasons. The
 * reasons are for engine_forget_result_clear. ${now}: Unix seconds.
 */
int policy_apply(const struct engine_keep *keep, int64_t now, struct engine_decision *decisions,
                 size_t n, struct error *err);

#endif
