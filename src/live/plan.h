/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_PLAN_H
#define BYRE_LIVE_PLAN_H

#include "base/error.h"
#include "live/graph.h"
#include "live/live.h"

/*
 * Which nodes of a QEMU's graph are disks that can be frozen. Pure. What a file
 * name means on this host is the caller's question.
 */

struct plan_disk {
    size_t node;  /* the format node, whose place an overlay takes */
    size_t file;  /* the node below it, that has the file */
    char *device; /* what people call it */
    size_t rank;  /* among query-block's devices; behind them what is none */
};

struct plan {
    struct plan_disk *disks;
    size_t count;
};

/*
 * Finds those that ${options} ask for (disks, and the listener's note for what is left out). A disk
 * that was named, or that is to be written to, and cannot be frozen is ERROR_UNSUPPORTED with the
 * reason; none at all is ERROR_NOT_FOUND, as is a name that is none. Freed by plan_clear, also on
 * failure.
 */
int plan_disks(struct plan *plan, const struct graph *g, const struct live_options *options,
               struct error *err);
void plan_clear(struct plan *plan);

#endif
