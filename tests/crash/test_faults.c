/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every system call of every step fails in every way it can: the step fails
 * with a plain reason or succeeds, and what was promised is kept, also by the
 * disk that a power cut leaves afterwards.
 * usage: test_faults [all]: also each of the many calls that only read
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "cs_fixture.h"
#include "tree_files.h"
#include "world.h"

enum { SOME = 17 };

static bool every;

static const struct way {
    enum call call;
    enum fault_kind kind;
    int sys;
    bool harmless; /* the step must succeed */
} ways[] = {
    {CALL_OPEN, FAULT_ERROR, EIO, false},        {CALL_OPEN, FAULT_ERROR, EMFILE, false},
    {CALL_CREATE, FAULT_ERROR, EIO, false},      {CALL_CREATE, FAULT_FROM_HERE, ENOSPC, false},
    {CALL_CREATE, FAULT_FULL, ENOSPC, false},    {CALL_STAT, FAULT_ERROR, EIO, false},
    {CALL_READ, FAULT_ERROR, EIO, false},        {CALL_READ, FAULT_ERROR, EINTR, true},
    {CALL_READ, FAULT_SHORT, 0, true},           {CALL_LIST, FAULT_ERROR, EIO, false},
    {CALL_WRITE, FAULT_ERROR, EIO, false},       {CALL_WRITE, FAULT_ERROR, EINTR, true},
    {CALL_WRITE, FAULT_SHORT, 0, true},          {CALL_WRITE, FAULT_FROM_HERE, ENOSPC, false},
    {CALL_WRITE, FAULT_FULL, ENOSPC, false},     {CALL_FLUSH, FAULT_ERROR, EIO, false},
    {CALL_FLUSH, FAULT_ERROR, ENOSPC, false},    {CALL_FLUSH_FOLDER, FAULT_ERROR, EIO, false},
    {CALL_CLOSE, FAULT_ERROR, EIO, false},       {CALL_LINK, FAULT_ERROR, EIO, false},
    {CALL_LINK, FAULT_FROM_HERE, ENOSPC, false}, {CALL_LINK, FAULT_FULL, ENOSPC, false},
    {CALL_LINK, FAULT_ERROR, EPERM, true}, /* no hard links: it is renamed */
    {CALL_LINK, FAULT_DONE, EIO, false},         {CALL_RENAME, FAULT_ERROR, EIO, false},
    {CALL_RENAME, FAULT_DONE, EIO, false},       {CALL_DELETE, FAULT_ERROR, EIO, false},
    {CALL_MAKE_FOLDER, FAULT_ERROR, EIO, false}, {CALL_MAKE_FOLDER, FAULT_FROM_HERE, ENOSPC, false},
};

struct trial {
    char dir[FIXTURE_PATH];
    char root[FIXTURE_PATH];
    const struct world *before; /* the step */
    const struct world_step *step;
    size_t last_link; /* the call after which an archive is there */
    size_t faults, states, reads;
};

static char *in(const struct trial *t, char out[FIXTURE_PATH], const char *name)
{
    snprintf(out, FIXTURE_PATH, "%.400s/%s", t->dir, name);
    return out;
}

static void copy(const struct trial *t, const char *from, const char *to)
{
    char source[FIXTURE_PATH], target[FIXTURE_PATH];
    remove_tree(in(t, target, to));
    clone_tree(in(t, source, from), target);
}

static bool has_all_flushed(const struct disk *disk)
{
    for (size_t i = 0; i < disk_changes(disk); i++)
        if (!disk_change_is_temporary(disk, i))
            return false;
    return true;
}

/* What a power cut leaves that takes all that was not flushed. */
static void expect_after_power_cut(struct trial *t, const struct world *w, struct disk *disk,
                                   const char *what)
{
    char place[FIXTURE_PATH], repo[FIXTURE_PATH], heads[FIXTURE_PATH], pool[FIXTURE_PATH];
    char why[WORLD_WHY];
    struct disk_state s = {.changes = 0};
    remove_tree(in(t, pool, "pool"));
    assert_int_equal(mkdir(pool, 0700), 0);
    remove_tree(in(t, place, "state"));
    disk_lay_out(disk, &s, place, pool);
    copy(t, "heads", "state-heads");
    t->states++;
    if (!world_holds(w, in(t, repo, "state/repo"), in(t, heads, "state-heads"), t->step, why))
        fail_msg("%s, then a power cut: %s", what, why);
}

static void expect_code(const struct trial *t, const struct way *way, int rc, const char *what,
                        const struct cs_error *err)
{
    if (rc < 0 && (way->harmless || (way->kind == FAULT_FULL && t->step->frees)))
        fail_msg("%s: %s", what, err->message);
    if (rc < 0 && rc != (way->sys == ENOSPC ? CS_NO_SPACE : CS_IO))
        fail_msg("%s: fails with %d (%s)", what, rc, err->message);
    if (rc < 0 && (err->code != rc || err->message[0] == 0))
        fail_msg("%s: fails without a reason", what);
}

static void take_back(struct world_archive *a, const struct world_archive *before)
{
    if (a->there == MAYBE)
        a->there = before != NULL ? before->there : NO;
    if (a->tagged == MAYBE)
        a->tagged = before != NULL ? before->tagged : NO;
}

/* The next one who comes looks at the repository, and remembers what he saw. */
static void look_in(const struct world *world, struct cs_error *err)
{
    struct world *w = malloc(sizeof *w);
    assert_non_null(w);
    *w = *world;
    world_read(w, err); /* it may not be there */
    free(w);
}

static void try_fault(struct trial *t, const struct way *way, size_t at)
{
    char what[256], why[WORLD_WHY];
    struct world *w = malloc(sizeof *w);
    struct cs_error err = {0}, ignored = {0};
    struct disk *disk = disk_new();
    assert_non_null(w);
    *w = *t->before;
    copy(t, "base", "disk");
    copy(t, "base-heads", "heads");
    if (w->founded == SURE)
        disk_adopt(disk, w->repo, "repo");
    snprintf(what, sizeof what, "%s, call %zu (%s) gives %s%s", t->step->name, at,
             call_names[way->call], way->kind == FAULT_SHORT ? "a part" : strerrorname_np(way->sys),
             way->kind == FAULT_DONE        ? " though it is done"
             : way->kind == FAULT_FROM_HERE ? " from here on"
             : way->kind == FAULT_FULL      ? " until there is room again"
                                            : "");
    struct calls_options options = {
        .root = t->root, .disk = disk, .fault = {.kind = way->kind, .sys = way->sys, .at = at}};
    calls_begin(&options);
    int rc = t->step->run(w, &err);
    t->faults++;
    options.fault.kind = FAULT_NONE;
    const char *wrong = calls_wrong();
    if (wrong != NULL)
        fail_msg("%s: %s", what, wrong);
    if (rc == CS_CORRUPT && t->step->run == world_read) /* unreadable is damage */
        rc = err.code = CS_IO;
    expect_code(t, way, rc, what, &err);
    if (rc < 0 && (at < t->last_link || (at == t->last_link && way->kind != FAULT_DONE)))
        for (size_t i = 0; i < w->archive_count; i++) /* nothing is done */
            take_back(&w->archives[i],
                      i < t->before->archive_count ? &t->before->archives[i] : NULL);
    calls_begin(&options);
    look_in(w, &ignored);
    calls_end();
    if (!has_all_flushed(disk)) /* else it is what world_holds looks at below */
        expect_after_power_cut(t, w, disk, what);
    disk_free(disk);
    bool only_read = way->harmless && way->call == CALL_READ; /* and succeeded */
    if (!only_read && !world_holds(w, w->repo, w->heads, t->step, why))
        fail_msg("%s: %s", what, why);
    if (w->founded == MAYBE && world_steps[0].run(w, &err) < 0)
        fail_msg("%s: then another init: %s", what, err.message);
    free(w);
}

/* The step without a fault, for its calls; its outcome is where the next step begins. */
static void take_step(struct trial *t, struct world *w, enum call **calls, size_t *count)
{
    const enum call *made = NULL;
    copy(t, "base", "disk");
    copy(t, "base-heads", "heads");
    calls_begin(&(struct calls_options){.root = t->root});
    assert_ok(t->step->run(w, err));
    calls_end();
    *count = calls_made(&made);
    *calls = malloc(*count * sizeof **calls + 1);
    assert_non_null(*calls);
    memcpy(*calls, made, *count * sizeof **calls);
    copy(t, "disk", "next");
    copy(t, "heads", "next-heads");
}

static bool only_reads(enum call call)
{
    return call == CALL_OPEN || call == CALL_STAT || call == CALL_READ || call == CALL_LIST;
}

/* Unless all are asked for, only some of the many calls that read are taken. */
static bool is_chosen(struct trial *t, const struct way *way)
{
    if (way->kind == FAULT_FULL && !t->step->frees)
        return false; /* nobody gives room: as from here on */
    return every || !only_reads(way->call) || t->reads++ % SOME == 0;
}

static void try_all_faults(struct trial *t, const enum call *calls, size_t count)
{
    t->last_link = 0;
    for (size_t at = 0; at < count; at++)
        if (calls[at] == CALL_LINK)
            t->last_link = at;
    for (size_t at = 0; at < count; at++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            if (ways[i].call == calls[at] && is_chosen(t, &ways[i]))
                try_fault(t, &ways[i], at);
}

static void run(struct trial *t, const struct world_step *step, struct world *w)
{
    struct world *before = malloc(sizeof *before);
    enum call *calls = NULL;
    size_t count = 0;
    assert_non_null(before);
    *before = *w;
    t->before = before;
    t->step = step;
    take_step(t, w, &calls, &count);
    if (!step->quiet && (every || !step->usual))
        try_all_faults(t, calls, count);
    copy(t, "next", "base");
    copy(t, "next-heads", "base-heads");
    free(calls);
    free(before);
}

static void test_whatever_call_fails_what_was_promised_is_kept(void **state)
{
    const struct repo *place = *state;
    struct trial t = {0};
    char name[FIXTURE_PATH];
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(t.dir, sizeof t.dir, "%s", place->dir);
    assert_int_equal(mkdir(in(&t, name, "base"), 0700), 0);
    in(&t, t.root, "disk");
    in(&t, w->repo, "disk/repo");
    in(&t, w->heads, "heads");
    for (size_t i = 0; i < world_step_count; i++) {
        size_t before = t.faults;
        run(&t, &world_steps[i], w);
        if (t.faults > before)
            print_message("%s: %zu faults\n", world_steps[i].name, t.faults - before);
    }
    run(&t, &(struct world_step){.name = "reading", .run = world_read}, w);
    print_message("failing calls: %zu faults injected, %zu power cuts afterwards\n", t.faults,
                  t.states);
    free(w);
}

/* The last entry of a folder was written and its flush failed; whoever finds it there writes the
 * next one, into the next folder: a power cut must not leave a hole. */
static void test_an_entry_is_durable_before_the_next_folder_begins(void **state)
{
    enum { FOLDER = 4096 };
    const struct repo *place = *state;
    const struct world_step *commit = world_step_named("second commit");
    struct trial t = {.step = commit};
    struct world *w = calloc(1, sizeof *w), *faulted = calloc(1, sizeof *w);
    struct disk *disk = disk_new();
    enum call *calls = NULL;
    size_t count = 0, flushes = 0;
    char name[FIXTURE_PATH];
    assert_true(w != NULL && faulted != NULL);
    snprintf(t.dir, sizeof t.dir, "%s", place->dir);
    assert_int_equal(mkdir(in(&t, t.root, "disk"), 0700), 0);
    in(&t, w->repo, "disk/repo");
    in(&t, w->heads, "heads");
    assert_ok(world_steps[0].run(w, err));
    assert_ok(world_fill_log(w, FOLDER - 20, err));
    assert_ok(commit->run(w, err)); /* with a checkpoint, so that the next has none */
    assert_ok(world_fill_log(w, FOLDER - 1, err));
    w->heads[0] = 0; /* who remembers the head flushes the log anyway */
    *faulted = *w;
    clone_tree(t.root, in(&t, name, "base"));
    take_step(&t, w, &calls, &count);
    while (count > 0 && flushes < 2) /* of the folder, then of log/ */
        flushes += calls[--count] == CALL_FLUSH_FOLDER;
    free(calls);
    copy(&t, "base", "disk");
    disk_adopt(disk, w->repo, "repo");
    struct calls_options options = {
        .root = t.root, .disk = disk, .fault = {.kind = FAULT_ERROR, .sys = EIO, .at = count}};
    calls_begin(&options);
    assert_fails(CS_IO, commit->run(faulted, err));
    options.fault.kind = FAULT_NONE;
    calls_begin(&options);
    assert_ok(commit->run(faulted, err));
    calls_end();
    assert_int_equal(access(in(&t, name, "disk/repo/log/0000000000001/000"), F_OK), 0);
    expect_after_power_cut(&t, faulted, disk, "an entry before a new folder");
    disk_free(disk);
    free(faulted);
    free(w);
}

int main(int argc, char **argv)
{
    every = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whatever_call_fails_what_was_promised_is_kept,
                                        folder_setup, repo_teardown),
        cmocka_unit_test_setup_teardown(test_an_entry_is_durable_before_the_next_folder_begins,
                                        folder_setup, repo_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
