/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pack on its way to the repository. The key of a data pack exists only
 * here, and only while the pack is written.
 */
#include "pack_write.h"

#include <stdlib.h>
#include <string.h>

struct cs_pack_writer {
    struct cs_store *store;
    struct cs_put *put;
    struct cs_pack_header header;
    uint8_t key[CS_KEY_SIZE]; /* of its frames */
    uint8_t trailer_key[CS_KEY_SIZE];
    uint64_t size;
    struct cs_trailer trailer; /* its first origin is the pack */
    size_t origin_room;
    size_t frame_room;
    size_t object_room;
};

static int make_key(struct cs_pack_writer *w, const struct cs_epoch *keys, struct cs_error *err)
{
    uint8_t private_key[CS_KEY_SIZE];
    if (w->header.class == CS_META) {
        memcpy(w->key, keys->frame_key, CS_KEY_SIZE);
        return 0;
    }
    cs_dh_keypair(w->header.ephemeral, private_key);
    bool good =
        cs_pack_data_key(w->key, private_key, keys->keyring.data_public, keys->keyring.data_secret,
                         w->header.ephemeral, keys->keyring.data_public,
                         &w->store->config.repository_id, &w->header.id);
    cs_wipe(private_key, sizeof private_key);
    return good ? 0
                : cs_fail(err, CS_CORRUPT, "the data public key of the repository is impossible");
}

/* On a dry run there is no file. */
static int put_bytes(struct cs_pack_writer *w, const uint8_t *data, size_t len,
                     struct cs_error *err)
{
    w->size += len;
    return w->put != NULL ? cs_backend_write(w->store->backend, w->put, data, len, err) : 0;
}

/* Doubles an array so that ${need} elements fit. */
static int make_room(void **array, size_t *room, size_t need, size_t size, struct cs_error *err)
{
    if (need <= *room)
        return 0;
    size_t bigger = *room > 0 ? *room : 64;
    while (bigger < need)
        bigger *= 2;
    void *p = reallocarray(*array, bigger, size);
    if (p == NULL)
        return cs_fail_memory(err);
    *array = p;
    *room = bigger;
    return 0;
}

static int add_origin(struct cs_pack_writer *w, const struct cs_origin *origin,
                      struct cs_error *err)
{
    struct cs_trailer *t = &w->trailer;
    int rc = make_room((void **)&t->origins, &w->origin_room, t->origin_count + 1,
                       sizeof *t->origins, err);
    if (rc == 0)
        t->origins[t->origin_count++] = *origin;
    return rc;
}

int cs_pack_writer_open(struct cs_pack_writer **out, struct cs_store *store, enum cs_class class,
                        bool dry_run, struct cs_error *err)
{
    char name[64];
    uint8_t head[CS_PACK_HEADER_SIZE];
    const struct cs_epoch *keys = NULL;
    struct cs_pack_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return cs_fail_memory(err);
    w->store = store;
    w->header.class = class;
    w->header.epoch = cs_store_current_epoch(store);
    cs_random(&w->header.id, sizeof w->header.id);
    cs_pack_file(name, &w->header.id);
    int rc = cs_store_epoch(store, w->header.epoch, &keys, err);
    if (rc == 0)
        rc = make_key(w, keys, err);
    if (rc == 0 && !dry_run)
        rc = store->backend->ops->create(store->backend, name, &w->put, err);
    if (rc == 0) {
        memcpy(w->trailer_key, keys->trailer_key, CS_KEY_SIZE);
        cs_pack_header_encode(head, &w->header);
        rc = put_bytes(w, head, sizeof head, err);
    }
    struct cs_origin own = {.pack = w->header.id, .epoch = w->header.epoch};
    memcpy(own.ephemeral, w->header.ephemeral, CS_KEY_SIZE);
    if (rc == 0)
        rc = add_origin(w, &own, err);
    if (rc < 0) {
        cs_pack_writer_abandon(w);
        return rc;
    }
    *out = w;
    return 0;
}

void cs_pack_writer_seal(const struct cs_pack_writer *w, uint8_t key[CS_KEY_SIZE],
                         struct cs_origin *origin)
{
    memcpy(key, w->key, CS_KEY_SIZE);
    *origin = w->trailer.origins[0];
}

const struct cs_name *cs_pack_writer_name(const struct cs_pack_writer *w)
{
    return &w->header.id;
}

uint64_t cs_pack_writer_size(const struct cs_pack_writer *w)
{
    return w->size;
}

static int append(struct cs_pack_writer *w, const struct cs_frame *frame, uint16_t origin,
                  const uint8_t *sealed, const struct cs_object *objects, struct cs_error *err)
{
    struct cs_trailer *t = &w->trailer;
    int rc =
        make_room((void **)&t->frames, &w->frame_room, t->frame_count + 1, sizeof *t->frames, err);
    if (rc == 0)
        rc = make_room((void **)&t->objects, &w->object_room, t->object_count + frame->objects,
                       sizeof *t->objects, err);
    if (rc == 0)
        rc = put_bytes(w, sealed, frame->stored, err);
    if (rc < 0)
        return rc;
    t->frames[t->frame_count] = *frame;
    t->frames[t->frame_count].offset = w->size - frame->stored;
    t->frames[t->frame_count++].origin = origin;
    memcpy(t->objects + t->object_count, objects, frame->objects * sizeof *objects);
    t->object_count += frame->objects;
    return 0;
}

int cs_pack_writer_add(struct cs_pack_writer *w, const struct cs_frame *frame,
                       const uint8_t *sealed, const struct cs_object *objects, struct cs_error *err)
{
    if (frame->number != w->trailer.frame_count)
        return cs_fail(err, CS_USAGE, "frame %u of a pack comes as number %zu", frame->number,
                       w->trailer.frame_count);
    return append(w, frame, 0, sealed, objects, err);
}

int cs_pack_writer_move(struct cs_pack_writer *w, const struct cs_frame *frame,
                        const struct cs_origin *origin, const uint8_t *sealed,
                        const struct cs_object *objects, struct cs_error *err)
{
    struct cs_trailer *t = &w->trailer;
    size_t i = t->origin_count; /* frames of one origin come one after the other, mostly */
    while (i > 1 && memcmp(&t->origins[i - 1].pack, &origin->pack, sizeof origin->pack) != 0)
        i--;
    if (i > 1)
        return append(w, frame, (uint16_t)(i - 1), sealed, objects, err);
    int rc = add_origin(w, origin, err);
    return rc < 0 ? rc : append(w, frame, (uint16_t)(t->origin_count - 1), sealed, objects, err);
}

bool cs_pack_writer_full(const struct cs_pack_writer *w, uint32_t stored, uint16_t objects)
{
    const struct cs_trailer *t = &w->trailer;
    return t->frame_count > 0 &&
           (w->size + stored > CS_PACK_TARGET || t->frame_count == CS_PACK_MAX_FRAMES ||
            t->origin_count == UINT16_MAX || t->object_count + objects > CS_PACK_MAX_OBJECTS);
}

/* Trailer and footer, as the end of the file. */
static int write_end(struct cs_pack_writer *w, struct cs_error *err)
{
    struct cs_buf plain = {0}, all = {0};
    uint8_t ad[CS_TRAILER_AD_SIZE], foot[CS_PACK_FOOTER_SIZE];
    int rc = 0;
    cs_trailer_encode(&plain, &w->trailer);
    struct cs_footer footer = {
        .trailer_at = w->size,
        .trailer_len = (uint32_t)(plain.len + CS_SEAL_OVERHEAD),
        .epoch = w->header.epoch,
        .pack = w->header.id,
    };
    cs_put_zeros(&all, CS_PACK_HEADER_SIZE + (size_t)footer.trailer_len + CS_FOOTER_CHECKED);
    if (plain.failed || all.failed) {
        rc = cs_fail_memory(err);
        goto out;
    }
    uint8_t *sealed = all.data + CS_PACK_HEADER_SIZE;
    cs_pack_header_encode(all.data, &w->header);
    cs_trailer_identity(ad, &w->store->config.repository_id, &w->header.id, footer.epoch,
                        footer.trailer_at, footer.trailer_len);
    cs_seal(sealed, w->trailer_key, ad, sizeof ad, plain.data, plain.len);
    cs_footer_encode(foot, &footer);
    memcpy(sealed + footer.trailer_len, foot, CS_FOOTER_CHECKED);
    cs_checksum(foot + CS_FOOTER_CHECKED, all.data, all.len);
    rc = put_bytes(w, sealed, footer.trailer_len, err);
    if (rc == 0)
        rc = put_bytes(w, foot, sizeof foot, err);
out:
    cs_buf_clear(&plain);
    cs_buf_clear(&all);
    return rc;
}

int cs_pack_writer_close(struct cs_pack_writer *w, struct cs_state_pack *pack, struct cs_error *err)
{
    int rc = write_end(w, err);
    if (rc == 0 && w->put != NULL) {
        rc = w->store->backend->ops->finish(w->put, false, err);
        w->put = NULL;
    }
    if (rc == 0)
        *pack =
            (struct cs_state_pack){.id = w->header.id, .size = w->size, .class = w->header.class};
    cs_pack_writer_abandon(w);
    return rc;
}

void cs_pack_writer_abandon(struct cs_pack_writer *w)
{
    if (w == NULL)
        return;
    if (w->put != NULL)
        w->store->backend->ops->abandon(w->put);
    cs_trailer_clear(&w->trailer);
    cs_wipe(w->key, sizeof w->key);
    cs_wipe(w->trailer_key, sizeof w->trailer_key);
    free(w);
}
