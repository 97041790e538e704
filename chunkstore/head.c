/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One small file per repository: the number and the hash of the last log entry
 * seen, and below it the keys that had been removed by then, whose resets are
 * none. It lies outside of the cache, for losing it loses a protection.
 */
#include "head.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log_entry.h"

static char *head_path(const struct cs_store *store)
{
    char *path = NULL;
    return asprintf(&path, "%s/head", store->state_dir) < 0 ? NULL : path;
}

/* The hash of entry ${number} as it is in the repository now. */
static int hash_entry(struct cs_store *store, uint64_t number, uint8_t hash[CS_HASH_SIZE],
                      struct cs_error *err)
{
    char name[64];
    uint8_t *data = NULL;
    size_t len = 0;
    cs_entry_file(name, number);
    int rc = cs_backend_read_all(store->backend, name, CS_ENTRY_MAX, &data, &len, err);
    if (rc == 0)
        cs_hash(hash, data, len);
    free(data);
    return rc;
}

struct remembered { /* as the file says */
    uint64_t number;
    struct cs_id hash;
    struct cs_name *removed; /* keys that were no more by then */
    size_t count;
};

static bool read_remembered(FILE *file, struct remembered *m)
{
    char line[32 + CS_ID_HEX] = "", *end = line;
    if (fgets(line, sizeof line, file) == NULL)
        return false;
    errno = 0;
    m->number = strtoull(line, &end, 10);
    end[strcspn(end, "\n")] = 0;
    if (errno != 0 || end == line || *end != ' ' || !cs_id_parse(&m->hash, end + 1))
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        struct cs_name *more = reallocarray(m->removed, m->count + 1, sizeof *more);
        if (more == NULL)
            return false;
        m->removed = more;
        line[strcspn(line, "\n")] = 0;
        if (!cs_name_parse(&more[m->count++], line))
            return false;
    }
    return true;
}

/* Puts on record what is wrong with the log. */
static int roll_back(struct cs_store *store, struct cs_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int roll_back(struct cs_store *store, struct cs_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&store->rollback, fmt, args);
    va_end(args);
    if (n >= 0)
        return 0;
    store->rollback = NULL;
    return cs_fail_memory(err);
}

static int compare(struct cs_store *store, const struct remembered *m, struct cs_error *err)
{
    uint64_t last = store->position.next - 1;
    struct cs_id found;
    int rc = store->damage != NULL ? cs_log_find_head(store, &last, err) : 0;
    if (rc < 0)
        return rc;
    if (m->number > last)
        return roll_back(store, err,
                         "the repository was rolled back: its log ends at entry %" PRIu64
                         ", and entry %" PRIu64 " has been seen from here",
                         last, m->number);
    if (store->damage != NULL)
        return 0;
    bool passed = false, trusted = false;
    rc = cs_log_passed_over(store, m->number, m->removed, m->count, &passed, &trusted, err);
    if (rc < 0 || (passed && trusted)) /* its place was taken by a repair */
        return rc;
    if (passed)
        return roll_back(store, err,
                         "a key that had been removed has reset the log to before entry %" PRIu64
                         ", which has been seen from here",
                         m->number);
    rc = hash_entry(store, m->number, found.bytes, err);
    if (rc == CS_NOT_FOUND)
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", m->number);
    if (rc < 0)
        return rc;
    if (memcmp(found.bytes, m->hash.bytes, CS_ID_SIZE) == 0) {
        store->head_remembered = m->number == last;
        store->durable = m->number + 1; /* or it would not have been remembered */
        return 0;
    }
    return roll_back(store, err,
                     "the repository has another history than the one seen from here: entry "
                     "%" PRIu64 " of its log was another",
                     m->number);
}

int cs_head_compare(struct cs_store *store, struct cs_error *err)
{
    struct remembered m = {0};
    if (store->state_dir == NULL)
        return 0;
    char *path = head_path(store);
    if (path == NULL)
        return cs_fail_memory(err);
    int rc = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        rc = errno == ENOENT ? 0 : cs_fail_sys(err, errno, "%s", path);
        goto out;
    }
    bool readable = read_remembered(file, &m);
    fclose(file);
    if (!readable)
        rc = cs_fail(err, CS_IO,
                     "%s: is damaged, so that a rolled-back repository would go unnoticed; delete "
                     "it to begin anew",
                     path);
    else
        rc = compare(store, &m, err);
out:
    free(m.removed);
    free(path);
    return rc;
}

static int make_folders(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return ENOMEM;
    int sys = 0;
    for (char *p = copy + 1; sys == 0; p++) {
        char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            sys = errno;
        *p = c;
        if (c == 0)
            break;
    }
    free(copy);
    return sys;
}

void cs_head_remember(const struct cs_store *store)
{
    if (store->state_dir == NULL || store->rollback != NULL)
        return;
    if (make_folders(store->state_dir) != 0)
        return;
    char *path = head_path(store), *temporary = NULL;
    if (path == NULL || asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0) {
        free(path);
        return;
    }
    char hex[CS_ID_HEX];
    struct cs_id hash;
    memcpy(hash.bytes, store->position.head, CS_HASH_SIZE);
    FILE *file = fopen(temporary, "we");
    if (file != NULL) {
        bool good =
            fprintf(file, "%" PRIu64 " %s\n", store->position.next - 1, cs_id_hex(&hash, hex)) > 0;
        for (size_t i = 0; good && i < store->state.key_count; i++)
            if (store->state.keys[i].removed)
                good = fprintf(file, "%s\n", cs_name_hex(&store->state.keys[i].slot, hex)) > 0;
        good = fflush(file) == 0 && good;
        good = fsync(fileno(file)) == 0 && good;
        good = fclose(file) == 0 && good;
        if (!good || rename(temporary, path) < 0)
            unlink(temporary);
    }
    free(path);
    free(temporary);
}

void cs_head_adopt(struct cs_store *store)
{
    const struct cs_backend_ops *ops = store->backend->ops;
    char folder[64];
    if (store->state_dir == NULL || store->head_remembered || store->damage != NULL)
        return;
    cs_entry_folder(folder, store->position.next - 1);
    if (ops->sync(store->backend, folder, NULL) < 0 || ops->sync(store->backend, "log", NULL) < 0)
        return;
    store->durable = store->position.next;
    cs_head_remember(store);
}
