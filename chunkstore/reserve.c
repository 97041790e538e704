/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reserve: random bytes, so that no file system compresses them away, behind a few that say how
 * many there should be. A smaller one is put back after an emergency, and grows again later.
 */
#include "reserve.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

static const char name[] = "reserve";
static const char magic[8] = "byreresv";

enum { HEAD = 16, STEP = 1 << 20 };

int cs_reserve_write(struct cs_store *store, uint64_t size, uint64_t wanted, struct cs_error *err)
{
    const struct cs_backend_ops *ops = store->backend->ops;
    struct cs_put *put = NULL;
    if (size == 0)
        return 0;
    uint8_t *step = malloc(STEP);
    if (step == NULL)
        return cs_fail_memory(err);
    int rc = ops->create(store->backend, name, &put, err);
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t n = size - at < STEP ? (size_t)(size - at) : STEP;
        cs_random(step, n);
        if (at == 0 && n >= HEAD) {
            memcpy(step, magic, sizeof magic);
            cs_le64(step + 8, wanted);
        }
        rc = cs_backend_write(store->backend, put, step, n, err);
        at += n;
    }
    if (rc == 0) {
        rc = ops->finish(put, true, err);
        put = NULL;
    }
    if (put != NULL)
        ops->abandon(put);
    free(step);
    return rc;
}

/* What the reserve has, and what it should have. */
static int look(struct cs_store *store, uint64_t *size, uint64_t *wanted, struct cs_error *err)
{
    uint8_t head[HEAD];
    size_t got = 0;
    int rc = store->backend->ops->size(store->backend, name, size, err);
    if (rc == 0)
        rc = store->backend->ops->read(store->backend, name, 0, head, sizeof head, &got, err);
    if (rc < 0)
        return rc;
    *wanted = *size;
    if (got == sizeof head && memcmp(head, magic, sizeof magic) == 0)
        *wanted = cs_from_le64(head + 8);
    return 0;
}

int cs_reserve_give_up(struct cs_store *store, bool *given, struct cs_error *err)
{
    uint64_t size = 0, wanted = 0;
    *given = false;
    int rc = look(store, &size, &wanted, err);
    if (rc == CS_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = store->backend->ops->remove(store->backend, name, err);
    if (rc == 0) /* the space is not free before this is durable, on some file systems */
        rc = store->backend->ops->sync(store->backend, ".", err);
    if (rc < 0)
        return rc;
    store->reserve_wanted = wanted;
    *given = true;
    return 0;
}

void cs_reserve_put_back(struct cs_store *store)
{
    uint64_t size = 0, wanted = 0, room = 0;
    int rc = look(store, &size, &wanted, NULL);
    if (rc == CS_NOT_FOUND && store->reserve_wanted > 0)
        wanted = store->reserve_wanted;
    else if (rc < 0)
        return;
    if (cs_backend_local_free(store->path, &room, NULL) < 0)
        return;
    uint64_t n = wanted;
    while (n > room - room / 8) /* others need some too, now */
        n /= 2;
    if (n <= size || cs_reserve_write(store, n, wanted, NULL) < 0)
        return;
    store->backend->ops->sync(store->backend, ".", NULL);
    store->reserve_wanted = 0;
}

int cs_reserve_append(struct cs_store *store, const struct cs_buf *payload,
                      int (*holds)(void *arg, struct cs_error *err), void *arg,
                      struct cs_error *err)
{
    bool given = false;
    struct cs_error full = {0};
    int rc = cs_log_append_if(store, payload, holds, arg, NULL, &full);
    if (rc == CS_NO_SPACE) {
        int gave = cs_reserve_give_up(store, &given, err);
        if (gave < 0)
            return gave;
        if (given)
            return cs_log_append_if(store, payload, holds, arg, NULL, err);
    }
    return rc < 0 ? cs_fail(err, rc, "%s", full.message) : 0;
}
