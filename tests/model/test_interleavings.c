/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every way in which backups, prunes and others may come between each other,
 * in small worlds: after each step the repository must hold what was promised.
 * usage: test_interleavings [--switches N] [--seconds N] [WORLD]...
 * Without arguments it is what ctest runs: each world as far as its bounds go,
 * and the negative controls, in which the store is broken and must be found
 * out. N switches bound how often the walk turns from an actor that could go
 * on (below 0: no bound), seconds how long a world is walked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory_backend.h"
#include "worlds.h"

static bool run(const struct walk_plan *world, bool loud, struct walk_result *r)
{
    walk_run(world, loud, r);
    printf("%-20s %9" PRIu64 " states %9" PRIu64 " steps %6" PRIu64
           " contents %8.2g ways %6.1f s%s%s\n",
           world->name, r->states, r->steps, r->contents, r->ways, r->seconds,
           r->complete || r->failed ? "" : " (not all)", r->failed ? " FAILED" : "");
    fflush(stdout);
    return !r->failed;
}

static const struct walk_plan *world_named(const char *name)
{
    for (size_t i = 0; i < world_count; i++)
        if (strcmp(worlds[i].name, name) == 0)
            return &worlds[i];
    fprintf(stderr, "there is no world %s\n", name);
    exit(2);
}

/* ---- negative controls ---- */

struct control {
    const char *name;
    const char *world;
    bool *on;
};

static const struct control broken[] = {
    {"a storage that overwrites", "backups", &memory_overwrites},
    {"a prune that does not ask again", "backups", &controls.prune_does_not_ask},
    {"a backup that does not ask again", "backups", &controls.writer_does_not_ask},
    {"a child that does not ask again", "parent", &controls.writer_does_not_ask},
    {"deleting before condemning", "backups", &controls.delete_first},
    {"forgetting condemned names", "sleeper", &controls.forget_the_gone},
    {"a checkpoint of an older state", "checkpoints", &controls.stale_checkpoint},
};

static bool run_control(const struct control *c)
{
    struct walk_plan world = *world_named(c->world);
    struct walk_result r;
    world.broken = c->on;
    walk_run(&world, false, &r);
    printf("%-34s %7" PRIu64 " states: %s\n", c->name, r.states,
           r.failed ? r.message : "NOT FOUND OUT");
    return r.failed;
}

int main(int argc, char **argv)
{
    int switches = -2, at = 1;
    double seconds = 0;
    bool good = true;
    struct walk_result r;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--switches") == 0)
            switches = atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--seconds") == 0)
            seconds = atof(argv[at + 1]);
        else
            return 2;
    }
    for (size_t i = 0; i < world_count; i++) {
        struct walk_plan world = worlds[i];
        bool chosen = at == argc;
        for (int k = at; k < argc; k++)
            chosen |= world_named(argv[k]) == &worlds[i];
        world.seconds = seconds;
        if (switches != -2)
            world.switches = switches;
        if (chosen)
            good &= run(&world, true, &r);
    }
    for (size_t i = 0; argc == 1 && i < sizeof broken / sizeof *broken; i++)
        good &= run_control(&broken[i]);
    return good ? 0 : 1;
}
