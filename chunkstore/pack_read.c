/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading packs. Nothing is handed on that was not held against its seal; an
 * object's id is held against its bytes by read.c.
 */
#include "pack_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compress.h"

void cs_pack_clear(struct cs_pack *pack)
{
    cs_trailer_clear(&pack->trailer);
}

/* Of what the log names: that may be damage, or a prune that was faster. */
static int missing(const char *name, struct cs_error *err)
{
    return cs_fail(err, CS_CORRUPT, "%s: is missing", name);
}

static int read_trailer(struct cs_pack *pack, struct cs_store *store, const char *name,
                        const uint8_t head[CS_PACK_HEADER_SIZE],
                        const uint8_t foot[CS_PACK_FOOTER_SIZE], struct cs_error *err)
{
    struct cs_footer footer;
    const struct cs_epoch *keys = NULL;
    uint8_t ad[CS_TRAILER_AD_SIZE], checksum[CS_CHECKSUM_SIZE];
    struct cs_buf all = {0};
    uint8_t *plain = NULL;
    int rc = cs_footer_decode(&footer, foot, name, err);
    if (rc < 0)
        return rc;
    if (footer.trailer_len <= CS_SEAL_OVERHEAD || footer.trailer_len > CS_TRAILER_MAX ||
        footer.trailer_at < CS_PACK_HEADER_SIZE ||
        footer.trailer_at > pack->size - CS_PACK_FOOTER_SIZE ||
        footer.trailer_len != pack->size - CS_PACK_FOOTER_SIZE - footer.trailer_at)
        return cs_fail(err, CS_CORRUPT,
                       "%s: its footer names a trailer at %" PRIu64 " that is not there", name,
                       footer.trailer_at);
    cs_put_bytes(&all, head, CS_PACK_HEADER_SIZE);
    cs_put_zeros(&all, footer.trailer_len);
    cs_put_bytes(&all, foot, CS_FOOTER_CHECKED);
    plain = malloc(footer.trailer_len);
    if (all.failed || plain == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    uint8_t *sealed = all.data + CS_PACK_HEADER_SIZE;
    rc = cs_backend_read_exact(store->backend, name, footer.trailer_at, sealed, footer.trailer_len,
                               err);
    if (rc < 0)
        goto out;
    cs_checksum(checksum, all.data, all.len);
    if (memcmp(checksum, foot + CS_FOOTER_CHECKED, CS_CHECKSUM_SIZE) != 0 ||
        footer.epoch != pack->header.epoch ||
        memcmp(&footer.pack, &pack->name, sizeof footer.pack) != 0 ||
        memcmp(&pack->header.id, &pack->name, sizeof pack->name) != 0) {
        rc = cs_fail(err, CS_CORRUPT, "%s: header, trailer at %" PRIu64 " or footer was altered",
                     name, footer.trailer_at);
        goto out;
    }
    rc = cs_store_epoch_of(store, footer.epoch, name, &keys, err);
    if (rc < 0)
        goto out;
    cs_trailer_identity(ad, &store->config.repository_id, &pack->name, footer.epoch,
                        footer.trailer_at, footer.trailer_len);
    if (!cs_unseal(plain, keys->trailer_key, ad, sizeof ad, sealed, footer.trailer_len))
        rc = cs_fail(err, CS_CORRUPT, "%s: its trailer at %" PRIu64 " cannot be opened", name,
                     footer.trailer_at);
    else
        rc = cs_trailer_decode(&pack->trailer, plain, footer.trailer_len - CS_SEAL_OVERHEAD,
                               &pack->header, footer.trailer_at, name, err);
out:
    cs_buf_clear(&all);
    free(plain);
    return rc;
}

int cs_pack_load(struct cs_pack *out, struct cs_store *store, const struct cs_name *id,
                 struct cs_error *err)
{
    char name[64];
    uint8_t head[CS_PACK_HEADER_SIZE], foot[CS_PACK_FOOTER_SIZE];
    struct cs_pack pack = {.name = *id};
    cs_pack_file(name, id);
    int rc = store->backend->ops->size(store->backend, name, &pack.size, err);
    if (rc < 0)
        return rc == CS_NOT_FOUND ? missing(name, err) : rc;
    if (pack.size < CS_PACK_HEADER_SIZE + CS_PACK_FOOTER_SIZE)
        return cs_fail(err, CS_CORRUPT, "%s: has %" PRIu64 " bytes, too few for a pack", name,
                       pack.size);
    rc = cs_backend_read_exact(store->backend, name, 0, head, sizeof head, err);
    if (rc == 0)
        rc = cs_pack_header_decode(&pack.header, head, name, err);
    if (rc == 0)
        rc = cs_backend_read_exact(store->backend, name, pack.size - CS_PACK_FOOTER_SIZE, foot,
                                   sizeof foot, err);
    if (rc == 0)
        rc = read_trailer(&pack, store, name, head, foot, err);
    if (rc == CS_NOT_FOUND) /* deleted since it was measured */
        rc = missing(name, err);
    if (rc < 0)
        cs_pack_clear(&pack);
    else
        *out = pack;
    return rc;
}

int cs_pack_read_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                       uint8_t *sealed, struct cs_error *err)
{
    char name[64];
    const struct cs_frame *f = &pack->trailer.frames[n];
    cs_pack_file(name, &pack->name);
    int rc = cs_backend_read_exact(store->backend, name, f->offset, sealed, f->stored, err);
    return rc == CS_NOT_FOUND ? missing(name, err) : rc;
}

static int frame_key(uint8_t key[CS_KEY_SIZE], struct cs_store *store, const struct cs_pack *pack,
                     const struct cs_origin *origin, struct cs_error *err)
{
    const struct cs_epoch *keys = NULL;
    int rc = cs_store_epoch(store, origin->epoch, &keys, err);
    if (rc < 0)
        return rc;
    if (pack->header.class == CS_META) {
        memcpy(key, keys->frame_key, CS_KEY_SIZE);
        return 0;
    }
    if (keys->keyring.role != CS_ROLE_FULL) {
        rc = cs_require_data_key(store, err);
        return rc < 0 ? rc
                      : cs_fail(err, CS_AUTH, "the keyring of epoch %u has no data key",
                                origin->epoch);
    }
    const struct cs_keyring *k = &keys->keyring;
    if (!cs_pack_data_key(key, k->data_private, origin->ephemeral, k->data_secret,
                          origin->ephemeral, k->data_public, &store->config.repository_id,
                          &origin->pack)) {
        char name[64];
        cs_pack_file(name, &pack->name);
        return cs_fail(err, CS_CORRUPT, "%s: an impossible public key", name);
    }
    return 0;
}

int cs_frame_opener_make(struct cs_frame_opener *opener, struct cs_store *store,
                         const struct cs_pack *pack, uint32_t n, struct cs_error *err)
{
    const struct cs_frame *f = &pack->trailer.frames[n];
    const struct cs_origin *origin = &pack->trailer.origins[f->origin];
    opener->frame = *f;
    opener->number = n;
    cs_pack_file(opener->file, &pack->name);
    cs_frame_identity(opener->ad, &store->config.repository_id, pack->header.class, origin, f);
    return frame_key(opener->key, store, pack, origin, err);
}

int cs_frame_open(const struct cs_frame_opener *o, uint8_t *sealed, uint8_t *plain,
                  struct cs_error *err)
{
    const struct cs_frame *f = &o->frame;
    bool raw = f->codec == CS_CODEC_RAW;
    size_t len = f->stored - CS_SEAL_OVERHEAD;
    /* what is compressed is opened where it lies: it goes to the place of its ciphertext */
    uint8_t *opened = raw ? plain : sealed + CS_SEAL_NONCE;
    if (!cs_unseal(opened, o->key, o->ad, sizeof o->ad, sealed, f->stored))
        return cs_fail(err, CS_CORRUPT, "%s: frame %" PRIu32 " at %" PRIu64 " was altered", o->file,
                       o->number, f->offset);
    if (!raw && !cs_expand(opened, len, plain, f->plain))
        return cs_fail(err, CS_CORRUPT,
                       "%s: frame %" PRIu32 " at %" PRIu64 " does not expand to %" PRIu32 " bytes",
                       o->file, o->number, f->offset, f->plain);
    return 0;
}

int cs_pack_open_frame(struct cs_store *store, const struct cs_pack *pack, uint32_t n,
                       uint8_t *sealed, uint8_t *plain, struct cs_error *err)
{
    struct cs_frame_opener opener;
    int rc = cs_frame_opener_make(&opener, store, pack, n, err);
    if (rc == 0)
        rc = cs_frame_open(&opener, sealed, plain, err);
    cs_wipe(&opener, sizeof opener);
    return rc;
}
