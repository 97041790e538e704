/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_LISTENER_H
#define BYRE_CLI_LISTENER_H

#include "cli/progress.h"
#include "engine/engine.h"

/* What the engine says goes to the messages and to ${progress}, and the signals stop it. */
struct engine_listener listener_for(struct progress *progress);

#endif
