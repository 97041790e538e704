/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_AGENT_H
#define BYRE_LIVE_AGENT_H

#include "base/error.h"
#include "live/qmp.h"

/*
 * The QEMU guest agent, through the socket that the host has of it: freezes and
 * thaws a guest's file systems. What it answers comes from the guest, and is
 * not trusted. One thread at a time.
 */

struct agent;

/* Connects ${*a} to the socket ${path}, and makes sure within ${seconds} that the agent answers.
 * ERROR_NOT_FOUND: it does not. To be closed. */
int agent_open(struct agent **a, const char *path, unsigned seconds, struct error *err);

int agent_fd(const struct agent *a); /* to keep in a guard; lent */

/* Freezes what the guest has mounted, within ${seconds}. Whatever it returns, the guest may be
 * frozen, and agent_thaw has to follow. */
int agent_freeze(struct agent *a, unsigned seconds, struct error *err);

/*
 * Thaws it; a guest that is not frozen stays so. May follow any failure, and works in a process
 * that was forked, too. Where it does not return 0 within ${seconds}, the command is still on its
 * way into the guest.
 */
int agent_thaw(struct agent *a, unsigned seconds, struct error *err);

void agent_close(struct agent *a);

/*
 * Sets ${*path}, for the caller to free, to the socket of the agent of the machine behind ${q}:
 * that of its channel org.qemu.guest_agent.0. ERROR_NOT_FOUND: it has none, or one without a socket
 * of its own.
 */
int agent_find(struct qmp *q, char **path, struct error *err);

#endif
