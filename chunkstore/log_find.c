/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the log ends, and from where it need be read. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log_entry.h"

struct numbers { /* names in a folder that are so many hex digits */
    size_t digits;
    uint64_t *at;
    size_t count;
    size_t room;
};

static int see_name(void *arg, const char *name, struct cs_error *err)
{
    struct numbers *n = arg;
    if (strlen(name) != n->digits || strspn(name, "0123456789abcdef") != n->digits)
        return 0;
    if (n->count == n->room) {
        size_t room = n->room > 0 ? 2 * n->room : 64;
        uint64_t *at = reallocarray(n->at, room, sizeof *at);
        if (at == NULL)
            return cs_fail_memory(err);
        n->at = at;
        n->room = room;
    }
    n->at[n->count++] = strtoull(name, NULL, 16);
    return 0;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int list_numbers(struct cs_store *store, const char *folder, struct numbers *n,
                        struct cs_error *err)
{
    int rc = store->backend->ops->list(store->backend, folder, see_name, n, err);
    if (rc == 0 && n->count > 1)
        qsort(n->at, n->count, sizeof *n->at, descending);
    return rc;
}

int cs_log_find_head(struct cs_store *store, uint64_t *number, struct cs_error *err)
{
    struct numbers folders = {.digits = 13};
    bool found = false;
    int rc = list_numbers(store, "log", &folders, err);
    for (size_t i = 0; rc == 0 && !found && i < folders.count; i++) {
        char name[64];
        struct numbers entries = {.digits = 3};
        cs_entry_folder(name, folders.at[i] << 12);
        rc = list_numbers(store, name, &entries, err);
        found = rc == 0 && entries.count > 0;
        if (found)
            *number = folders.at[i] << 12 | entries.at[0];
        free(entries.at);
    }
    free(folders.at);
    if (rc == 0 && !found)
        rc = cs_fail(err, CS_CORRUPT, "%s: the log has no entries", store->path);
    return rc;
}

int cs_log_find_checkpoint(struct cs_store *store, uint64_t head, uint64_t *number,
                           struct cs_error *err)
{
    uint64_t at = head;
    for (;;) {
        char name[64];
        uint8_t data[CS_ENTRY_HEAD];
        struct cs_log_head h = {0};
        cs_entry_file(name, at);
        int rc = cs_backend_read_exact(store->backend, name, 0, data, sizeof data, err);
        if (rc == 0)
            rc = cs_log_head_decode(&h, data, sizeof data, at, err);
        if (rc == CS_NOT_FOUND)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", at);
        if (rc < 0)
            return rc;
        if (at != head && memcmp(&h.signer, &store->identity.slot, sizeof h.signer) == 0) {
            *number = at;
            return 0;
        }
        if (h.checkpoint == 0) {
            *number = 0;
            return 0;
        }
        if (h.checkpoint >= at)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": names a later checkpoint", at);
        at = h.checkpoint;
    }
}
