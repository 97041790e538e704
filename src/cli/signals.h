/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SIGNALS_H
#define BYRE_CLI_SIGNALS_H

#include <stdbool.h>

/* SIGINT and SIGTERM ask for an orderly stop once; the second one ends the process at once. SIGUSR1
 * asks how far it is, and never ends anything. For any thread. */

/* Installs the handlers, and has failed writes to a closed pipe reported as such. */
void signals_setup(void);

/* Becomes non-zero when a stop was asked for. */
const volatile int *signals_cancel(void);

/* Has it become so without a signal, from any thread. */
void signals_stop(void);

/* The signal that asked for it, or 0. */
int signals_seen(void);

/* Whether SIGUSR1 came since the last time that this was asked. */
bool signals_take_status(void);

#endif
