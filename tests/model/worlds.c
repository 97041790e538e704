/* SPDX-License-Identifier: BSD-2-Clause */
/* The repositories that the model begins with, and what its actors do to them. */
#include "worlds.h"

#include <stdlib.h>
#include <string.h>

#include "cs_fixture.h"
#include "judge.h"
#include "memory_backend.h"

enum { FOUNDER, APPENDER, KEEPER }; /* keys of the roles full, append and backup */
enum { MONTH = 30 * 86400 };

/* What is not a success must have a reason: a conflict where one may be, or a lie that was told. */
static int expect(int rc, bool conflicts, const char *what, const struct cs_error *err)
{
    if (rc < 0 && !walk_has_lied() && !(conflicts && rc == CS_CONFLICT))
        walk_fail("%s: %d: %s", what, rc, err->message);
    return rc;
}

/* ---- what actors do ---- */

struct backup {
    unsigned archive; /* and the one behind it, where a conflict makes it begin anew */
    unsigned objects[OBJECTS];
    unsigned key;
    bool publishes; /* what it has before it ends */
    bool child;     /* of archive 0, from which it takes those below, as they are */
    unsigned inherited[OBJECTS];
};

static size_t add_objects(struct model_archive *to, size_t n, const unsigned *objects)
{
    for (size_t i = 0; i < OBJECTS && objects[i] != 0 && n < OBJECTS; i++)
        to->objects[n++] = objects[i];
    return n;
}

static int store_objects(struct cs_writer *writer, const unsigned *objects, struct cs_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < OBJECTS && objects[i] != 0; i++)
        rc = judge_write(writer, objects[i], err);
    return rc;
}

/* As a backup does: the parent is chosen and looked at before the run begins. */
static bool choose_parent(struct cs_store *store, const struct backup *b, struct cs_error *err)
{
    bool live = false;
    if (!b->child)
        return false;
    for (size_t i = 0; i < cs_archive_count(store); i++)
        live |= memcmp(&cs_archive_at(store, i)->id, judge_id(store, RECORDS), CS_ID_SIZE) == 0;
    expect(judge_read_archive(store, 1, err), false, "reading another archive", err);
    return live;
}

static int commit(struct cs_writer *writer, const struct cs_store *store, unsigned archive,
                  struct cs_error *err)
{
    struct model_archive *a = &judge_archives[archive];
    struct cs_commit c = {.archive = *judge_id(store, RECORDS + archive),
                          .time = memory_now(),
                          .name = "x",
                          .host = "y",
                          .summary = "{}",
                          .summary_len = 2};
    a->begun = true;
    int rc = cs_writer_commit(writer, &c, NULL, err);
    if (rc == 0 && a->promise == PROMISED_NOTHING)
        a->promise = PROMISED_THERE;
    else if (rc == CS_CONFLICT)
        a->promise = PROMISED_GONE;
    return rc;
}

static int back_up_once(const struct backup *b, unsigned archive, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_writer *writer = NULL;
    struct cs_writer_options options = {.compression_level = 1};
    struct model_archive *a = &judge_archives[archive];
    add_objects(a, add_objects(a, 0, b->objects), b->inherited);
    int rc = judge_open(&store, b->key, err);
    bool inherits = rc == 0 && choose_parent(store, b, err);
    if (rc == 0)
        rc = cs_writer_begin(&writer, store, &options, err);
    if (rc == 0 && inherits)
        rc = cs_writer_uses_archive(writer, judge_id(store, RECORDS), err);
    else if (rc == 0)
        rc = store_objects(writer, b->inherited, err);
    if (rc == 0)
        rc = store_objects(writer, b->objects, err);
    if (rc == 0 && b->publishes)
        rc = cs_writer_publish(writer, err);
    if (rc == 0)
        rc = judge_write(writer, RECORDS + archive, err);
    if (rc == 0)
        rc = commit(writer, store, archive, err);
    cs_writer_end(writer);
    cs_close(store);
    return rc;
}

static void back_up(const struct backup *b)
{
    struct cs_error err = {0};
    int rc = expect(back_up_once(b, b->archive, &err), true, "backup", &err);
    if (rc == CS_CONFLICT)
        expect(back_up_once(b, b->archive + 1, &err), true, "backup, begun anew", &err);
}

static void prune_as(unsigned key, bool no_grace)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    int rc = expect(judge_open(&store, key, &err), false, "opening for a prune", &err);
    if (rc == 0)
        expect(judge_prune(store, no_grace, &err), true, "prune", &err);
    cs_close(store);
}

static void forget(unsigned archive)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    struct model_archive *a = &judge_archives[archive];
    int rc = expect(judge_open(&store, FOUNDER, &err), false, "opening to forget", &err);
    if (rc == 0) {
        a->promise = PROMISED_NOTHING;
        rc = expect(cs_forget(store, judge_id(store, RECORDS + archive), 1, &err), false, "forget",
                    &err);
    }
    if (rc == 0)
        a->promise = PROMISED_GONE;
    cs_close(store);
}

/* ---- before it begins ---- */

static void found(void)
{
    struct cs_init_options options = {.secret = key_file(FOUNDER), .reserve = 0};
    struct cs_error err = {0};
    struct cs_id id;
    char code[CS_RECOVERY_CODE_SIZE];
    if (cs_init("model", &options, code, &id, &err) < 0)
        walk_fail("init: %s", err.message);
}

static void make_archive(unsigned archive, unsigned a, unsigned b, unsigned c)
{
    back_up(&(struct backup){.archive = archive, .objects = {a, b, c}});
}

static void make_keys(void)
{
    static const enum cs_role roles[] = {[APPENDER] = CS_ROLE_APPEND, [KEEPER] = CS_ROLE_BACKUP};
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    int rc = judge_open(&store, FOUNDER, &err);
    for (unsigned key = APPENDER; rc == 0 && key <= KEEPER; key++) {
        struct cs_secret secret = key_file(key);
        struct cs_name slot;
        rc = cs_key_add(store, &secret, roles[key], "key", &slot, &err);
    }
    cs_close(store);
    if (rc < 0)
        walk_fail("adding keys: %s", err.message);
}

/* Archive 1 needs a part of what 0 brought. */
static void make_two(void)
{
    found();
    make_archive(0, 1, 100, 101);
    make_archive(1, 2, 101, 0);
}

static void make_one_forgotten(void)
{
    make_two();
    forget(0);
}

static void make_with_keys(void)
{
    found();
    make_keys();
    make_archive(0, 1, 100, 101);
    make_archive(1, 2, 101, 0);
    forget(0);
}

static void make_two_and_reserve(void)
{
    static const uint8_t reserve[32];
    make_two();
    memory_put("reserve", reserve, sizeof reserve);
}

static void make_with_reserve(void)
{
    make_two_and_reserve();
    forget(0);
}

/* As many segments as the next run, and a prune, merge. */
static void make_many(void)
{
    found();
    for (unsigned i = 0; i < 8; i++)
        make_archive(i, 10 + i, 0, 0);
    forget(0);
    forget(3);
}

static void make_checkpoints(void)
{
    controls.checkpoint_always = true;
    make_one_forgotten();
}

static void make_sleeper(void)
{
    controls.checkpoint_always = true;
    make_two();
}

static void make_all_roles(void)
{
    make_with_keys();
    controls.checkpoint_always = true;
}

/* ---- actors ---- */

static void first_backup(void)
{
    back_up(&(struct backup){.archive = 10, .objects = {1, 100, 3}});
}

static void second_backup(void)
{
    back_up(&(struct backup){.archive = 12, .objects = {100, 101, 1, 4}});
}

static void publishing_backup(void)
{
    back_up(&(struct backup){.archive = 10, .objects = {1, 102, 3}, .publishes = true});
}

static void append_backup(void)
{
    back_up(&(struct backup){
        .archive = 10, .objects = {1, 100, 3}, .key = APPENDER, .publishes = true});
}

static void child_backup(void)
{
    back_up(
        &(struct backup){.archive = 10, .objects = {5}, .child = true, .inherited = {1, 100, 101}});
}

static void sleeping_backup(void)
{
    back_up(&(struct backup){.archive = 10, .objects = {6, 102}});
}

static void prune(void)
{
    prune_as(FOUNDER, true);
}

static void keepers_prune(void)
{
    prune_as(KEEPER, true);
}

static void forget_and_prune(void)
{
    forget(0);
    prune_as(FOUNDER, true);
}

static void forget_and_back_up(void)
{
    forget(1);
    second_backup();
}

static void weeks(void)
{
    forget(0);
    prune_as(FOUNDER, true);
    memory_pass_time(MONTH);
    make_archive(4, 7, 103, 0);
    forget(1);
    prune_as(FOUNDER, false);
    memory_pass_time(MONTH);
    make_archive(6, 8, 103, 0);
    forget(4);
    prune_as(FOUNDER, false);
    prune_as(FOUNDER, true);
}

static void read_twice(void)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    int rc = expect(judge_open(&store, FOUNDER, &err), false, "opening to read", &err);
    for (unsigned i = 0; rc == 0 && i < 2; i++)
        rc = expect(judge_read_archive(store, 1, &err), false, "reading", &err);
    cs_close(store);
}

static void check_beside(void)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    int rc = expect(judge_open(&store, FOUNDER, &err), false, "opening to check", &err);
    if (rc == 0)
        expect(judge_check(store, "beside", &err), false, "checking", &err);
    cs_close(store);
}

#define WORLD .expected = judge_expected, .judge = judge_memory

/* Bounds for a few seconds in all; test_interleavings has arguments for more. */
const struct walk_plan worlds[] = {
    {WORLD, .name = "backups", .make = make_one_forgotten,
     .actors = {{"first", first_backup, false},
                {"second", second_backup, false},
                {"prune", prune, true}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "parent", .make = make_two,
     .actors = {{"child", child_backup, false}, {"forget", forget_and_prune, true}},
     .actor_count = 2, .switches = 3},
    {WORLD, .name = "parent and another", .make = make_two,
     .actors = {{"child", child_backup, false},
                {"second", second_backup, false},
                {"forget", forget_and_prune, true}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "checkpoints", .make = make_checkpoints,
     .actors = {{"first", first_backup, false},
                {"second", forget_and_back_up, false},
                {"prune", prune, true}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "sleeper", .make = make_sleeper,
     .actors = {{"sleeper", sleeping_backup, false}, {"others", weeks, true}}, .actor_count = 2,
     .switches = 1},
    {WORLD, .name = "prunes", .make = make_one_forgotten,
     .actors = {{"one", prune, true}, {"two", prune, true}, {"backup", first_backup, false}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "roles", .make = make_all_roles,
     .actors = {{"append", append_backup, false},
                {"second", second_backup, false},
                {"keeper", keepers_prune, true}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "merges", .make = make_many,
     .actors = {{"first", first_backup, false},
                {"second", second_backup, false},
                {"prune", prune, true}},
     .actor_count = 3, .switches = 1},
    {WORLD, .name = "reader", .make = make_one_forgotten,
     .actors = {{"reader", read_twice, false}, {"prune", prune, true}}, .actor_count = 2,
     .switches = -1, .every_read = true},
    {WORLD, .name = "check", .make = make_one_forgotten,
     .actors = {{"check", check_beside, false}, {"prune", prune, true}}, .actor_count = 2,
     .switches = -1},
    {WORLD, .name = "lies", .make = make_with_reserve,
     .actors = {{"first", first_backup, false}, {"prune", prune, true}}, .actor_count = 2,
     .switches = 1, .faults = 1},
    {WORLD, .name = "lies and publishing", .make = make_two_and_reserve,
     .actors = {{"publisher", publishing_backup, false}, {"forget", forget_and_prune, true}},
     .actor_count = 2, .switches = 0, .faults = 1},
    {WORLD, .name = "lies to prunes", .make = make_with_reserve,
     .actors = {{"one", prune, true}, {"two", prune, true}}, .actor_count = 2, .switches = 0,
     .faults = 1},
};
const size_t world_count = sizeof worlds / sizeof *worlds;
