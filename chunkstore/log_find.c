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

/* ---- the way through it ---- */

static int read_head(struct cs_store *store, uint64_t number, struct cs_log_head *head,
                     struct cs_error *err)
{
    char name[64];
    uint8_t data[CS_ENTRY_HEAD];
    cs_entry_file(name, number);
    int rc = cs_backend_read_exact(store->backend, name, 0, data, sizeof data, err);
    if (rc == 0)
        rc = cs_log_head_decode(head, data, sizeof data, number, err);
    if (rc == CS_NOT_FOUND)
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
    return rc;
}

/* Adds the reset ${number}, unless it is none, or a later one passes it over. */
static int add_reset(struct cs_store *store, uint64_t number, struct cs_log_path *path,
                     struct cs_error *err)
{
    struct cs_log_entry e;
    uint64_t from = 0;
    int rc = cs_log_entry_read(store, &e, number, err);
    if (rc == CS_NOT_FOUND)
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
    if (rc < 0)
        return rc;
    bool is_one = cs_state_reset_from(&from, number, e.payload, e.payload_len, NULL) == 0;
    cs_log_entry_clear(&e);
    if (!is_one || (path->count > 0 && path->resets[path->count - 1].from <= number))
        return 0;
    struct cs_reset *more = reallocarray(path->resets, path->count + 1, sizeof *more);
    if (more == NULL)
        return cs_fail_memory(err);
    path->resets = more;
    more[path->count++] = (struct cs_reset){.from = from, .number = number};
    return 0;
}

void cs_log_path_clear(struct cs_log_path *path)
{
    free(path->resets);
    *path = (struct cs_log_path){0};
}

int cs_log_find_path(struct cs_store *store, uint64_t head, const struct cs_path_options *options,
                     struct cs_log_path *path, struct cs_error *err)
{
    uint64_t at = head;
    bool named = false; /* by a later entry, as the last checkpoint */
    *path = (struct cs_log_path){0};
    for (;;) {
        struct cs_log_head h = {0};
        int rc = read_head(store, at, &h, err);
        bool own = memcmp(&h.signer, &store->identity.slot, sizeof h.signer) == 0;
        if (rc == 0 && named && own && at < options->below) {
            path->start = at;
            return 0;
        }
        if (rc == 0 && h.reset && (at != head || !options->plain_head))
            rc = add_reset(store, at, path, err);
        if (rc == 0 && h.checkpoint >= at && at > 0)
            rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": names a later checkpoint", at);
        if (rc < 0 && (rc == CS_NO_MEMORY || !options->tolerant))
            return rc;
        if (at == 0 || (rc == 0 && h.checkpoint == 0))
            return 0;
        named = rc == 0;
        at = named ? h.checkpoint : at - 1;
        rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
}

int cs_log_passed_over(struct cs_store *store, uint64_t number, bool *passed, struct cs_error *err)
{
    struct cs_path_options options = {.tolerant = true};
    struct cs_log_path path;
    *passed = false;
    int rc = cs_log_find_path(store, store->position.next - 1, &options, &path, err);
    for (size_t i = 0; rc == 0 && i < path.count; i++) {
        struct cs_log_entry e;
        if (number < path.resets[i].from || number >= path.resets[i].number ||
            cs_log_entry_read(store, &e, path.resets[i].number, NULL) < 0)
            continue;
        const struct cs_state_key *key = cs_state_key(&store->state, &e.head.signer);
        *passed |= key != NULL && key->role == CS_ROLE_FULL &&
                   cs_log_entry_signed_by(store, &e, key->sign_public);
        cs_log_entry_clear(&e);
    }
    cs_log_path_clear(&path);
    return rc;
}
