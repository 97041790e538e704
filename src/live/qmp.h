/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_QMP_H
#define BYRE_LIVE_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * One connection to the QMP socket of a running QEMU: commands, and the events
 * that come between. QEMU serves one client a socket. One thread at a time.
 */

struct qmp;

/*
 * Connects ${*q} to the socket ${path}, and waits for the greeting; neither that nor any command
 * takes longer than ${seconds}. ERROR_NOT_FOUND: no socket, or no machine behind it; ERROR_IN_USE:
 * no greeting, for another client holds it; ERROR_UNSUPPORTED: something else answers. To be
 * closed.
 */
int qmp_open(struct qmp **q, const char *path, unsigned seconds, struct error *err);

/* From now on a command may take ${seconds}. */
void qmp_be_patient(struct qmp *q, unsigned seconds);

pid_t qmp_peer(const struct qmp *q); /* the process that listens there; 0: not known */
int qmp_fd(const struct qmp *q);     /* to poll, and to keep in a guard; lent */

/*
 * Runs ${command} with ${arguments}, which are taken over (NULL: none), and sets ${*result} to what
 * it returns, to be decref'ed; ${result} may be NULL. Events that come before the reply are kept
 * for qmp_next_event. QEMU's own error has its words: ERROR_UNSUPPORTED where it has no such
 * command, ERROR_NOT_FOUND where it has no such device or node and says so by its class, else
 * ERROR_IO. No reply in time is ERROR_IO, too: the command may still be carried out, and a late
 * reply is passed over. ERROR_NOT_FOUND with qmp_is_gone: the machine has ended.
 */
int qmp_call(struct qmp *q, const char *command, json_t *arguments, json_t **result,
             struct error *err);

/*
 * Sets ${*event} to the oldest event that came, waiting up to ${timeout_ms}, to be decref'ed; NULL:
 * none. Events of jobs, of I/O errors, and of a machine that stops or goes on are never dropped;
 * others are where nobody takes them.
 */
int qmp_next_event(struct qmp *q, int timeout_ms, json_t **event, struct error *err);

bool qmp_is_gone(const struct qmp *q); /* nothing comes any more: QEMU has ended, or hung up */

void qmp_close(struct qmp *q);

#endif
