/* SPDX-License-Identifier: BSD-2-Clause */
/* Forgetting archives, and changing their tags: an entry of the log each. What is not needed any
 * more stays where it is until a prune. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "reserve.h"

static int require_archive(const struct cs_store *store, const struct cs_id *id,
                           struct cs_error *err)
{
    char hex[CS_ID_HEX];
    if (cs_state_archive(&store->state, id) < store->state.archive_count)
        return 0;
    return cs_fail(err, CS_NOT_FOUND, "there is no archive %s", cs_id_hex(id, hex));
}

int cs_forget(struct cs_store *store, const struct cs_id *ids, size_t n, struct cs_error *err)
{
    struct cs_buf payload = {0};
    int rc = cs_log_may_append(store, CS_ENTRY_FORGET, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = require_archive(store, &ids[i], err);
    if (rc < 0 || n == 0)
        return rc;
    cs_entry_begin(&payload, CS_ENTRY_FORGET, (int64_t)time(NULL));
    cs_put_u32(&payload, (uint32_t)n);
    cs_put_bytes(&payload, ids, n * sizeof *ids);
    rc = cs_reserve_append(store, &payload, NULL, NULL, err);
    cs_reserve_put_back(store);
    cs_buf_clear(&payload);
    return rc;
}

static void put_tags(struct cs_buf *out, const char *const *tags, size_t n)
{
    cs_put_u16(out, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        cs_put_str16(out, tags[i]);
}

int cs_tag(struct cs_store *store, const struct cs_id *id, const char *const *remove,
           size_t remove_count, const char *const *add, size_t add_count, struct cs_error *err)
{
    struct cs_buf payload = {0};
    int rc = cs_log_may_append(store, CS_ENTRY_TAG, err);
    if (rc == 0)
        rc = require_archive(store, id, err);
    if (rc == 0 && remove_count + add_count > CS_TAG_CHANGES)
        rc = cs_fail(err, CS_USAGE, "%zu changes of tags are too many at once",
                     remove_count + add_count);
    if (rc < 0)
        return rc;
    cs_entry_begin(&payload, CS_ENTRY_TAG, (int64_t)time(NULL));
    cs_put_bytes(&payload, id->bytes, CS_ID_SIZE);
    put_tags(&payload, remove, remove_count);
    put_tags(&payload, add, add_count);
    rc = cs_log_append(store, &payload, NULL, err);
    cs_buf_clear(&payload);
    return rc;
}
