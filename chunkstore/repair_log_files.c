/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the folders of a repository tell where entries of its log are lost: keys
 * whose files are gone, packs and segments that no entry names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pack_read.h"
#include "repair_log.h"
#include "state_parts.h"

/* ---- keys ---- */

struct slot { /* one that has files */
    struct cs_name name;
    bool file; /* its own; else only keyrings */
};

struct slots {
    struct slot *at;
    size_t count;
};

static int see_key_file(void *arg, const char *text, struct cs_error *err)
{
    struct slots *s = arg;
    char hex[CS_NAME_HEX] = "";
    struct cs_name name;
    size_t len = strlen(text), i = 0;
    memcpy(hex, text, len < sizeof hex ? len : sizeof hex - 1);
    if (!cs_name_parse(&name, hex) || (len > 32 && text[32] != '.'))
        return 0;
    while (i < s->count && memcmp(&s->at[i].name, &name, sizeof name) != 0)
        i++;
    if (i == s->count) {
        struct slot *slot = CS_STATE_GROW(s->at, s->count);
        if (slot == NULL)
            return cs_fail_memory(err);
        slot->name = name;
    }
    s->at[i].file |= len == 32;
    return 0;
}

/* Removing a key deletes its slot and its keyrings: where neither is left, that is what a lost
 * entry said. Nothing but the log tells who may do what, so that keys are never added. */
int cs_log_repair_keys(struct cs_log_repair *r, struct cs_error *err)
{
    struct slots slots = {0};
    char hex[CS_NAME_HEX];
    struct cs_backend *backend = r->store->backend;
    int rc = backend->ops->list(backend, "keys", see_key_file, &slots, err);
    for (size_t k = 0; rc == 0 && k < r->state.key_count; k++) {
        struct cs_state_key *key = &r->state.keys[k];
        size_t i = 0;
        while (i < slots.count && memcmp(&slots.at[i].name, &key->slot, sizeof key->slot) != 0)
            i++;
        if (key->removed || i < slots.count ||
            memcmp(&key->slot, &r->store->identity.slot, sizeof key->slot) == 0)
            continue;
        key->removed = true;
        key->last_epoch = (uint16_t)(r->state.epoch_count - 1);
        cs_log_repair_say(r, "key %s has no files any more: it counts as removed",
                          cs_name_hex(&key->slot, hex));
    }
    for (size_t i = 0; rc == 0 && i < slots.count; i++)
        if (slots.at[i].file && cs_state_key(&r->state, &slots.at[i].name) == NULL)
            cs_log_repair_say(r,
                              "key %s is not known to what is left of the log: it opens nothing; "
                              "add its secret anew with byre key add",
                              cs_name_hex(&slots.at[i].name, hex));
    free(slots.at);
    return rc;
}

/* ---- packs and segments ---- */

static const char *const folders[] = {[CS_FILE_PACK] = "packs", [CS_FILE_SEGMENT] = "segments"};

struct adoption {
    struct cs_log_repair *repair;
    enum cs_file_kind kind;
    struct cs_names there; /* names of all files */
    size_t adopted;
    struct cs_name *fresh; /* that the state does not know */
    size_t fresh_count;
};

static int see_file(void *arg, const char *text, struct cs_error *err)
{
    struct adoption *a = arg;
    const struct cs_state *state = &a->repair->state;
    struct cs_name name;
    if (!cs_name_parse(&name, text))
        return 0;
    if (cs_names_add(&a->there, &name, 0) < 0)
        return cs_fail_memory(err);
    if (cs_names_find(&state->live[a->kind], &name, NULL) ||
        cs_state_condemned(state, a->kind, &name))
        return 0;
    struct cs_name *slot = CS_STATE_GROW(a->fresh, a->fresh_count);
    if (slot == NULL)
        return cs_fail_memory(err);
    *slot = name;
    return 0;
}

/* Whether epoch ${epoch} of a file may be. */
static int begun(struct cs_log_repair *r, const char *folder, const struct cs_name *name,
                 uint16_t epoch, struct cs_error *err)
{
    char hex[CS_NAME_HEX];
    int rc = cs_log_repair_epochs(r, epoch);
    if (rc == CS_NO_MEMORY)
        return cs_fail_memory(err);
    return rc < 0 ? cs_fail(err, rc, "%s/%s: is of key epoch %u, which is not known", folder,
                            cs_name_hex(name, hex), epoch)
                  : 0;
}

/* Spared by a prune for a day, as if it had been published now. */
static int adopt_pack(struct cs_log_repair *r, const struct cs_name *name, struct cs_error *err)
{
    struct cs_pack pack;
    int rc = cs_pack_load(&pack, r->store, name, err);
    if (rc < 0)
        return rc;
    struct cs_state_pack *slot = NULL;
    rc = begun(r, folders[CS_FILE_PACK], name, pack.header.epoch, err);
    if (rc == 0) {
        slot = CS_STATE_GROW(r->state.packs, r->state.pack_count);
        rc = slot != NULL ? 0 : cs_fail_memory(err);
    }
    if (slot != NULL)
        *slot = (struct cs_state_pack){.id = *name,
                                       .size = pack.size,
                                       .class = pack.header.class,
                                       .published = (int64_t)time(NULL)};
    cs_pack_clear(&pack);
    return rc;
}

static int adopt_segment(struct cs_log_repair *r, const struct cs_name *name, struct cs_error *err)
{
    struct cs_state_segment found = {.id = *name};
    struct cs_segment segment;
    uint8_t header[CS_SEGMENT_HEADER] = {0};
    char path[64], hex[CS_NAME_HEX];
    snprintf(path, sizeof path, "segments/%s", cs_name_hex(name, hex));
    int rc = r->store->backend->ops->size(r->store->backend, path, &found.size, err);
    if (rc == 0)
        rc = cs_backend_read_exact(r->store->backend, path, 0, header, sizeof header, err);
    if (rc < 0)
        return rc;
    found.entries = cs_from_le64(header + 16);
    rc = begun(r, folders[CS_FILE_SEGMENT], name, cs_from_le16(header + 10), err);
    if (rc == 0)
        rc = cs_segment_fetch(&segment, r->store, &found, err);
    if (rc < 0)
        return rc;
    cs_segment_clear(&segment);
    struct cs_state_segment *slot = CS_STATE_GROW(r->state.segments, r->state.segment_count);
    if (slot == NULL)
        return cs_fail_memory(err);
    *slot = found;
    return 0;
}

/* Segments that are gone are gone; what they said is in those that took their place, or can be
 * told from the packs. As long as one is missing nothing can be read. */
static void drop_missing_segments(struct adoption *a)
{
    struct cs_state *state = &a->repair->state;
    size_t kept = 0;
    char hex[CS_NAME_HEX];
    for (size_t i = 0; i < state->segment_count; i++)
        if (cs_names_find(&a->there, &state->segments[i].id, NULL))
            state->segments[kept++] = state->segments[i];
        else
            cs_log_repair_say(a->repair, "segment %s is gone, and counts no longer",
                              cs_name_hex(&state->segments[i].id, hex));
    state->segment_count = kept;
}

static int adopt(struct cs_log_repair *r, enum cs_file_kind kind, struct cs_error *err)
{
    struct adoption a = {.repair = r, .kind = kind};
    struct cs_backend *backend = r->store->backend;
    int rc = backend->ops->list(backend, folders[kind], see_file, &a, err);
    for (size_t i = 0; rc == 0 && i < a.fresh_count; i++) {
        struct cs_error why;
        rc = kind == CS_FILE_PACK ? adopt_pack(r, &a.fresh[i], &why)
                                  : adopt_segment(r, &a.fresh[i], &why);
        if (rc == 0)
            a.adopted++;
        else if (cs_log_repair_is_damage(rc, &why)) {
            cs_log_repair_say(r, "%s, and no entry names it: it is left alone", why.message);
            rc = 0;
        } else {
            rc = cs_fail(err, rc, "%s", why.message);
        }
        if (rc == 0)
            rc = cs_store_cancelled(r->store, err);
    }
    if (rc == 0 && a.adopted > 0)
        cs_log_repair_say(r, "%zu %s that no entry names count%s again", a.adopted, folders[kind],
                          a.adopted == 1 ? "s" : "");
    if (rc == 0 && kind == CS_FILE_SEGMENT)
        drop_missing_segments(&a);
    if (rc == 0 && cs_state_make_names(&r->state) < 0)
        rc = cs_fail_memory(err);
    cs_names_clear(&a.there);
    free(a.fresh);
    return rc;
}

int cs_log_repair_files(struct cs_log_repair *r, struct cs_error *err)
{
    int rc = adopt(r, CS_FILE_PACK, err);
    return rc == 0 ? adopt(r, CS_FILE_SEGMENT, err) : rc;
}
