/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A long history by several keys, of which each entry in turn is damaged in several ways: what the
 * repair saves is held against what the history said.
 */
#include <stdio.h>
#include <unistd.h>

#include "cs_fixture.h"

#include "keys.h"
#include "log_entry.h"

enum { FOUNDER, BACKUP, APPEND, FULL, KEYS, ARCHIVES = 80, CHUNKS = 4, CHUNK = 3000 };

struct record { /* what an archive's record says */
    char name[16];
    uint64_t seeds[CHUNKS];
    struct cs_id chunks[CHUNKS];
};

struct made {
    struct cs_id id;
    struct record record;
    uint64_t entry;
    uint64_t forgotten; /* by this entry; 0: live */
};

struct history {
    struct made made[ARCHIVES];
    unsigned count;
    uint64_t key_entry[KEYS]; /* that added it */
    uint64_t last;            /* entry */
};

static struct history h;

static uint64_t next_entry(const struct cs_store *store)
{
    return store->position.next;
}

/* Every second chunk is one that the archive before has, too. */
static void backup(struct cs_store *store)
{
    struct made *m = &h.made[h.count];
    struct cs_writer *w = begin(store);
    snprintf(m->record.name, sizeof m->record.name, "archive %u", h.count);
    for (unsigned i = 0; i < CHUNKS; i++) {
        m->record.seeds[i] = i % 2 ? 1000 + h.count * CHUNKS + i : 1000 + h.count / 4 * CHUNKS + i;
        m->record.chunks[i] = put_chunk(w, m->record.seeds[i], CHUNK);
    }
    assert_ok(cs_write_object(w, CS_ARCHIVE_RECORD, &m->record, sizeof m->record, &m->id, err));
    assert_ok(try_commit(w, &m->id, m->record.name, NULL, err));
    cs_writer_end(w);
    m->entry = next_entry(store) - 1;
    h.count++;
}

static void forget(struct cs_store *store, unsigned i)
{
    assert_ok(cs_forget(store, &h.made[i].id, 1, err));
    h.made[i].forgotten = next_entry(store) - 1;
}

static int mark(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *err)
{
    bool fresh;
    (void)arg;
    for (unsigned i = 0; i < h.count; i++) {
        if (memcmp(&h.made[i].id, &archive->id, sizeof archive->id) != 0)
            continue;
        int rc = cs_mark(marker, &archive->id, &fresh, err);
        for (unsigned k = 0; rc == 0 && k < CHUNKS; k++)
            rc = cs_mark(marker, &h.made[i].record.chunks[k], &fresh, err);
        return rc;
    }
    return 0;
}

static void free_space(struct cs_store *store)
{
    struct cs_prune_options options = {.no_grace = true, .mark = mark};
    struct cs_prune_result result;
    assert_ok(cs_prune(store, &options, &result, err));
}

static void checkpoint(struct cs_store *store)
{
    struct cs_buf payload = {0};
    cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, 1);
    cs_entry_put_checkpoint(&payload, &store->state);
    assert_ok(cs_log_append(store, &payload, NULL, err));
    cs_buf_clear(&payload);
}

static void tag(struct cs_store *store, unsigned i)
{
    static const char *const tags[] = {"kept"};
    assert_ok(cs_tag(store, &h.made[i].id, NULL, 0, tags, 1, err));
}

/* Key ${key} does what it may; ${step} says what. */
static void do_step(struct cs_store *store, unsigned step)
{
    backup(store);
    if (step % 5 == 4)
        forget(store, h.count - 4);
    if (step % 7 == 6)
        tag(store, h.count - 2);
    if (step == 12 || step == 33)
        free_space(store);
    if (step == 20)
        checkpoint(store);
}

/* ${steps} backups, by three keys in turn. */
static void make_history(const struct repo *repo, unsigned steps)
{
    h = (struct history){0};
    struct cs_store *founder = open_store(repo);
    for (unsigned key = BACKUP; key < KEYS; key++) {
        h.key_entry[key] = next_entry(founder);
        add_key(founder, key,
                key == BACKUP   ? CS_ROLE_BACKUP
                : key == APPEND ? CS_ROLE_APPEND
                                : CS_ROLE_FULL,
                NULL);
    }
    cs_close(founder);
    struct cs_store *stores[] = {open_as(repo, FOUNDER), open_as(repo, BACKUP),
                                 open_as(repo, APPEND)};
    for (unsigned step = 0; step < steps; step++)
        if (step % 3 == 2)
            backup(stores[2]);
        else
            do_step(stores[step % 3], step);
    for (unsigned i = 0; i < 3; i++) {
        h.last = next_entry(stores[i]) - 1 > h.last ? next_entry(stores[i]) - 1 : h.last;
        cs_close(stores[i]);
    }
}

/* ---- the repair, and what it asks ---- */

static int describe(void *arg, const void *bytes, size_t len, struct cs_archive *archive,
                    struct cs_error *err)
{
    const struct record *record = bytes;
    (void)arg;
    if (len != sizeof *record)
        return cs_fail(err, CS_CORRUPT, "this is no record");
    archive->time = 1700000000;
    archive->name = strdup(record->name);
    archive->host = strdup("host");
    return 0;
}

static int damaged(void *arg, struct cs_id **ids, size_t *count, struct cs_error *err)
{
    struct cs_store *store = *(struct cs_store **)arg;
    *ids = calloc(cs_archive_count(store) + 1, sizeof **ids);
    *count = 0;
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        void *data = NULL;
        size_t len = 0;
        bool whole = cs_read_object(store, CS_ARCHIVE_RECORD, &cs_archive_at(store, i)->id, &data,
                                    &len, err) == 0;
        const struct record *record = data;
        for (unsigned k = 0; whole && k < CHUNKS; k++)
            if (cs_has_object(store, &record->chunks[k], &whole, err) < 0)
                whole = false;
        free(data);
        if (!whole)
            (*ids)[(*count)++] = cs_archive_at(store, i)->id;
    }
    return 0;
}

static void report(void *arg, const char *message)
{
    (void)arg;
    if (getenv("BYRE_TEST_VERBOSE") != NULL)
        print_message("  %s\n", message);
}

static int try_repair(const struct repo *repo, unsigned key, bool *written, struct cs_error *err)
{
    struct cs_store *store = NULL;
    struct cs_open_options options = {.secret = key_file(key), .threads = 1, .even_damaged = true};
    struct cs_repair_log_options repair = {
        .report = report, .describe = describe, .damaged = damaged, .arg = &store};
    *written = false;
    int rc = cs_open(&store, repo->path, &options, err);
    if (rc == 0)
        rc = cs_repair_log(store, &repair, written, err);
    cs_close(store);
    return rc;
}

static const struct made *find_made(const struct cs_id *id)
{
    for (unsigned i = 0; i < h.count; i++)
        if (memcmp(&h.made[i].id, id, sizeof *id) == 0)
            return &h.made[i];
    fail_msg("an archive that was never made");
    return NULL;
}

static bool is_live(const struct cs_store *store, const struct cs_id *id)
{
    return cs_state_archive(&store->state, id) < store->state.archive_count;
}

/* With the entry that added a key all is lost that it has said. */
static bool is_lost(uint64_t entry, uint64_t from, uint64_t to)
{
    for (unsigned key = BACKUP; key < KEYS; key++)
        if (h.key_entry[key] >= from && h.key_entry[key] <= to)
            return true;
    return entry >= from && entry <= to;
}

/* Holds the repository against the history, of which the entries ${from} to ${to} are lost. */
static void expect_saved(const struct repo *repo, uint64_t from, uint64_t to)
{
    char message[CHECK_MESSAGE];
    struct cs_store *store = open_store(repo);
    uint64_t errors = check_errors(store, message);
    if (errors > 0)
        fail_msg("entries %llu to %llu: %s", (unsigned long long)from, (unsigned long long)to,
                 message);
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        const struct cs_archive *archive = cs_archive_at(store, i);
        const struct made *m = find_made(&archive->id);
        if (m->forgotten != 0 && !is_lost(m->forgotten, from, to))
            fail_msg("entries %llu to %llu: %s is back", (unsigned long long)from,
                     (unsigned long long)to, m->record.name);
        assert_string_equal(archive->name, m->record.name);
        for (unsigned k = 0; k < CHUNKS; k++)
            expect_chunk(store, &m->record.chunks[k], m->record.seeds[k], CHUNK);
        assert_true(i == 0 || cs_archive_at(store, i - 1)->entry <= archive->entry);
    }
    for (unsigned i = 0; i < h.count; i++)
        if (h.made[i].forgotten == 0 && !is_live(store, &h.made[i].id))
            fail_msg("entries %llu to %llu: %s is lost", (unsigned long long)from,
                     (unsigned long long)to, h.made[i].record.name);
    cs_close(store);
}

/* It goes on: every key opens, appends, and sees what the others have appended. */
static void expect_usable(const struct repo *repo, uint64_t from, uint64_t to)
{
    size_t count = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        struct cs_store *store = NULL;
        bool known = h.key_entry[key] < from || h.key_entry[key] > to;
        int rc = try_open(&store, repo, key, NULL);
        if (!known && rc == CS_AUTH) /* unless a later checkpoint tells of it */
            continue;
        assert_int_equal(rc, 0);
        assert_true(key == FOUNDER || cs_archive_count(store) == count);
        backup(store);
        count = cs_archive_count(store);
        cs_close(store);
    }
}

static void expect_nothing_to_do(const struct repo *repo)
{
    bool written = true;
    unsigned before = log_length(repo);
    assert_ok(try_repair(repo, FOUNDER, &written, err));
    assert_false(written);
    assert_int_equal(log_length(repo), before);
}

/* ---- damage ---- */

enum damage { DELETED, FLIPPED, CUT, EXCHANGED, DAMAGES };

static void do_damage(const struct repo *repo, unsigned number, enum damage damage)
{
    char name[FIXTURE_PATH], other[FIXTURE_PATH];
    size_t len;
    entry_name(name, number);
    uint8_t *data = file_read(repo, name, &len);
    switch (damage) {
    case DELETED:
        file_remove(repo, name);
        break;
    case FLIPPED:
        file_flip(repo, name, number * 37 % len);
        break;
    case CUT:
        file_write(repo, name, data, number * 53 % len);
        break;
    default:
        entry_name(other, number > 4 ? number - 3 : number + 1);
        file_copy(repo, other, name);
    }
    free(data);
}

/* A repair by ${key} of the log as it was damaged, entries ${from} to ${to}. */
static void expect_repaired(const struct repo *repo, unsigned key, unsigned from, unsigned to)
{
    bool written = false;
    struct cs_store *store = NULL;
    unsigned before = log_length(repo);
    if (getenv("BYRE_TEST_VERBOSE") != NULL)
        print_message("entries %u to %u\n", from, to);
    if (try_open(&store, repo, FULL, NULL) == 0) { /* it has no checkpoint of its own */
        cs_close(store);
        fail_msg("entry %u: the damage was not missed", from);
    }
    assert_ok(try_repair(repo, key, &written, err));
    assert_true(written);
    assert_int_equal(log_length(repo), before + 1);
    expect_nothing_to_do(repo);
    expect_saved(repo, from, to);
    expect_usable(repo, from, to);
    expect_nothing_to_do(repo);
}

static void test_each_entry(void **state)
{
    struct repo *repo = *state;
    bool all = getenv("BYRE_TEST_LONG") != NULL;
    make_history(repo, all ? 58 : 40);
    repo_save(repo);
    const unsigned made = h.count;
    for (unsigned number = 1; number <= h.last; number++)
        for (unsigned damage = 0; damage < DAMAGES; damage++) {
            if ((!all && damage != number % DAMAGES) || (number == h.last && damage == DELETED))
                continue;
            do_damage(repo, number, damage);
            expect_repaired(repo, number > h.key_entry[FULL] && number % 2 ? FULL : FOUNDER, number,
                            number);
            repo_restore(repo);
            h.count = made;
        }
}

static void test_ranges(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 40);
    repo_save(repo);
    for (unsigned first = 6; first + 9 < h.last; first += 5) {
        for (unsigned number = first; number < first + 3; number++)
            do_damage(repo, number, number % DAMAGES);
        do_damage(repo, first + 7, first % DAMAGES);
        bool written = false;
        assert_ok(try_repair(repo, FOUNDER, &written, err));
        assert_true(written);
        expect_nothing_to_do(repo);
        struct cs_store *store = open_as(repo, APPEND);
        for (unsigned i = 0; i < h.count; i++)
            if (h.made[i].forgotten == 0)
                assert_true(is_live(store, &h.made[i].id));
        cs_close(store);
        repo_restore(repo);
    }
}

static void test_damage_after_a_repair_and_of_it(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 20);
    do_damage(repo, 9, CUT);
    expect_repaired(repo, FOUNDER, 9, 9);
    unsigned reset = log_length(repo) - 1 - KEYS;
    unsigned last = log_length(repo) - 1;
    repo_save(repo);
    for (unsigned number = reset + 1; number < last; number++) {
        do_damage(repo, number, number % DAMAGES);
        bool written = false;
        assert_ok(try_repair(repo, FULL, &written, err));
        assert_true(written);
        expect_nothing_to_do(repo);
        struct cs_store *store = open_store(repo);
        assert_int_equal(check_errors(store, NULL), 0);
        for (unsigned i = 0; i < h.count; i++)
            assert_true(h.made[i].forgotten != 0 || is_live(store, &h.made[i].id));
        cs_close(store);
        repo_restore(repo);
    }
    /* the reset itself, and the entries that it passed over once more */
    do_damage(repo, reset, FLIPPED);
    do_damage(repo, 11, DELETED);
    bool written = false;
    struct cs_store *store = NULL;
    assert_fails(CS_CORRUPT, try_open(&store, repo, APPEND, err));
    assert_ok(try_repair(repo, FULL, &written, err));
    assert_true(written);
    expect_nothing_to_do(repo);
    store = open_store(repo);
    assert_int_equal(check_errors(store, NULL), 0);
    for (unsigned i = 0; i < h.count; i++)
        assert_true(h.made[i].forgotten != 0 || is_live(store, &h.made[i].id));
    cs_close(store);
}

/* Damage that is undone afterwards changes nothing any more. */
static void test_what_was_repaired_stays_so(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    size_t len;
    make_history(repo, 12);
    entry_name(name, 8);
    uint8_t *data = file_read(repo, name, &len);
    file_remove(repo, name);
    expect_repaired(repo, FOUNDER, 8, 8);
    struct cs_store *store = open_as(repo, APPEND);
    size_t count = cs_archive_count(store);
    cs_close(store);
    file_write(repo, name, data, len);
    free(data);
    for (unsigned number = 9; number < 12; number++) {
        store = open_as(repo, APPEND);
        assert_int_equal(cs_archive_count(store), count);
        assert_int_equal(check_errors(store, NULL), 0);
        cs_close(store);
        do_damage(repo, number, CUT); /* passed over, whatever it is */
    }
    expect_nothing_to_do(repo);
}

static void test_entry_0_and_keys_that_may_not(void **state)
{
    struct repo *repo = *state;
    bool written;
    make_history(repo, 6);
    repo_save(repo);
    unsigned before = log_length(repo);
    do_damage(repo, 0, FLIPPED);
    assert_fails(CS_CORRUPT, try_repair(repo, FOUNDER, &written, err));
    repo_restore(repo);
    do_damage(repo, 7, FLIPPED);
    assert_fails(CS_AUTH, try_repair(repo, BACKUP, &written, err));
    assert_fails(CS_AUTH, try_repair(repo, APPEND, &written, err));
    assert_int_equal(log_length(repo), before);
    repo_restore(repo);
    do_damage(repo, (unsigned)h.key_entry[FULL], FLIPPED); /* its own entry */
    assert_fails(CS_AUTH, try_repair(repo, FULL, &written, err));
    assert_int_equal(log_length(repo), before);
}

/* Its owner has a program that does not ask. The reset says that all archives are gone. */
static void append_reset(const struct repo *repo, unsigned key, uint64_t from)
{
    struct cs_store *store = open_as(repo, key);
    struct cs_buf payload = {0}, entry = {0};
    struct cs_state lie = store->state;
    struct cs_log_head head = {
        .epoch = 0,
        .number = next_entry(store),
        .checkpoint = store->position.last_checkpoint,
        .reset = true,
        .signer = store->identity.slot,
    };
    char name[64];
    lie.archive_count = 0;
    memcpy(head.previous, store->position.head, CS_HASH_SIZE);
    cs_entry_begin(&payload, CS_ENTRY_RESET, 1);
    cs_put_u64(&payload, from);
    cs_entry_put_checkpoint(&payload, &lie);
    head.sealed = (uint32_t)(payload.len + CS_SEAL_OVERHEAD);
    assert_ok(cs_log_entry_build(store, &head, &payload, &entry, err));
    cs_entry_file(name, head.number);
    file_write(repo, name, entry.data, entry.len);
    cs_buf_clear(&payload);
    cs_buf_clear(&entry);
    cs_close(store);
}

static void test_a_reset_by_whoever_is_not_full_is_void(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 8);
    for (unsigned key = BACKUP; key <= APPEND; key++)
        for (uint64_t from = h.key_entry[key]; from < 9; from += 3) {
            append_reset(repo, key, from);
            for (unsigned reader = 0; reader < KEYS; reader++) {
                struct cs_store *store = open_as(repo, reader);
                for (unsigned i = 0; i < h.count; i++)
                    assert_true(h.made[i].forgotten != 0 || is_live(store, &h.made[i].id));
                cs_close(store);
            }
            expect_nothing_to_do(repo);
            struct cs_store *store = open_store(repo);
            assert_int_equal(check_errors(store, NULL), 0);
            backup(store); /* the chain goes on */
            cs_close(store);
        }
}

static bool is_warned(const struct repo *repo)
{
    struct cs_open_options options = {
        .secret = key_file(FOUNDER), .threads = 1, .state_dir = repo->heads};
    struct cs_store *store = open_with(repo, &options);
    bool warned = cs_rollback_warning(store) != NULL;
    cs_close(store);
    return warned;
}

/* Nor may a key that was removed pass over its removal; with the storage in its hands it can take
 * the entry away, but who has seen that remembers. */
static void test_a_reset_by_a_removed_key(void **state)
{
    struct repo *repo = *state;
    char name[FIXTURE_PATH];
    make_history(repo, 12);
    repo_save(repo);
    struct cs_store *store = open_store(repo), *removed = open_as(repo, FULL);
    struct cs_name slot = removed->identity.slot;
    uint64_t removal = next_entry(store);
    assert_ok(cs_key_remove(store, &slot, false, err));
    backup(store);
    cs_close(store);
    assert_false(is_warned(repo));
    for (unsigned deleted = 0; deleted < 2; deleted++) {
        /* it goes on behind an entry from before the removal */
        struct cs_buf payload = {0}, entry = {0};
        struct cs_log_head head = {.number = log_length(repo) + deleted,
                                   .reset = true,
                                   .checkpoint = removed->position.last_checkpoint,
                                   .signer = slot};
        memcpy(head.previous, removed->position.head, CS_HASH_SIZE);
        assert_int_equal(removed->position.next, removal);
        cs_entry_begin(&payload, CS_ENTRY_RESET, 1);
        cs_put_u64(&payload, removal);
        cs_entry_put_checkpoint(&payload, &removed->state);
        head.sealed = (uint32_t)(payload.len + CS_SEAL_OVERHEAD);
        assert_ok(cs_log_entry_build(removed, &head, &payload, &entry, err));
        snprintf(name, sizeof name, "log/0000000000000/%03x", (unsigned)head.number);
        file_write(repo, name, entry.data, entry.len);
        cs_buf_clear(&payload);
        cs_buf_clear(&entry);
        if (deleted == 0) { /* it does not follow the entry before it either: the log is damaged */
            assert_fails(CS_CORRUPT, try_open(&store, repo, FOUNDER, err));
            file_remove(repo, name);
            entry_name(name, (unsigned)removal);
            file_remove(repo, name);
        } else {
            assert_true(is_warned(repo));
        }
    }
    cs_close(removed);
}

/* An archive that came back has no author, whatever lies where its entry was. */
static void test_who_made_what_came_back(void **state)
{
    struct repo *repo = *state;
    struct cs_author author;
    bool written = false;
    make_history(repo, 12);
    unsigned lost = (unsigned)h.made[6].entry;
    do_damage(repo, lost, EXCHANGED);
    assert_ok(try_repair(repo, FOUNDER, &written, err));
    for (unsigned step = 0; step < 2; step++) {
        struct cs_store *store = open_store(repo);
        for (size_t i = 0; i < cs_archive_count(store); i++) {
            const struct cs_archive *archive = cs_archive_at(store, i);
            if (archive->entry == lost)
                assert_fails(step == 0 ? CS_CORRUPT : CS_NOT_FOUND,
                             cs_archive_author(store, archive, &author, err));
            else
                assert_ok(cs_archive_author(store, archive, &author, err));
        }
        cs_close(store);
        if (step == 0)
            do_damage(repo, lost, DELETED);
    }
}

/* A full key's that does not go on where it says is no history. */
static void test_a_reset_out_of_place_is_damage(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = NULL;
    make_history(repo, 8);
    append_reset(repo, FOUNDER, 7);
    assert_fails(CS_CORRUPT, try_open(&store, repo, APPEND, err));
    bool written = false;
    assert_ok(try_repair(repo, FULL, &written, err));
    assert_true(written);
}

static void test_a_remembered_head(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 12);
    struct cs_open_options options = {
        .secret = key_file(APPEND), .threads = 1, .state_dir = repo->heads};
    struct cs_store *store = open_with(repo, &options); /* remembers the last entry */
    cs_close(store);
    repo_save(repo);
    for (unsigned damage = 0; damage < DAMAGES; damage++) {
        do_damage(repo, (unsigned)h.last, FLIPPED); /* even if it is itself the damaged one */
        do_damage(repo, (unsigned)h.last - 2, damage);
        bool written = false;
        assert_ok(try_repair(repo, FOUNDER, &written, err));
        store = open_with(repo, &options);
        assert_null(cs_rollback_warning(store));
        cs_close(store);
        repo_restore(repo);
        store = open_with(repo, &options); /* which is older than what was seen now */
        assert_non_null(cs_rollback_warning(store));
        cs_close(store);
        options.accept_rollback = true;
        cs_close(open_with(repo, &options));
        options.accept_rollback = false;
    }
}

static void test_a_repair_after_a_rollback(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 12);
    struct cs_open_options options = {
        .secret = key_file(FOUNDER), .threads = 1, .state_dir = repo->heads, .even_damaged = true};
    struct cs_repair_log_options repair = {.report = report};
    bool written = false;
    cs_close(open_with(repo, &options));
    do_damage(repo, (unsigned)h.last, DELETED);
    do_damage(repo, 9, CUT);
    struct cs_store *store = open_with(repo, &options);
    assert_non_null(cs_log_damage(store));
    assert_non_null(cs_rollback_warning(store));
    assert_fails(CS_CORRUPT, cs_repair_log(store, &repair, &written, err));
    cs_close(store);
    options.accept_rollback = true;
    store = open_with(repo, &options);
    assert_ok(cs_repair_log(store, &repair, &written, err));
    assert_true(written);
    cs_close(store);
    options.accept_rollback = options.even_damaged = false;
    store = open_with(repo, &options);
    assert_null(cs_rollback_warning(store));
    cs_close(store);
}

/* Somebody who has it open sees that he has to begin anew. */
static void test_others_meanwhile(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 30);
    struct cs_store *other = open_as(repo, BACKUP);
    struct cs_writer *w = begin(other);
    struct cs_id record = put_object(w, 1, 300);
    do_damage(repo, 9, DELETED);
    bool written = false;
    assert_ok(try_repair(repo, FOUNDER, &written, err));
    assert_true(written);
    assert_fails(CS_CONFLICT, try_commit(w, &record, "late", NULL, err));
    cs_writer_end(w);
    cs_close(other);
    other = open_as(repo, BACKUP);
    commit_one(other, "later", 5);
    assert_int_equal(check_errors(other, NULL), 0);
    cs_close(other);
}

/* A checkpoint of our own that is no good is not needed. */
static void test_a_bad_checkpoint_of_our_own(void **state)
{
    struct repo *repo = *state;
    make_history(repo, 3);
    struct cs_store *store = open_store(repo);
    checkpoint(store);
    backup(store);
    struct cs_buf payload = {0};
    cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, 1);
    cs_put_u32(&payload, 99);
    assert_ok(cs_log_append(store, &payload, NULL, err));
    cs_buf_clear(&payload);
    backup(store);
    cs_close(store);
    store = open_store(repo);
    assert_int_equal(cs_archive_count(store), 5);
    cs_close(store);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_each_entry),
        with_repo(test_ranges),
        with_repo(test_damage_after_a_repair_and_of_it),
        with_repo(test_what_was_repaired_stays_so),
        with_repo(test_entry_0_and_keys_that_may_not),
        with_repo(test_a_reset_by_whoever_is_not_full_is_void),
        with_repo(test_a_reset_by_a_removed_key),
        with_repo(test_who_made_what_came_back),
        with_repo(test_a_reset_out_of_place_is_damage),
        with_repo(test_a_remembered_head),
        with_repo(test_a_repair_after_a_rollback),
        with_repo(test_others_meanwhile),
        with_repo(test_a_bad_checkpoint_of_our_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
