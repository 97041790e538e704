/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One small file per repository: the number and the hash of the last log entry
 * seen. It lies outside of the cache, for losing it loses a protection.
 */
#include "head.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

int cs_head_compare(struct cs_store *store, struct cs_error *err)
{
    if (store->state_dir == NULL)
        return 0;
    char *path = head_path(store);
    if (path == NULL)
        return cs_fail_memory(err);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int rc = errno == ENOENT ? 0 : cs_fail_sys(err, errno, "%s", path);
        free(path);
        return rc;
    }
    uint64_t number = 0;
    struct cs_id seen, found;
    struct cs_error why;
    int rc = 0;
    char line[32 + CS_ID_HEX] = "", *end = line;
    bool readable = fgets(line, sizeof line, file) != NULL;
    if (readable) {
        errno = 0;
        number = strtoull(line, &end, 10);
        end[strcspn(end, "\n")] = 0;
        readable = errno == 0 && end != line && *end == ' ' && cs_id_parse(&seen, end + 1);
    }
    fclose(file);
    if (!readable) {
        rc = cs_fail(err, CS_IO,
                     "%s: is damaged, so that a rolled-back repository would go unnoticed; delete "
                     "it to begin anew",
                     path);
        goto out;
    }
    uint64_t last = store->position.next - 1;
    if (store->damage != NULL)
        rc = cs_log_find_head(store, &last, err);
    bool older = number > last, passed = false;
    if (rc < 0 || (store->damage != NULL && !older))
        goto out;
    if (!older) {
        rc = hash_entry(store, number, found.bytes, &why);
        bool other = rc < 0 || memcmp(found.bytes, seen.bytes, CS_ID_SIZE) != 0;
        int asked = other ? cs_log_passed_over(store, number, &passed, err) : 0;
        if (rc == CS_NOT_FOUND)
            rc = cs_fail(&why, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
        if (asked < 0)
            rc = asked;
        else if (passed) /* its place was taken by a repair */
            rc = 0;
        else if (rc < 0)
            rc = cs_fail(err, rc, "%s", why.message);
        if (rc < 0)
            goto out;
    }
    store->head_remembered = number == last && !passed;
    if (older || (!passed && memcmp(found.bytes, seen.bytes, CS_ID_SIZE) != 0)) {
        store->head_remembered = false;
        int n = older ? asprintf(&store->rollback,
                                 "the repository was rolled back: its log ends at entry %" PRIu64
                                 ", and entry %" PRIu64 " has been seen from here",
                                 last, number)
                      : asprintf(&store->rollback,
                                 "the repository has another history than the one seen from here: "
                                 "entry %" PRIu64 " of its log was another",
                                 number);
        if (n < 0) {
            store->rollback = NULL;
            rc = cs_fail_memory(err);
        }
    }
out:
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
        good = fflush(file) == 0 && good;
        good = fsync(fileno(file)) == 0 && good;
        good = fclose(file) == 0 && good;
        if (!good || rename(temporary, path) < 0)
            unlink(temporary);
    }
    free(path);
    free(temporary);
}

void cs_head_adopt(const struct cs_store *store)
{
    const struct cs_backend_ops *ops = store->backend->ops;
    char folder[64];
    if (store->state_dir == NULL || store->head_remembered || store->damage != NULL)
        return;
    cs_entry_folder(folder, store->position.next - 1);
    if (ops->sync(store->backend, folder, NULL) == 0 && ops->sync(store->backend, "log", NULL) == 0)
        cs_head_remember(store);
}
