/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MODEL_WORLDS_H
#define MODEL_WORLDS_H

#include "walk.h"

/* Repositories with something about to happen to them. */
extern const struct walk_plan worlds[];
extern const size_t world_count;

/* What the linker lets us put between the parts of the store. All false: the store as it is. */
struct controls {
    bool checkpoint_always;  /* after so many entries as need one */
    bool prune_does_not_ask; /* whether its entry still holds */
    bool writer_does_not_ask;
    bool delete_first;     /* before the entry that condemns */
    bool forget_the_gone;  /* names that have left the condemned ones are free again */
    bool stale_checkpoint; /* that others may come before */
};
extern struct controls controls;

#endif
