/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens, lists, restores and checks; keeps all that was said about it. */
#include "judge.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/upkeep.h"
#include "tree_files.h"

enum { SAID = 1 << 16, SECONDS = 120 };

static char now_at[JUDGE_CASE]; /* for whoever finds that it hangs */
static char said[SAID];
static size_t said_len;

static void say(void *arg, const char *message)
{
    (void)arg;
    int n = snprintf(said + said_len, sizeof said - said_len, "%s\n", message);
    if (n > 0 && said_len + (size_t)n < sizeof said)
        said_len += (size_t)n;
}

static void problem(struct judge *j, const char *what)
{
    if (j->problems++ < 40)
        print_error("%s: %s\n%s", now_at, what, said);
}

static void hangs(int signal)
{
    static const char text[] = " takes for ever\n";
    (void)signal;
    if (write(STDERR_FILENO, now_at, strlen(now_at)) < 0 ||
        write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(3);
    _exit(2);
}

/* Only these have exit codes that mean: damage, no repository, wrong key, a newer format. */
static bool is_damage(int code)
{
    return code == CS_CORRUPT || code == CS_NO_REPOSITORY || code == CS_AUTH ||
           code == CS_UNSUPPORTED;
}

static int try_world(struct judge *j, struct cs_store **store, struct cs_error *err)
{
    const struct repo *repo = j->world->repo;
    struct cs_open_options options = {
        .secret = key_file(0),
        .threads = 1,
        .state_dir = repo->heads,
        .cache_dir = j->cached ? repo->cache : NULL,
    };
    unlink(j->world->head);
    store_file(j->world->head, j->world->seen, j->world->seen_len);
    return cs_open(store, repo->path, &options, err);
}

static const char *right_folder(const struct world *w, const struct cs_id *id)
{
    for (size_t i = 0; i < w->known_count; i++)
        if (memcmp(&w->known[i].id, id, sizeof *id) == 0)
            return w->known[i].folder;
    return NULL;
}

static size_t files_left(const char *folder)
{
    size_t n = 0;
    if (access(folder, F_OK) != 0)
        return 0;
    struct file_list list = list_tree(folder);
    for (size_t i = 0; i < list.count; i++)
        n += !list.files[i].folder;
    free(list.files);
    return n;
}

static bool restore(struct judge *j, struct cs_store *store, const struct cs_archive *archive)
{
    struct engine_restore_options options = {.to = "out"};
    struct engine_restore_result result;
    struct error err = {0};
    char first[128];
    const char *right = right_folder(j->world, &archive->id);
    int rc = engine_restore(store, archive, &options, &result, &err);
    engine_restore_result_clear(&result);
    if (rc < 0) {
        say(NULL, err.message);
        if (rc != ERROR_CORRUPT && rc != ERROR_AUTH)
            problem(j, "a restore fails with another code");
        if (files_left("out") > 0)
            problem(j, "a failed restore leaves files");
        j->withheld++;
    } else if (right == NULL) {
        problem(j, "nobody has made this archive");
    } else if (!same_trees("out", right, first)) {
        say(NULL, first);
        problem(j, "a restore gives wrong bytes");
    } else {
        j->restored++;
    }
    remove_tree("out");
    return rc == 0;
}

/* Whether a check, all data read, finds fault. */
static bool check(struct judge *j, struct cs_store *store)
{
    struct engine_check_options options = {.read_data = 1, .report = say};
    struct engine_check_result result;
    struct error err = {0};
    int rc = engine_check(store, &options, &result, &err);
    bool found = rc < 0 || result.errors > 0 || result.damaged_count > 0;
    if (rc < 0)
        say(NULL, err.message);
    if (rc < 0 && rc != ERROR_CORRUPT && rc != ERROR_AUTH)
        problem(j, "a check fails with another code");
    engine_check_result_clear(&result);
    return found;
}

__attribute__((format(printf, 2, 0))) static void begin_case(struct judge *j, const char *fmt,
                                                             va_list ap)
{
    vsnprintf(now_at, sizeof now_at, fmt, ap);
    said[0] = 0;
    said_len = 0;
    j->cases++;
    signal(SIGALRM, hangs);
    alarm(SECONDS);
}

static bool is_said(const char *text)
{
    return strstr(said, text) != NULL;
}

/* By its name, or as people call it. */
static bool is_named(const char *name)
{
    char text[64];
    const char *last = strrchr(name, '/'), *epoch = strrchr(name, '.');
    if (is_said(name))
        return true;
    if (strncmp(name, "log/", 4) == 0) {
        unsigned long number = strtoul(last + 1, NULL, 16);
        snprintf(text, sizeof text, "entry %lu", number);
        if (is_said(text))
            return true;
        snprintf(text, sizeof text, "entry %lu: does not follow the entry before it", number + 1);
        return is_said(text);
    }
    if (strncmp(name, "keys/", 5) == 0 && epoch != NULL) {
        snprintf(text, sizeof text, "keyring of epoch %lu", strtoul(epoch + 1, NULL, 16));
        return is_said(text);
    }
    /* nobody can tell that there was a slot */
    return strncmp(name, "keys/", 5) == 0 && is_said("key slots takes it");
}

void judge(struct judge *j, const char *name, const char *other, const char *fmt, ...)
{
    struct cs_store *store = NULL;
    struct cs_error err = {0};
    va_list ap;
    va_start(ap, fmt);
    begin_case(j, fmt, ap);
    va_end(ap);
    int rc = try_world(j, &store, &err);
    if (rc < 0) {
        j->refused++;
        say(NULL, err.message);
        if (!is_damage(rc) || err.code != rc || err.message[0] == 0)
            problem(j, "opening fails with another code");
    } else {
        bool warned = cs_rollback_warning(store) != NULL;
        if (warned)
            say(NULL, cs_rollback_warning(store));
        char *list = list_archives(store);
        for (size_t i = 0; i < cs_archive_count(store); i++)
            restore(j, store, cs_archive_at(store, i));
        if (!check(j, store))
            problem(j, "a check finds nothing");
        bool same_id =
            memcmp(cs_repository_id(store), &j->world->repo->id, sizeof(struct cs_id)) == 0;
        if (!warned && same_id && strcmp(list, j->world->list) != 0)
            problem(j, "other archives are listed, and nothing is said of it");
        free(list);
        cs_close(store);
        j->warned += warned;
        j->found += !warned;
    }
    if (name != NULL && !is_named(name) && (other == NULL || !is_named(other)))
        problem(j, "no message names it");
    alarm(0);
}

void judge_harmless(struct judge *j, const char *fmt, ...)
{
    struct cs_store *store = NULL;
    struct cs_error err = {0};
    va_list ap;
    va_start(ap, fmt);
    begin_case(j, fmt, ap);
    va_end(ap);
    if (try_world(j, &store, &err) < 0) {
        say(NULL, err.message);
        problem(j, "cannot be opened");
    } else {
        char *list = list_archives(store);
        if (cs_rollback_warning(store) != NULL || strcmp(list, j->world->list) != 0)
            problem(j, "other archives are listed");
        for (size_t i = 0; i < cs_archive_count(store); i++)
            if (!restore(j, store, cs_archive_at(store, i)))
                problem(j, "an archive cannot be restored");
        check(j, store);
        free(list);
        cs_close(store);
    }
    alarm(0);
}
