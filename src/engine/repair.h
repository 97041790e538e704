/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_REPAIR_H
#define BYRE_ENGINE_REPAIR_H

#include "engine/upkeep.h"

/*
 * Repairs what a check found in ${damage}; tells in ${result} what was done, and how many of its
 * errors remain. Why it may not be done is reported as one more. ERROR_AUTH: the role may not.
 */
int repair_store(struct cs_store *store, const struct engine_check_options *options,
                 const struct cs_damage *damage, struct engine_check_result *result,
                 struct error *err);

#endif
