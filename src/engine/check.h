/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_CHECK_H
#define BYRE_ENGINE_CHECK_H

#include "engine/upkeep.h"

/* The part of engine_check that is about archives: that all is there that each of them needs, in
 * places of which ${found} says nothing bad, and can be walked. Adds to ${result}, which is to be
 * cleared, on failure too. */
int engine_check_archives(struct cs_store *store, const struct engine_check_options *options,
                          const struct cs_damage *found, struct engine_check_result *result,
                          struct error *err);

#endif
