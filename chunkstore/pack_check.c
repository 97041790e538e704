/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding one frame of a pack against its checksum, its seal and the ids of its
 * objects, so that what is bad is proven bad. Where the data key is missing the
 * checksum has to do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pack_read.h"

int cs_frame_check_init(struct cs_frame_check *c, const struct cs_store *store,
                        struct cs_error *err)
{
    *c = (struct cs_frame_check){
        .bad = calloc(CS_PACK_MAX_OBJECTS, sizeof *c->bad),
        .sealed = malloc(CS_FRAME_MAX + CS_SEAL_OVERHEAD),
        .plain = malloc(CS_FRAME_MAX),
    };
    if (c->bad == NULL || c->sealed == NULL || c->plain == NULL)
        return cs_fail_memory(err);
    return cs_store_identifier(store, &c->identifier, err);
}

void cs_frame_check_clear(struct cs_frame_check *c)
{
    free(c->bad);
    free(c->sealed);
    free(c->plain);
    cs_identifier_free(c->identifier);
    cs_wipe(&c->opener, sizeof c->opener);
    *c = (struct cs_frame_check){0};
}

/* ---- in the owner's thread ---- */

void cs_frame_check_begin(struct cs_frame_check *c, struct cs_store *store,
                          const struct cs_pack *pack, uint32_t n)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    const struct cs_epoch *keys = NULL;
    c->backend = store->backend;
    c->pack = pack;
    c->number = n;
    c->unopened = false;
    c->no_key = pack->header.class == CS_DATA && cs_own_role(store) != CS_ROLE_FULL;
    c->key_rc = 0;
    if (c->no_key)
        return;
    if (cs_store_epoch(store, pack->trailer.origins[f->origin].epoch, &keys, &c->key_err) < 0)
        c->key_rc = CS_IO; /* that a keyring is damaged does not prove the frame to be */
    else
        c->key_rc = cs_frame_opener_make(&c->opener, store, pack, n, &c->key_err);
}

/* ---- in any thread ---- */

static int check_objects(struct cs_frame_check *c, const char *name, struct cs_error *err)
{
    const struct cs_trailer *t = &c->pack->trailer;
    const struct cs_frame *f = &t->frames[c->number];
    size_t at = 0;
    int rc = 0;
    for (uint16_t i = 0; i < f->objects; i++) {
        const struct cs_object *o = &t->objects[f->first + i];
        struct cs_id id;
        int failed = cs_identify(c->identifier, c->pack->header.class, o->type, c->plain + at,
                                 o->length, &id, err);
        if (failed < 0) /* which proves nothing */
            return failed;
        c->bad[i] = memcmp(&id, &o->id, sizeof id) != 0;
        if (c->bad[i]) {
            char hex[CS_ID_HEX];
            rc = cs_fail(err, CS_CORRUPT, "%s: object %s in frame %" PRIu32 " has other bytes",
                         name, cs_id_hex(&o->id, hex), c->number);
        }
        at += o->length;
    }
    return rc;
}

/* Opens what was read, where there is a key for it. */
static int open_frame(struct cs_frame_check *c, struct cs_error *err)
{
    if (c->key_rc < 0) {
        *err = c->key_err;
        return c->key_rc;
    }
    return cs_frame_open(&c->opener, c->sealed, c->plain, err);
}

int cs_frame_check_run(struct cs_frame_check *c, struct cs_error *err)
{
    char name[64];
    uint8_t checksum[CS_CHECKSUM_SIZE];
    const struct cs_frame *f = &c->pack->trailer.frames[c->number];
    cs_pack_file(name, &c->pack->name);
    int rc = cs_backend_read_exact(c->backend, name, f->offset, c->sealed, f->stored, err);
    if (rc == CS_CORRUPT ||
        rc == CS_NOT_FOUND) /* a file that is shorter than it was, is no proof */
        return cs_fail(err, CS_IO, "%s: frame %" PRIu32 " cannot be read", name, c->number);
    if (rc < 0)
        return rc;
    cs_checksum(checksum, c->sealed, f->stored);
    if (memcmp(checksum, f->checksum, sizeof checksum) != 0) {
        rc = cs_fail(err, CS_CORRUPT, "%s: frame %" PRIu32 " at %" PRIu64 " was altered", name,
                     c->number, f->offset);
    } else if (c->no_key) {
        c->unopened = true;
        return 0;
    } else {
        rc = open_frame(c, err);
    }
    if (rc == CS_CORRUPT)
        memset(c->bad, true, f->objects * sizeof *c->bad);
    return rc < 0 ? rc : check_objects(c, name, err);
}
