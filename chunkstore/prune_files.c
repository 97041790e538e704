/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of a repository as a prune sees them: what is there, what nobody knows, and deleting.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "prune.h"

enum { LEFT_BEHIND = 86400 /* seconds */ };

static const char *const folders[] = {[CS_FILE_PACK] = "packs", [CS_FILE_SEGMENT] = "segments"};

int cs_names_to_add(struct cs_names_to *list, const struct cs_name *name, struct cs_error *err)
{
    if ((list->count & (list->count - 1)) == 0) { /* room ends at the powers of two */
        struct cs_name *at =
            reallocarray(list->at, list->count > 0 ? 2 * list->count : 1, sizeof *at);
        if (at == NULL)
            return cs_fail_memory(err);
        list->at = at;
    }
    list->at[list->count++] = *name;
    return 0;
}

void cs_prune_file_name(char out[64], enum cs_file_kind kind, const struct cs_name *name)
{
    char hex[CS_NAME_HEX];
    snprintf(out, 64, "%s/%s", folders[kind], cs_name_hex(name, hex));
}

/* ---- listing ---- */

struct listing {
    struct cs_prune *prune;
    enum cs_file_kind kind;
};

static int see_file(void *arg, const char *text, struct cs_error *err)
{
    const struct listing *l = arg;
    struct cs_prune *p = l->prune;
    struct cs_listed file = {.kind = l->kind};
    char path[64];
    if (!cs_name_parse(&file.name, text))
        return 0;
    cs_prune_file_name(path, l->kind, &file.name);
    int rc = p->store->backend->ops->size(p->store->backend, path, &file.size, err);
    if (rc == CS_NOT_FOUND)
        return 0; /* deleted meanwhile */
    if (rc < 0)
        return rc;
    if ((p->file_count & (p->file_count - 1)) == 0) {
        size_t room = p->file_count > 0 ? 2 * p->file_count : 1;
        struct cs_listed *files = reallocarray(p->files, room, sizeof *files);
        if (files == NULL)
            return cs_fail_memory(err);
        p->files = files;
    }
    if (cs_names_add(&p->listed[l->kind], &file.name, (uint32_t)p->file_count) < 0)
        return cs_fail_memory(err);
    p->files[p->file_count++] = file;
    return 0;
}

int cs_prune_list(struct cs_prune *p, struct cs_error *err)
{
    int rc = 0;
    cs_prune_list_clear(p);
    /* packs last: those of every segment that was listed are there, unless they were deleted */
    for (unsigned kind = CS_FILE_KINDS; rc == 0 && kind-- > 0;) {
        struct listing l = {.prune = p, .kind = kind};
        rc = p->store->backend->ops->list(p->store->backend, folders[kind], see_file, &l, err);
    }
    return rc;
}

void cs_prune_list_clear(struct cs_prune *p)
{
    for (unsigned kind = 0; kind < CS_FILE_KINDS; kind++)
        cs_names_clear(&p->listed[kind]);
    free(p->files);
    p->files = NULL;
    p->file_count = 0;
}

const struct cs_listed *cs_prune_listed(const struct cs_prune *p, enum cs_file_kind kind,
                                        const struct cs_name *name)
{
    uint32_t position;
    return cs_names_find(&p->listed[kind], name, &position) ? &p->files[position] : NULL;
}

/* ---- orphans ---- */

static int is_old(struct cs_prune *p, const char *name, bool *old, struct cs_error *err)
{
    int64_t modified = 0;
    *old = false;
    int rc = p->store->backend->ops->modified(p->store->backend, name, &modified, err);
    if (rc == CS_NOT_FOUND)
        return 0;
    *old = rc == 0 && p->now - modified > CS_PRUNE_GRACE;
    return rc;
}

/* Files of a run that goes on may be among them: it will notice, but it would have to begin anew.
 */
int cs_prune_find_orphans(struct cs_prune *p, struct cs_error *err)
{
    const struct cs_state *state = &p->store->state;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->file_count; i++) {
        const struct cs_listed *f = &p->files[i];
        char path[64];
        bool old = true;
        if (cs_names_find(&state->live[f->kind], &f->name, NULL) ||
            cs_names_find(&state->dead[f->kind], &f->name, NULL))
            continue;
        cs_prune_file_name(path, f->kind, &f->name);
        if (!p->no_grace)
            rc = is_old(p, path, &old, err);
        if (rc == 0 && old)
            rc = cs_names_to_add(&p->orphans[f->kind], &f->name, err);
        else
            p->result->bytes_spared += f->size;
    }
    return rc;
}

/* ---- deleting ---- */

int cs_prune_sync_log(struct cs_store *store, struct cs_error *err)
{
    int rc = 0;
    for (uint64_t number = 0; rc == 0 && number < store->position.next; number += 1 << 12) {
        char folder[64];
        cs_entry_folder(folder, number);
        rc = store->backend->ops->sync(store->backend, folder, err);
        if (rc == CS_NOT_FOUND) /* a reset may have passed over all that was in it */
            rc = 0;
    }
    return rc < 0 ? rc : store->backend->ops->sync(store->backend, "log", err);
}

static int delete_file(struct cs_prune *p, enum cs_file_kind kind, const struct cs_name *name,
                       struct cs_error *err)
{
    char path[64];
    cs_prune_file_name(path, kind, name);
    int rc = p->store->backend->ops->remove(p->store->backend, path, err);
    if (rc == CS_NOT_FOUND) /* another prune does the same */
        rc = 0;
    return rc < 0 ? rc : cs_store_cancelled(p->store, err);
}

int cs_prune_delete(struct cs_prune *p, enum cs_file_kind kind, const struct cs_names_to *names,
                    struct cs_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < names->count; i++)
        rc = delete_file(p, kind, &names->at[i], err);
    return rc;
}

int cs_prune_delete_condemned(struct cs_prune *p, struct cs_names_to gone[CS_FILE_KINDS],
                              struct cs_error *err)
{
    const struct cs_state *state = &p->store->state;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < state->condemned_count; i++) {
        const struct cs_condemned *c = &state->condemned[i];
        if (cs_prune_listed(p, c->kind, &c->name) != NULL)
            rc = delete_file(p, c->kind, &c->name, err);
        else
            rc = cs_names_to_add(&gone[c->kind], &c->name, err);
    }
    return rc;
}

struct sweep {
    struct cs_prune *prune;
    int64_t now; /* at least that late it is by the clock that dates files */
};

static int sweep_file(void *arg, const char *text, struct cs_error *err)
{
    const struct sweep *sweep = arg;
    struct cs_backend *backend = sweep->prune->store->backend;
    char path[64];
    int64_t modified = 0;
    if (snprintf(path, sizeof path, "tmp/%s", text) >= (int)sizeof path)
        return 0;
    int rc = backend->ops->modified(backend, path, &modified, err);
    if (rc == 0 && sweep->now - modified > LEFT_BEHIND)
        rc = backend->ops->remove(backend, path, err);
    return rc == CS_NOT_FOUND ? 0 : rc;
}

/* Our own clock may be wrong, and others write here: the newest log entry tells the time. */
int cs_prune_sweep(struct cs_prune *p, struct cs_error *err)
{
    struct cs_backend *backend = p->store->backend;
    struct sweep sweep = {.prune = p};
    char newest[64];
    cs_entry_file(newest, p->store->position.next - 1);
    int rc = backend->ops->modified(backend, newest, &sweep.now, err);
    return rc < 0 ? rc : backend->ops->list(backend, "tmp", sweep_file, &sweep, err);
}
