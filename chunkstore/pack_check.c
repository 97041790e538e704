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

int cs_frame_check_init(struct cs_frame_check *c, struct cs_error *err)
{
    *c = (struct cs_frame_check){
        .bad = calloc(CS_PACK_MAX_OBJECTS, sizeof *c->bad),
        .sealed = malloc(CS_FRAME_MAX + CS_SEAL_OVERHEAD),
        .plain = malloc(CS_FRAME_MAX),
    };
    return c->bad == NULL || c->sealed == NULL || c->plain == NULL ? cs_fail_memory(err) : 0;
}

void cs_frame_check_clear(struct cs_frame_check *c)
{
    free(c->bad);
    free(c->sealed);
    free(c->plain);
    *c = (struct cs_frame_check){0};
}

static int check_objects(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                         struct cs_frame_check *c, const char *name, struct cs_error *err)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    size_t at = 0;
    int rc = 0;
    for (uint16_t i = 0; i < f->objects; i++) {
        const struct cs_object *o = &pack->trailer.objects[f->first + i];
        struct cs_id id;
        int failed =
            cs_object_id(store, pack->header.class, o->type, c->plain + at, o->length, &id, err);
        if (failed < 0) /* which proves nothing */
            return failed;
        c->bad[i] = memcmp(&id, &o->id, sizeof id) != 0;
        if (c->bad[i]) {
            char hex[CS_ID_HEX];
            rc = cs_fail(err, CS_CORRUPT, "%s: object %s in frame %" PRIu32 " has other bytes",
                         name, cs_id_hex(&o->id, hex), n);
        }
        at += o->length;
    }
    return rc;
}

int cs_pack_check_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                        struct cs_frame_check *c, struct cs_error *err)
{
    char name[64];
    uint8_t checksum[CS_CHECKSUM_SIZE];
    const struct cs_frame *f = &pack->trailer.frames[n];
    cs_pack_file(name, &pack->name);
    c->unopened = false;
    int rc = cs_pack_read_frame(store, pack, n, c->sealed, err);
    if (rc < 0) /* a file that is shorter than its size is no proof */
        return rc == CS_CORRUPT
                   ? cs_fail(err, CS_IO, "%s: frame %" PRIu32 " cannot be read", name, n)
                   : rc;
    cs_checksum(checksum, c->sealed, f->stored);
    if (memcmp(checksum, f->checksum, sizeof checksum) != 0) {
        rc = cs_fail(err, CS_CORRUPT, "%s: frame %" PRIu32 " at %" PRIu64 " was altered", name, n,
                     f->offset);
    } else if (pack->header.class == CS_DATA && cs_own_role(store) != CS_ROLE_FULL) {
        c->unopened = true;
        return 0;
    } else {
        const struct cs_epoch *keys = NULL;
        if (cs_store_epoch(store, pack->trailer.origins[f->origin].epoch, &keys, err) < 0)
            return CS_IO; /* that a keyring is damaged does not prove the frame to be */
        rc = cs_pack_open_frame(store, pack, n, c->sealed, c->plain, err);
    }
    if (rc == CS_CORRUPT)
        memset(c->bad, true, f->objects * sizeof *c->bad);
    return rc < 0 ? rc : check_objects(store, pack, n, c, name, err);
}
