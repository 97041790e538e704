/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_BACKUP_LIVE_H
#define BYRE_CLI_BACKUP_LIVE_H

#include "cli/command.h"
#include "engine/engine.h"
#include "live/live.h"

/* A backup of a running machine: between its begin and its end the machine writes to overlays. */

struct backup_live_args {
    const char *qmp;
    const char *domain;
    const char *connect;
    struct option_list disks;
    bool quiesce;
    const char *agent;
    const char *overlay_dir;
    bool content;
    const char *scratch_dir;
};

struct backup_live {
    const struct backup_live_args *args;
    struct live *live;
    char *state_dir;
    char bitmap[ENGINE_BITMAP_NAME];
    const char **with;
    bool has_bitmaps;
};

/* Whether ${args} and ${operands} go together, and no operand is a temporary overlay. Returns the
 * code to exit with, having said why, or 0. */
int backup_live_check(const struct backup_live_args *args, const struct global_options *global,
                      const struct option_list *operands);

/* How many of ${operands} lack what a machine has written to an overlay in another folder; says it.
 * Those with one beside them are the engine's to see. */
size_t backup_live_stale(const struct global_options *global, const struct option_list *operands);

/* Holds the machine's disks still, and completes ${options} with what they are. */
int backup_live_begin(struct backup_live *b, const struct global_options *global,
                      const struct cs_store *store, struct engine_backup_options *options,
                      struct error *err);

/*
 * Has the machine go on with its disks, also where it began in vain. ${*rc}, with ${err}, is what
 * became of the backup; where that was stopped from here it gets the reason. Returns 0, or
 * EXIT_CODE_PARTIAL with the reason said.
 */
int backup_live_end(struct backup_live *b, int *rc, struct live_result *result, struct error *err);

#endif
