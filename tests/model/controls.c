/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults that the linker puts between the parts of the store, to show that the
 * model would find them; and checkpoints without the long log that they need.
 */
#include <stdlib.h>

#include "log.h"
#include "prune.h"
#include "reserve.h"
#include "worlds.h"

struct controls controls;

int __real_cs_log_append_if(struct cs_store *store, const struct cs_buf *payload,
                            int (*holds)(void *arg, struct cs_error *err), void *arg,
                            uint64_t *size, struct cs_error *err);
int __wrap_cs_log_append_if(struct cs_store *store, const struct cs_buf *payload,
                            int (*holds)(void *arg, struct cs_error *err), void *arg,
                            uint64_t *size, struct cs_error *err);
int __real_cs_reserve_append(struct cs_store *store, const struct cs_buf *payload,
                             int (*holds)(void *arg, struct cs_error *err), void *arg,
                             struct cs_error *err);
int __wrap_cs_reserve_append(struct cs_store *store, const struct cs_buf *payload,
                             int (*holds)(void *arg, struct cs_error *err), void *arg,
                             struct cs_error *err);
int __real_cs_log_checkpoint(struct cs_store *store, uint64_t *size, struct cs_error *err);
int __wrap_cs_log_checkpoint(struct cs_store *store, uint64_t *size, struct cs_error *err);
bool __real_cs_state_condemned(const struct cs_state *state, enum cs_file_kind kind,
                               const struct cs_name *name);
bool __wrap_cs_state_condemned(const struct cs_state *state, enum cs_file_kind kind,
                               const struct cs_name *name);

static bool is_condemn(const struct cs_buf *payload)
{
    return payload->len > 0 && payload->data[0] == CS_ENTRY_CONDEMN;
}

int __wrap_cs_log_append_if(struct cs_store *store, const struct cs_buf *payload,
                            int (*holds)(void *arg, struct cs_error *err), void *arg,
                            uint64_t *size, struct cs_error *err)
{
    if (is_condemn(payload) ? controls.prune_does_not_ask : controls.writer_does_not_ask)
        holds = NULL;
    return __real_cs_log_append_if(store, payload, holds, arg, size, err);
}

int __wrap_cs_reserve_append(struct cs_store *store, const struct cs_buf *payload,
                             int (*holds)(void *arg, struct cs_error *err), void *arg,
                             struct cs_error *err)
{
    const struct cs_step *step = arg;
    int rc = 0;
    for (unsigned kind = 0; rc == 0 && kind < CS_FILE_KINDS; kind++)
        if (controls.delete_first && is_condemn(payload))
            rc = cs_prune_delete(step->prune, kind, &step->condemned[kind], err);
    return rc < 0 ? rc : __real_cs_reserve_append(store, payload, holds, arg, err);
}

int __wrap_cs_log_checkpoint(struct cs_store *store, uint64_t *size, struct cs_error *err)
{
    if (controls.stale_checkpoint) {
        struct cs_buf payload = {0};
        cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, 1);
        cs_entry_put_checkpoint(&payload, &store->state);
        int rc = __real_cs_log_append_if(store, &payload, NULL, NULL, size, err);
        cs_buf_clear(&payload);
        return rc;
    }
    if (controls.checkpoint_always) {
        store->position.entries_since = UINT32_MAX;
        store->position.bytes_since = UINT32_MAX;
    }
    return __real_cs_log_checkpoint(store, size, err);
}

bool __wrap_cs_state_condemned(const struct cs_state *state, enum cs_file_kind kind,
                               const struct cs_name *name)
{
    if (controls.forget_the_gone)
        return cs_names_find(&state->dead[kind], name, NULL);
    return __real_cs_state_condemned(state, kind, name);
}
