/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cuts: after each change that the store makes to the disk, the states
 * in which the disk may be found are laid out, and each must keep what was
 * promised by then. And where a flush is left out, that must show.
 * usage: test_power_cut [SAMPLES]: random states for each cut, beside all of the plain ones
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "cs_fixture.h"
#include "tree_files.h"
#include "world.h"

enum { ALL_OF = 5, ENDS = 3, SEEN = 1 << 18 };

#define LOG_FOLDER "repo/log/0000000000000"

static unsigned samples = 2;
static bool deep;

struct trial {
    char dir[FIXTURE_PATH];
    char root[FIXTURE_PATH]; /* the repository lies in it */
    struct world *world;
    const struct world_step *step;
    struct disk *disk;
    size_t cuts, states, changes_before;
    uint64_t random;
    uint64_t *seen; /* hashes of states, an open table */
    bool good;
    bool stop_at_first;
    char why[2 * WORLD_WHY];
};

static void path_in(char out[FIXTURE_PATH], const struct trial *t, const char *name)
{
    snprintf(out, FIXTURE_PATH, "%.400s/%s", t->dir, name);
}

static uint64_t draw(struct trial *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

/* Whether this state was looked at under the same promise. */
static bool was_seen(struct trial *t, const struct disk_state *s)
{
    const struct world *w = t->world;
    uint64_t h = disk_state_hash(t->disk, s);
    h = h * 31 + w->founded;
    h = h * 31 + w->has_published;
    for (unsigned i = 0; i < WORLD_KEYS; i++)
        h = h * 31 + w->opens[i];
    for (size_t i = 0; i < w->archive_count; i++)
        h = h * 31 + w->archives[i].there * 3 + w->archives[i].tagged;
    for (size_t at = h % SEEN;; at = (at + 1) % SEEN) {
        if (t->seen[at] == h)
            return true;
        if (t->seen[at] == 0) {
            t->seen[at] = h;
            return false;
        }
    }
}

static void look_at(struct trial *t, const struct disk_state *s)
{
    char place[FIXTURE_PATH], heads[FIXTURE_PATH], repo[FIXTURE_PATH], pool[FIXTURE_PATH];
    char why[WORLD_WHY];
    if (!t->good || was_seen(t, s))
        return;
    path_in(place, t, "state");
    path_in(heads, t, "state-heads");
    path_in(pool, t, "pool");
    path_in(repo, t, "state/repo");
    disk_lay_out(t->disk, s, place, pool);
    clone_tree(t->world->heads, heads);
    t->states++;
    if (!world_holds(t->world, repo, heads, t->step, why)) {
        t->good = false;
        snprintf(t->why, sizeof t->why, "%s, cut %zu, state %zu: %s", t->step->name, t->cuts,
                 t->states, why);
    }
    remove_tree(place);
    remove_tree(heads);
}

/* What is not below tmp/ is as ${visible} says, all else as ${fate}, or random. */
static void look_at_choice(struct trial *t, uint64_t visible, enum disk_fate fate, bool random)
{
    struct disk_state s = {.changes = visible};
    size_t n = disk_changes(t->disk);
    if (random)
        s.seed = draw(t);
    for (size_t i = 0; i < n; i++)
        if (disk_change_is_temporary(t->disk, i) && (random ? draw(t) & 1 : fate == DISK_KEPT))
            s.changes |= 1ULL << i;
    for (size_t i = 0; i < DISK_DIRTY; i++)
        s.fate[i] = random ? (uint8_t)(draw(t) % DISK_FATES) : fate;
    look_at(t, &s);
}

static void look_at_all(struct trial *t)
{
    size_t n = disk_changes(t->disk), visible = 0;
    unsigned at[DISK_CHANGES];
    uint64_t everything = 0;
    for (unsigned i = 0; i < n; i++)
        if (!disk_change_is_temporary(t->disk, i)) {
            at[visible++] = i;
            everything |= 1ULL << i;
        }
    look_at_choice(t, 0, DISK_LOST, false);
    look_at_choice(t, everything, DISK_KEPT, false);
    look_at_choice(t, everything, DISK_LOST, false);
    for (size_t i = 0; i < visible; i++) { /* each alone */
        if (!deep && i >= ENDS && i + ENDS < visible)
            continue; /* one of many files that a prune deletes */
        look_at_choice(t, 1ULL << at[i], DISK_KEPT, false);
        look_at_choice(t, everything & ~(1ULL << at[i]), DISK_LOST, false);
    }
    if (visible <= ALL_OF)
        for (uint64_t choice = 0; choice < 1ULL << visible; choice++) {
            uint64_t chosen = 0;
            for (size_t i = 0; i < visible; i++)
                chosen |= (choice >> i & 1) << at[i];
            look_at_choice(t, chosen, DISK_KEPT, false);
        }
    for (unsigned i = 0; i < samples; i++) {
        uint64_t chosen = draw(t) & everything;
        look_at_choice(t, chosen, DISK_KEPT, true);
    }
}

static bool is_looked_at(const struct trial *t)
{
    return t->good && t->step != NULL && !t->step->quiet && (deep || !t->step->usual);
}

static void at_change(void *arg, enum call call)
{
    struct trial *t = arg;
    (void)call;
    t->cuts++;
    if (is_looked_at(t))
        look_at_all(t);
}

static void begin_trial(struct trial *t, const struct repo *place, bool ignore_files,
                        const char *ignore_folder)
{
    char pool[FIXTURE_PATH];
    *t = (struct trial){.good = true, .random = 88172645463325252};
    snprintf(t->dir, sizeof t->dir, "%s", place->dir);
    path_in(t->root, t, "disk");
    path_in(pool, t, "pool");
    assert_int_equal(mkdir(t->root, 0700), 0);
    assert_int_equal(mkdir(pool, 0700), 0);
    t->world = calloc(1, sizeof *t->world);
    t->seen = calloc(SEEN, sizeof *t->seen);
    assert_true(t->world != NULL && t->seen != NULL);
    path_in(t->world->repo, t, "disk/repo");
    path_in(t->world->heads, t, "heads");
    t->disk = disk_new();
    disk_ignore_flushes(t->disk, ignore_files, ignore_folder);
    calls_begin(
        &(struct calls_options){.root = t->root, .disk = t->disk, .changed = at_change, .arg = t});
}

static void end_trial(struct trial *t)
{
    char name[FIXTURE_PATH];
    static const char *const made[] = {"disk", "pool", "heads", "state", "state-heads", "whole"};
    calls_end();
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        path_in(name, t, made[i]);
        remove_tree(name);
    }
    disk_free(t->disk);
    free(t->seen);
    free(t->world);
}

static void run_steps(struct trial *t, size_t first)
{
    for (size_t i = first; t->good && i < world_step_count; i++) {
        t->step = &world_steps[i];
        assert_ok(t->step->run(t->world, err));
        if (is_looked_at(t))
            look_at_all(t); /* under what is promised now */
        if (strcmp(t->step->name, "prune") == 0) {
            const struct cs_prune_result *r = &t->world->pruned;
            assert_true(r->packs_deleted > 0 && r->packs_rewritten > 0 && r->bytes_spared > 0);
        }
    }
}

/* The model must have seen all that was done: with everything kept it is the folder itself. */
static void assert_model_is_complete(struct trial *t)
{
    char whole[FIXTURE_PATH], pool[FIXTURE_PATH], first[128];
    struct disk_state s = {.changes = ~0ULL};
    for (size_t i = 0; i < DISK_DIRTY; i++)
        s.fate[i] = DISK_KEPT;
    path_in(whole, t, "whole");
    path_in(pool, t, "pool");
    disk_lay_out(t->disk, &s, whole, pool);
    if (!same_trees(whole, t->root, first))
        fail_msg("the model of the disk differs from the disk at %s", first);
}

static void test_every_state_after_a_power_cut_keeps_what_was_promised(void **state)
{
    struct trial t;
    begin_trial(&t, *state, false, NULL);
    run_steps(&t, 0);
    if (!t.good)
        fail_msg("%s", t.why);
    if (calls_wrong() != NULL)
        fail_msg("%s", calls_wrong());
    assert_model_is_complete(&t);
    print_message("power cuts: %zu cuts, %zu states replayed\n", t.cuts, t.states);
    end_trial(&t);
}

static void assert_missed(struct repo *place, bool files, const char *folder, size_t first)
{
    struct trial t;
    begin_trial(&t, place, files, folder);
    if (first > 0)
        disk_ignore_flushes(t.disk, false, NULL);
    for (size_t i = 0; i < first; i++)
        assert_ok(world_steps[i].run(t.world, err));
    disk_ignore_flushes(t.disk, files, folder);
    if (first > 0)
        t.world->heads[0] = 0; /* who remembers the log's head would miss it there */
    run_steps(&t, first);
    if (t.good)
        fail_msg("without flushing %s nothing went wrong", files ? "files" : folder);
    print_message("without flushing %s: %s\n", files ? "files" : folder, t.why);
    end_trial(&t);
}

static const char *const folders[] = {"",         "repo",       "repo/keys",    "repo/log",
                                      LOG_FOLDER, "repo/packs", "repo/segments"};

static void test_a_flush_that_is_left_out_is_found(void **state)
{
    assert_missed(*state, true, NULL, 0);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_missed(*state, false, folders[i], 0);
}

static void test_a_flush_that_a_prune_leaves_out_is_found(void **state)
{
    size_t prune = (size_t)(world_step_named("prune") - world_steps);
    assert_missed(*state, true, NULL, prune);
    assert_missed(*state, false, LOG_FOLDER, prune);
    assert_missed(*state, false, "repo/packs", prune);
    assert_missed(*state, false, "repo/segments", prune);
}

static void fail_flush_of_entry(void *arg, enum call call)
{
    (void)arg;
    if (call == CALL_LINK)
        calls_fail_next(CALL_FLUSH_FOLDER, EIO);
}

/* Somebody's entry, which condemns, has its name, but he is stopped before its folder is flushed.
 * Then somebody else deletes what it condemns. */
static void delete_for_another(struct trial *t, const char *ignored)
{
    const struct world_step *prune = world_step_named("prune");
    struct calls_options options = {
        .root = t->root, .disk = t->disk, .changed = fail_flush_of_entry};
    for (const struct world_step *s = world_steps; s < prune; s++)
        assert_ok(s->run(t->world, err));
    t->world->heads[0] = 0; /* who remembers the log's head flushes it */
    calls_begin(&options);
    assert_fails(CS_IO, prune->run(t->world, err)); /* the first that it writes is the entry */
    options.changed = at_change;
    options.arg = t;
    calls_begin(&options);
    disk_ignore_flushes(t->disk, false, ignored);
    t->step = prune;
    assert_ok(prune->run(t->world, err));
}

static void test_who_deletes_has_the_log_durable(void **state)
{
    struct trial t;
    begin_trial(&t, *state, false, NULL);
    delete_for_another(&t, NULL);
    if (!t.good)
        fail_msg("%s", t.why);
    print_message("deleting for another: %zu states replayed\n", t.states);
    end_trial(&t);
    begin_trial(&t, *state, false, NULL);
    delete_for_another(&t, LOG_FOLDER);
    if (t.good)
        fail_msg("without flushing the log nothing went wrong");
    print_message("without flushing the log: %s\n", t.why);
    end_trial(&t);
}

int main(int argc, char **argv)
{
    deep = argc > 1;
    if (deep)
        samples = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_state_after_a_power_cut_keeps_what_was_promised,
                                        folder_setup, repo_teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_that_is_left_out_is_found, folder_setup,
                                        repo_teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_that_a_prune_leaves_out_is_found, folder_setup,
                                        repo_teardown),
        cmocka_unit_test_setup_teardown(test_who_deletes_has_the_log_durable, folder_setup,
                                        repo_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
