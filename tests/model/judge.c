/* SPDX-License-Identifier: BSD-2-Clause */
/* What must be true of the repository at any time, for a store that is opened then. */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

#include "cs_fixture.h"
#include "memory_backend.h"
#include "walk.h"

enum { CHUNK = 200, LARGE = 70 << 10, RECORD = 120, NOISE = 100 };

struct model_archive judge_archives[ARCHIVES];

/* ---- objects ---- */

static size_t size_of(unsigned object)
{
    return object < 100 ? CHUNK : object < RECORDS ? LARGE : RECORD;
}

/* Into the caller's memory: while he waits for his turn, others ask too. */
static void make_bytes(uint8_t bytes[LARGE], unsigned object)
{
    memset(bytes + NOISE, 0, LARGE - NOISE);
    noise(bytes, NOISE, object);
}

/* Ids are the same in every store of the repository. */
const struct cs_id *judge_id(const struct cs_store *store, unsigned object)
{
    static struct cs_id ids[NUMBERS];
    static bool known[NUMBERS];
    uint8_t bytes[LARGE];
    if (!known[object]) {
        make_bytes(bytes, object);
        struct cs_error err;
        if (cs_object_id(store, object < 100 ? CS_DATA : CS_META,
                         object < 100 ? CS_CHUNK : CS_LAYER_RECORD, bytes, size_of(object),
                         &ids[object], &err) < 0)
            walk_fail("id: %s", err.message);
        known[object] = true;
    }
    return &ids[object];
}

int judge_write(struct cs_writer *writer, unsigned object, struct cs_error *err)
{
    struct cs_id id;
    uint8_t bytes[LARGE];
    make_bytes(bytes, object);
    if (object < 100)
        return cs_write_chunk(writer, bytes, size_of(object), &id, err);
    return cs_write_object(writer, CS_LAYER_RECORD, bytes, size_of(object), &id, err);
}

static int read_object(struct cs_store *store, unsigned object, struct cs_error *err)
{
    uint8_t chunk[CHUNK], bytes[LARGE];
    void *data = NULL;
    size_t len = size_of(object);
    int rc = object < 100 ? cs_read_chunk(store, judge_id(store, object), chunk, len, err)
                          : cs_read_object(store, CS_LAYER_RECORD, judge_id(store, object), &data,
                                           &len, err);
    make_bytes(bytes, object);
    if (rc == 0 && (len != size_of(object) || memcmp(object < 100 ? chunk : data, bytes, len) != 0))
        walk_fail("object %u has other bytes", object);
    free(data);
    return rc;
}

int judge_read_archive(struct cs_store *store, unsigned archive, struct cs_error *err)
{
    const unsigned *objects = judge_archives[archive].objects;
    int rc = read_object(store, RECORDS + archive, err);
    for (size_t i = 0; rc == 0 && i < OBJECTS && objects[i] != 0; i++)
        rc = read_object(store, objects[i], err);
    return rc;
}

/* ---- stores ---- */

int judge_open(struct cs_store **store, unsigned key, struct cs_error *err)
{
    struct cs_open_options options = {.secret = key_file(key), .threads = 1};
    *store = NULL;
    return cs_open(store, "model", &options, err);
}

static int mark(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *err)
{
    bool fresh;
    for (unsigned i = 0; i < ARCHIVES; i++) {
        const unsigned *objects = judge_archives[i].objects;
        if (memcmp(&archive->id, judge_id(arg, RECORDS + i), sizeof archive->id) != 0)
            continue;
        int rc = cs_mark(marker, &archive->id, &fresh, err);
        for (size_t k = 0; rc == 0 && k < OBJECTS && objects[k] != 0; k++)
            rc = cs_mark(marker, judge_id(arg, objects[k]), &fresh, err);
        return rc;
    }
    walk_fail("there is an archive that nobody has made");
}

/* There is no damage that a prune could warn of. */
static void hear_warning(void *arg, const char *message)
{
    (void)arg;
    walk_fail("a prune warns: %s", message);
}

int judge_prune(struct cs_store *store, bool no_grace, struct cs_error *err)
{
    struct cs_prune_options options = {
        .no_grace = no_grace, .mark = mark, .warning = hear_warning, .arg = store};
    struct cs_prune_result result;
    return cs_prune(store, &options, &result, err);
}

/* ---- judging ---- */

uint64_t judge_expected(void)
{
    uint64_t digest = 0;
    for (unsigned i = 0; i < ARCHIVES; i++)
        digest = memory_mix(digest, judge_archives[i].promise * 2U + judge_archives[i].begun);
    return digest;
}

static bool is_live(const struct cs_store *store, unsigned archive)
{
    for (size_t i = 0; i < cs_archive_count(store); i++)
        if (memcmp(&cs_archive_at(store, i)->id, judge_id(store, RECORDS + archive), CS_ID_SIZE) ==
            0)
            return true;
    return false;
}

static void hear(void *arg, const char *message)
{
    walk_fail("%s: check: %s", (const char *)arg, message);
}

int judge_check(struct cs_store *store, const char *when, struct cs_error *err)
{
    struct cs_check_options options = {.read_data = 1, .report = hear, .arg = (void *)when};
    struct cs_check_result result;
    return cs_check(store, &options, &result, err);
}

static void look(const char *when)
{
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    if (judge_open(&store, 0, &err) < 0)
        walk_fail("%s: open: %s", when, err.message);
    if (judge_check(store, when, &err) < 0)
        walk_fail("%s: check: %s", when, err.message);
    for (unsigned i = 0; i < ARCHIVES; i++) {
        const struct model_archive *a = &judge_archives[i];
        bool live = is_live(store, i);
        if (live && (!a->begun || a->promise == PROMISED_GONE))
            walk_fail("%s: archive %u is there, and should not be", when, i);
        if (!live && a->promise == PROMISED_THERE)
            walk_fail("%s: archive %u is not there", when, i);
        if (live && judge_read_archive(store, i, &err) < 0)
            walk_fail("%s: archive %u: %s", when, i, err.message);
    }
    cs_close(store);
}

void judge_memory(void)
{
    struct memory kept;
    struct cs_error err = {0};
    struct cs_store *store = NULL;
    look("now");
    memory_keep(&kept);
    if (judge_open(&store, 0, &err) < 0 || judge_prune(store, true, &err) < 0)
        walk_fail("a prune now: %s", err.message);
    cs_close(store);
    look("after a prune now");
    memory_put_back(&kept);
}
