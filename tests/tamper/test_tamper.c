/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whoever keeps the repository may do to its files what he likes: each is deleted, cut, flipped,
 * exchanged for others of this and other repositories, replayed. With BYRE_TAMPER_DEEP in the
 * environment every byte of every file is flipped, and every pair exchanged.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "judge.h"

enum { HEADER = 28, FLIPS = 12, NEIGHBOURS = 2 };

static bool deep(void)
{
    return getenv("BYRE_TAMPER_DEEP") != NULL;
}

static struct judge the_judge;

/* Nothing in a repository may make byre want more than it needs for one of this size. */
static void limit_memory(void)
{
#ifdef MEMORY_MAX
    const struct rlimit limit = {MEMORY_MAX, MEMORY_MAX};
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
#endif
}

static int setup(void **state)
{
    the_judge.world = world_new();
    *state = the_judge.world;
    limit_memory();
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

/* ---- files ---- */

static bool in_folder(const char *name, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(name, folder, n) == 0 && name[n] == '/';
}

static bool same_folder(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    return x != NULL && y != NULL && x - a == y - b && strncmp(a, b, (size_t)(x - a)) == 0;
}

/* The log of the world has many entries that are alike; unless all are asked for, those at its
 * beginning, around the checkpoint and at the end stand for them. */
static bool is_taken(const struct copy *copy, size_t i)
{
    if (deep() || !in_folder(copy->files[i].name, "log"))
        return true;
    size_t first = i, end = i;
    while (first > 0 && in_folder(copy->files[first - 1].name, "log"))
        first--;
    while (end < copy->count && in_folder(copy->files[end].name, "log"))
        end++;
    return i - first < 3 || end - i <= 4;
}

static void put(const struct world *w, const char *name, const struct stored *from)
{
    file_write(w->repo, name, from->data, from->len);
}

static void heal(const struct world *w, size_t i)
{
    put(w, w->now.files[i].name, &w->now.files[i]);
}

static void report(const char *what, const struct judge *before)
{
    const struct judge *j = &the_judge;
    printf("%s: %u cases: %u refused at opening, %u told from the head, %u found by a check; %u "
           "archives right, %u withheld; %u problems\n",
           what, j->cases - before->cases, j->refused - before->refused, j->warned - before->warned,
           j->found - before->found, j->restored - before->restored, j->withheld - before->withheld,
           j->problems - before->problems);
    fflush(stdout);
    assert_int_equal(j->problems, before->problems);
}

/* ---- one file ---- */

static void test_untouched(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    size_t sizes = 0;
    for (size_t i = 0; i < w->now.count; i++)
        sizes += w->now.files[i].len;
    printf("%zu files, %zu bytes\n", w->now.count, sizes);
    judge_harmless(&the_judge, "nothing is touched");
    report("untouched", &before);
}

static void cut_and_grow(const struct world *w)
{
    struct judge *j = &the_judge;
    for (size_t i = 0; i < w->now.count; i++) {
        const struct stored *f = &w->now.files[i];
        if (!is_taken(&w->now, i) || f->len == 0)
            continue;
        file_remove(w->repo, f->name);
        judge(j, f->name, NULL, "%s deleted", f->name);
        const size_t sizes[] = {0, f->len / 2, f->len - 1};
        for (size_t k = 0; k < 3; k++) {
            file_write(w->repo, f->name, f->data, sizes[k]);
            judge(j, f->name, NULL, "%s cut to %zu bytes", f->name, sizes[k]);
        }
        uint8_t *longer = malloc(f->len + 1);
        assert_non_null(longer);
        memcpy(longer, f->data, f->len);
        longer[f->len] = 0;
        file_write(w->repo, f->name, longer, f->len + 1);
        free(longer);
        judge(j, f->name, NULL, "%s with a byte behind its end", f->name);
        heal(w, i);
    }
}

static void test_cut_and_grown(void **state)
{
    struct judge before = the_judge;
    cut_and_grow(*state);
    report("deleted, cut, grown", &before);
    /* and with a cache that knows better */
    before = the_judge;
    the_judge.cached = true;
    judge_harmless(&the_judge, "a cache is made");
    cut_and_grow(*state);
    the_judge.cached = false;
    report("the same with a cache", &before);
}

static void flip(const struct world *w, size_t i, size_t at)
{
    const struct stored *f = &w->now.files[i];
    uint8_t bit = (uint8_t)(1U << ((at * 5 + i) % 8));
    f->data[at] ^= bit;
    heal(w, i);
    f->data[at] ^= bit;
    judge(&the_judge, f->name, NULL, "%s: bit %u of byte %zu of %zu flipped", f->name, bit, at,
          f->len);
}

static void test_flipped(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    for (size_t i = 0; i < w->now.count; i++) {
        size_t len = w->now.files[i].len;
        if (!is_taken(&w->now, i))
            continue;
        for (size_t at = 0; at < len; at++)
            if (deep() || at < HEADER || at == len - 1 || at % (len / FLIPS + 1) == 0)
                flip(w, i, at);
        heal(w, i);
    }
    report("a bit flipped", &before);
}

static void test_renamed(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    for (size_t i = 0; i < w->now.count; i++) {
        const struct stored *f = &w->now.files[i];
        char name[WORLD_NAME];
        if (!is_taken(&w->now, i) || strchr(f->name, '/') == NULL)
            continue;
        snprintf(name, sizeof name, "%s", f->name);
        char *digit = strrchr(name, '/') + 1;
        if (in_folder(name, "log"))
            *digit = *digit == '0' ? '3' : '0'; /* 3xx: beyond the end */
        else
            *digit = *digit == 'f' ? 'e' : 'f';
        file_remove(w->repo, f->name);
        put(w, name, f);
        judge(&the_judge, f->name, name, "%s renamed to %s", f->name, name);
        file_remove(w->repo, name);
        heal(w, i);
    }
    report("renamed", &before);
}

/* ---- files for each other ---- */

static void test_swapped(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    for (size_t i = 0; i < w->now.count; i++) {
        const struct stored *f = &w->now.files[i];
        unsigned others = 0;
        for (size_t k = i + 1; k < w->now.count && is_taken(&w->now, i); k++) {
            const struct stored *g = &w->now.files[k];
            if (!same_folder(f->name, g->name) || !is_taken(&w->now, k) ||
                (!deep() && others == NEIGHBOURS))
                continue;
            others++;
            put(w, f->name, g);
            put(w, g->name, f);
            judge(&the_judge, f->name, g->name, "%s and %s swapped", f->name, g->name);
            heal(w, i);
            heal(w, k);
        }
    }
    report("swapped", &before);
}

/* Each replaced by one of each other folder. */
static void test_wrong_types(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    for (size_t i = 0; i < w->now.count; i++) {
        const struct stored *f = &w->now.files[i];
        if (!is_taken(&w->now, i))
            continue;
        for (size_t k = 0; k < w->now.count; k++) {
            const struct stored *g = &w->now.files[k];
            bool first = k == 0 || !same_folder(g->name, w->now.files[k - 1].name);
            if (!first || i == k || same_folder(f->name, g->name))
                continue;
            put(w, f->name, g);
            judge(&the_judge, f->name, NULL, "%s in the place of %s", g->name, f->name);
        }
        heal(w, i);
    }
    report("wrong types", &before);
}

static size_t next_in(const struct copy *copy, const char *folder, size_t from)
{
    while (from < copy->count && !in_folder(copy->files[from].name, folder))
        from++;
    return from;
}

/* Each replaced by one of its kind from ${from}: of the same name, else (packs, segments, keys) any
 * that is not here. */
static void replace_each(const struct world *w, const struct copy *from)
{
    static const char *const folders[] = {"keys", "packs", "segments"};
    for (size_t i = 0; i < w->now.count; i++) {
        const struct stored *f = &w->now.files[i];
        size_t k = copy_find(from, f->name);
        if (!is_taken(&w->now, i))
            continue;
        for (size_t d = 0; k == from->count && d < 3; d++)
            if (in_folder(f->name, folders[d]))
                for (k = next_in(from, folders[d], 0);
                     k < from->count && copy_find(&w->now, from->files[k].name) < w->now.count;)
                    k = next_in(from, folders[d], k + 1);
        if (k == from->count ||
            (from->files[k].len == f->len && memcmp(from->files[k].data, f->data, f->len) == 0))
            continue;
        put(w, f->name, &from->files[k]);
        judge(&the_judge, f->name, NULL, "%s replaced by %s %s", f->name, from->files[k].name,
              from->what);
        heal(w, i);
    }
}

static void test_of_others(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    replace_each(w, &w->older);
    replace_each(w, &w->fork);
    replace_each(w, &w->other);
    report("those of others", &before);
}

/* Entries again behind the end of the log, where others wrote theirs, and behind a gap. */
static void test_replayed(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    char name[FIXTURE_PATH], next[FIXTURE_PATH];
    unsigned end = log_length(w->repo);
    const struct copy *from[] = {&w->now, &w->older, &w->fork, &w->other};
    entry_name(next, end);
    for (size_t c = 0; c < 4; c++)
        for (size_t i = next_in(from[c], "log", 0); i < from[c]->count;
             i = next_in(from[c], "log", i + 1)) {
            if (!is_taken(from[c], i))
                continue;
            for (unsigned at = end; at <= end + 1; at++) {
                entry_name(name, at);
                put(w, name, &from[c]->files[i]);
                judge(&the_judge, name, next, "%s, %s, as entry %u", from[c]->files[i].name,
                      from[c]->what, at);
                file_remove(w->repo, name);
            }
        }
    report("replayed", &before);
}

/* ---- whole folders ---- */

static const char *const parts[] = {"config", "keys", "log", "packs", "segments"};
enum { PARTS = 5 };

static bool in_part(const char *name, unsigned part)
{
    return part == 0 ? strcmp(name, "config") == 0 : in_folder(name, parts[part]);
}

/* Whether ${mask}'s parts of both have the same names and bytes. */
static bool same_parts(const struct copy *a, const struct copy *b, unsigned mask)
{
    const struct copy *both[] = {a, b};
    for (unsigned part = 0; part < PARTS; part++)
        for (unsigned side = 0; side < 2 && (mask >> part & 1) != 0; side++)
            for (size_t i = 0; i < both[side]->count; i++) {
                const struct stored *f = &both[side]->files[i];
                const struct copy *there = both[!side];
                if (!in_part(f->name, part))
                    continue;
                size_t k = copy_find(there, f->name);
                if (k == there->count || there->files[k].len != f->len ||
                    memcmp(there->files[k].data, f->data, f->len) != 0)
                    return false;
            }
    return true;
}

static void take_part(const struct world *w, const struct copy *from, unsigned part)
{
    for (size_t i = 0; i < w->now.count; i++)
        if (in_part(w->now.files[i].name, part))
            file_remove(w->repo, w->now.files[i].name);
    for (size_t i = 0; i < from->count; i++)
        if (in_part(from->files[i].name, part))
            put(w, from->files[i].name, &from->files[i]);
}

/* Some folders as they were once, or of another repository; at last all of it. */
static void test_folders(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    const struct copy *from[] = {&w->older, &w->fork, &w->other};
    for (size_t c = 0; c < 3; c++)
        for (unsigned mask = 1; mask < 1U << PARTS; mask++) {
            char what[64] = "";
            if (same_parts(&w->now, from[c], mask))
                continue;
            /* all of another repository is another repository, and right */
            if (from[c] == &w->other && mask == (1U << PARTS) - 1)
                continue;
            for (unsigned part = 0; part < PARTS; part++)
                if ((mask >> part & 1) != 0) {
                    take_part(w, from[c], part);
                    strcat(strcat(what, " "), parts[part]);
                }
            judge(&the_judge, NULL, NULL, "%s %s", what, from[c]->what);
            copy_put_back(w->repo, &w->now);
        }
    report("whole folders", &before);
}

/* ---- what does not matter ---- */

/* Files that nothing names: leftovers of others, garbage, slots of another repository that the same
 * key file opens. */
static void test_strangers(void **state)
{
    struct judge before = the_judge;
    const struct world *w = *state;
    const struct copy *from[] = {&w->fork, &w->other};
    for (size_t c = 0; c < 2; c++) {
        for (size_t i = 0; i < from[c]->count; i++) {
            const char *name = from[c]->files[i].name;
            if (copy_find(&w->now, name) == w->now.count && !in_folder(name, "log"))
                put(w, name, &from[c]->files[i]);
        }
        judge_harmless(&the_judge, "all files %s beside", from[c]->what);
        copy_put_back(w->repo, &w->now);
    }
    static const char *const names[] = {
        "tmp/0123456789abcdef0123456789abcdef",
        "packs/0123456789abcdef0123456789abcdef",
        "segments/0123456789abcdef0123456789abcdef",
        "keys/0123456789abcdef0123456789abcdef",
        "keys/0123456789abcdef0123456789abcdef.0000",
        "keys/x",
        "log/0000000000000/00x",
        "log/0000000000000/1000",
        "log/0000000000000/0",
        "packs/..x",
        "reserve",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t len = 0; len < 1000; len += 448) {
            uint8_t garbage[1000];
            noise(garbage, len, i);
            file_write(w->repo, names[i], garbage, len);
            judge_harmless(&the_judge, "%zu bytes of garbage as %s", len, names[i]);
            file_remove(w->repo, names[i]);
        }
    report("strangers", &before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched), cmocka_unit_test(test_cut_and_grown),
        cmocka_unit_test(test_flipped),   cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_swapped),   cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_of_others), cmocka_unit_test(test_replayed),
        cmocka_unit_test(test_folders),   cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_untouched),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
