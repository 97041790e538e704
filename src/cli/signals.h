/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_SIGNALS_H
#define BYRE_CLI_SIGNALS_H

/* SIGINT and SIGTERM ask for an orderly stop once; the second one ends the process at once. */

/* Installs the handlers, and has failed writes to a closed pipe reported as such. */
void signals_setup(void);

/* Becomes non-zero when a stop was asked for. */
const volatile int *signals_cancel(void);

/* The signal that asked for it, or 0. */
int signals_seen(void);

#endif
