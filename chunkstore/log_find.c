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
        int rc = cs_log_head_read(store, at, &h, err);
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
        if (at <= options->end || (rc == 0 && h.checkpoint == 0))
            return 0;
        named = rc == 0;
        at = named ? h.checkpoint : at - 1;
        rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
}

static bool is_among(const struct cs_name *names, size_t n, const struct cs_name *name)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&names[i], name, sizeof *name) == 0)
            return true;
    return false;
}

int cs_log_passed_over(struct cs_store *store, uint64_t number, const struct cs_name *removed,
                       size_t n, bool *passed, bool *trusted, struct cs_error *err)
{
    struct cs_path_options options = {
        .end = number, .plain_head = store->position.void_head, .tolerant = true};
    struct cs_log_path path;
    *passed = false;
    *trusted = true;
    int rc = cs_log_find_path(store, store->position.next - 1, &options, &path, err);
    for (size_t i = 0; rc == 0 && i < path.count; i++) {
        const struct cs_reset *reset = &path.resets[i];
        struct cs_log_entry e;
        if (number < reset->from || number >= reset->number)
            continue;
        rc = cs_log_entry_read(store, &e, reset->number, err);
        if (rc < 0)
            break;
        const struct cs_state_key *key = cs_state_key(&store->state, &e.head.signer);
        *passed = true;
        *trusted &= key != NULL && key->role == CS_ROLE_FULL &&
                    !is_among(removed, n, &e.head.signer) &&
                    cs_log_entry_signed_by(store, &e, key->sign_public);
        cs_log_entry_clear(&e);
    }
    cs_log_path_clear(&path);
    return rc;
}
