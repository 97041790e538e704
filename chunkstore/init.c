/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Founding a repository: config, the founder's key, entry 0 of the log, the two
 * first slots, the reserve. `config` comes last, for without it there is no
 * repository, and a half-made one can be deleted and made again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keys.h"
#include "log.h"
#include "recovery.h"
#include "reserve.h"

enum { RESERVE = 128 << 20, RESERVE_PART = 16 };

static void founding_entry(struct cs_buf *payload, const struct cs_store *store,
                           enum cs_slot_kind kind, const char *label,
                           const struct cs_keyring *keyring)
{
    cs_entry_begin(payload, CS_ENTRY_KEY, store->config.created);
    cs_put_u16(payload, 2);
    cs_put_key_add(payload, &store->identity, CS_ROLE_FULL, kind, label);
    cs_put_key_epoch(payload, 0, keyring->data_public);
}

static int write_config(struct cs_store *store, struct cs_error *err)
{
    uint8_t data[CS_CONFIG_SIZE];
    cs_config_encode(data, &store->config);
    int rc = cs_backend_put(store->backend, "config", data, sizeof data, false, err);
    if (rc < 0)
        return rc;
    /* the log rests on this: a file system on which a second create succeeds cannot be used */
    rc = cs_backend_put(store->backend, "config", data, sizeof data, false, err);
    if (rc < 0 && rc != CS_EXISTS)
        return rc;
    if (rc == 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "%s: this file system lets a file be created twice; no repository can be "
                       "kept there",
                       store->path);
    return store->backend->ops->sync(store->backend, ".", err);
}

static int write_reserve(struct cs_store *store, int64_t wanted, struct cs_error *err)
{
    uint64_t size = (uint64_t)wanted, free_bytes = 0;
    if (wanted == CS_RESERVE_DEFAULT) {
        int rc = cs_backend_local_free(store->path, &free_bytes, err);
        if (rc < 0)
            return rc;
        size = free_bytes / RESERVE_PART < RESERVE ? free_bytes / RESERVE_PART : RESERVE;
    }
    return cs_reserve_write(store, size, size, err);
}

/* A slot for another secret, beside the founder's. */
static int add_recovery(struct cs_store *store, char code[CS_RECOVERY_CODE_SIZE],
                        struct cs_error *err)
{
    uint8_t bytes[CS_RECOVERY_BYTES];
    struct cs_name slot;
    cs_random(bytes, sizeof bytes);
    cs_recovery_encode(code, bytes);
    cs_wipe(bytes, sizeof bytes);
    struct cs_secret secret = {.kind = CS_SLOT_RECOVERY, .data = code, .len = strlen(code)};
    return cs_key_add(store, &secret, CS_ROLE_FULL, "recovery code", &slot, err);
}

static int new_keys(struct cs_store *store, const struct cs_store *chunker_from,
                    struct cs_error *err)
{
    const struct cs_epoch *unused = NULL;
    struct cs_keyring keyring = {.role = CS_ROLE_FULL, .issuer = store->identity.slot};
    uint8_t sealed[CS_KEYRING_SIZE];
    char name[64];
    cs_random(keyring.id_key, CS_KEY_SIZE);
    cs_random(keyring.chunker_key, CS_KEY_SIZE);
    cs_random(keyring.fingerprint_key, CS_KEY_SIZE);
    if (chunker_from != NULL)
        memcpy(keyring.chunker_key, cs_store_keys(chunker_from)->chunker_key, CS_KEY_SIZE);
    cs_keyring_new_epoch(&keyring, 0);
    int rc =
        cs_keyring_seal(sealed, &keyring, CS_ROLE_FULL, &store->config.repository_id,
                        &store->identity.slot, store->identity.dh_public, &store->identity, err);
    memcpy(store->pins.data_public, keyring.data_public, CS_KEY_SIZE);
    cs_wipe(&keyring, sizeof keyring);
    cs_keyring_file(name, &store->identity.slot, 0);
    if (rc == 0)
        rc = cs_backend_put(store->backend, name, sealed, sizeof sealed, false, err);
    return rc < 0 ? rc : cs_store_epoch(store, 0, &unused, err);
}

static int found(struct cs_store *store, const struct cs_init_options *options,
                 char recovery_code[CS_RECOVERY_CODE_SIZE], struct cs_error *err)
{
    uint8_t config[CS_CONFIG_SIZE], slot[CS_SLOT_SIZE];
    char host[256] = "", name[64];
    struct cs_buf payload = {0};
    gethostname(host, sizeof host - 1);
    cs_config_new(&store->config, options->id_hash);
    cs_config_encode(config, &store->config);
    cs_hash(store->config_hash, config, sizeof config);
    cs_identity_new(&store->identity);
    store->pins.repository_id = store->config.repository_id;
    memcpy(store->pins.config_hash, store->config_hash, CS_HASH_SIZE);

    int rc = new_keys(store, options->chunker_from, err);
    if (rc < 0)
        return rc;
    /* entry 0 is sealed with the keys of epoch 0, which it names itself */
    store->state.epoch_count = 1;
    founding_entry(&payload, store, options->secret.kind, host, cs_store_keys(store));
    rc = cs_log_found(store, &payload, store->pins.first_entry_hash, err);
    store->state.epoch_count = 0;
    cs_buf_clear(&payload);
    if (rc == 0)
        rc = cs_slot_seal(slot, &store->identity, &store->pins, &options->secret, err);
    cs_slot_file(name, &store->identity.slot);
    if (rc == 0)
        rc = cs_backend_put(store->backend, name, slot, sizeof slot, false, err);
    if (rc == 0)
        rc = store->backend->ops->sync(store->backend, "keys", err);
    if (rc == 0)
        rc = cs_log_load(store, err);
    if (rc == 0)
        rc = add_recovery(store, recovery_code, err);
    if (rc == 0)
        rc = write_reserve(store, options->reserve, err);
    if (rc == 0)
        rc = write_config(store, err);
    return rc;
}

struct deletion {
    struct cs_backend *backend;
    const char *folder;
};

static int delete_file(void *arg, const char *name, struct cs_error *err)
{
    const struct deletion *d = arg;
    char path[128];
    (void)err;
    if (snprintf(path, sizeof path, "%s/%s", d->folder, name) < (int)sizeof path)
        d->backend->ops->remove(d->backend, path, NULL);
    return 0;
}

/* Takes back what was made in a folder that was empty before. */
static void undo(struct cs_store *store)
{
    static const char *const folders[] = {"keys", "log/0000000000000", "tmp"};
    static const char *const made[] = {"log/0000000000000", "keys", "log", "packs",
                                       "segments",          "tmp"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct deletion d = {.backend = store->backend, .folder = folders[i]};
        store->backend->ops->list(store->backend, folders[i], delete_file, &d, NULL);
    }
    store->backend->ops->remove(store->backend, "config", NULL);
    store->backend->ops->remove(store->backend, "reserve", NULL);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", store->path, made[i]) >= 0) {
            rmdir(path);
            free(path);
        }
    }
    rmdir(store->path); /* fails where something of others is in it */
}

int cs_init(const char *path, const struct cs_init_options *options,
            char recovery_code[CS_RECOVERY_CODE_SIZE], struct cs_id *repository_id,
            struct cs_error *err)
{
    int rc = cs_crypt_init(err);
    if (rc == 0)
        rc = cs_secret_check(&options->secret, err);
    if (rc < 0)
        return rc;
    struct cs_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return cs_fail_memory(err);
    store->path = strdup(path);
    if (store->path == NULL)
        rc = cs_fail_memory(err);
    if (rc == 0)
        rc = cs_backend_local(&store->backend, path, true, err);
    if (rc == 0) {
        rc = found(store, options, recovery_code, err);
        if (rc < 0)
            undo(store);
    }
    if (rc == 0)
        *repository_id = store->config.repository_id;
    else
        cs_wipe(recovery_code, CS_RECOVERY_CODE_SIZE);
    cs_close(store);
    return rc;
}
