/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a repository: the slot that the secret opens, its pins, the keyrings,
 * the log. Also the accessors of an open store.
 */
#include "store.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "head.h"
#include "index.h"
#include "log.h"
#include "pack_read.h"
#include "repair_log.h"

const char *cs_role_name(enum cs_role role)
{
    switch (role) {
    case CS_ROLE_FULL:
        return "full";
    case CS_ROLE_BACKUP:
        return "backup";
    case CS_ROLE_APPEND:
        return "append";
    }
    return "unknown";
}

int cs_role_parse(const char *name)
{
    for (int role = CS_ROLE_FULL; role <= CS_ROLE_APPEND; role++)
        if (strcmp(name, cs_role_name(role)) == 0)
            return role;
    return 0;
}

const struct cs_id *cs_repository_id(const struct cs_store *store)
{
    return &store->config.repository_id;
}

const struct cs_keyring *cs_store_keys(const struct cs_store *store)
{
    return &store->epochs[store->pins.epoch]->keyring;
}

enum cs_role cs_own_role(const struct cs_store *store)
{
    const struct cs_state_key *key = cs_state_key(&store->state, &store->identity.slot);
    return key != NULL ? key->role : cs_store_keys(store)->role;
}

const struct cs_name *cs_own_slot(const struct cs_store *store)
{
    return &store->identity.slot;
}

const char *cs_path(const struct cs_store *store)
{
    return store->path;
}

uint32_t cs_region_size(const struct cs_store *store)
{
    return store->config.region_size;
}

enum cs_id_hash cs_id_hash(const struct cs_store *store)
{
    return cs_config_id_hash(&store->config);
}

const char *cs_rollback_warning(const struct cs_store *store)
{
    return store->rollback;
}

int cs_require_data_key(const struct cs_store *store, struct cs_error *err)
{
    if (cs_own_role(store) == CS_ROLE_FULL)
        return 0;
    return cs_fail(err, CS_AUTH,
                   "a key of role %s cannot read disk contents; a key of role full is needed",
                   cs_role_name(cs_own_role(store)));
}

size_t cs_archive_count(const struct cs_store *store)
{
    return store->state.archive_count;
}

const struct cs_archive *cs_archive_at(const struct cs_store *store, size_t i)
{
    return store->state.archives[i];
}

bool cs_store_is_stopping(const struct cs_store *store)
{
    return store->cancel != NULL && __atomic_load_n(store->cancel, __ATOMIC_RELAXED) != 0;
}

int cs_store_cancelled(const struct cs_store *store, struct cs_error *err)
{
    if (cs_store_is_stopping(store))
        return cs_fail(err, CS_CANCELLED, "stopped");
    return 0;
}

int cs_object_id(const struct cs_store *store, enum cs_class class, uint8_t type, const void *data,
                 size_t len, struct cs_id *id, struct cs_error *err)
{
    return cs_identify(store->identifier, class, type, data, len, id, err);
}

int cs_store_identifier(const struct cs_store *store, struct cs_identifier **identifier,
                        struct cs_error *err)
{
    return cs_identifier_new(identifier, cs_id_hash(store), cs_store_keys(store)->id_key, err);
}

void cs_digest(const struct cs_store *store, const char *label, const void *data, size_t len,
               struct cs_id *digest)
{
    cs_keyed(digest->bytes, cs_store_keys(store)->id_key, label, data, len);
}

/* ---- opening ---- */

static int read_config(struct cs_store *store, struct cs_error *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int rc = cs_backend_read_all(store->backend, "config", 4096, &data, &len, err);
    if (rc == CS_NOT_FOUND)
        return cs_fail(err, CS_NO_REPOSITORY, "%s: there is no repository here (no config)",
                       store->path);
    if (rc < 0)
        return rc;
    rc = cs_config_decode(&store->config, data, len, err);
    if (rc == 0)
        cs_hash(store->config_hash, data, len);
    free(data);
    return rc;
}

struct slot_search {
    struct cs_store *store;
    const struct cs_secret *secret;
    unsigned pass_over; /* so many that take the secret */
    bool dear;          /* those of cs_slot_is_dear, else the others */
    bool found;
    unsigned seen;
    struct cs_error damage; /* of the first slot that could not be read */
};

static int try_slot(void *arg, const char *name, struct cs_error *err)
{
    struct slot_search *search = arg;
    struct cs_name id;
    struct cs_slot_head head;
    char path[64];
    uint8_t *data = NULL;
    size_t len = 0;
    (void)err;
    if (search->found || !cs_name_parse(&id, name))
        return 0;
    search->seen += !search->dear;
    cs_slot_file(path, &id);
    struct cs_error e = {0};
    int rc = cs_backend_read_all(search->store->backend, path, CS_SLOT_SIZE, &data, &len, &e);
    if (rc == 0)
        rc = cs_slot_decode(&head, data, len, path, &e);
    if (rc == 0 && cs_slot_is_dear(&head) != search->dear) {
        free(data);
        return 0;
    }
    if (rc == 0)
        rc = cs_slot_unseal(&search->store->identity, &search->store->pins, &head, data,
                            search->secret, &e);
    free(data);
    if (rc == 0 && search->pass_over > 0)
        search->pass_over--;
    else if (rc == 0)
        search->found = true;
    else if (rc != CS_AUTH && search->damage.code == 0)
        search->damage = e; /* another slot may take the secret all the same */
    return 0;
}

/* Opens the ${nth} slot (from 0) that takes the secret; sets ${*found}. */
static int find_slot(struct cs_store *store, const struct cs_secret *secret, unsigned nth,
                     bool *found, struct cs_error *err)
{
    struct slot_search search = {.store = store, .secret = secret, .pass_over = nth};
    int rc = cs_secret_check(secret, err);
    /* one slot that asks for much, which anybody may have put there, must not keep others waiting
     */
    for (unsigned dear = 0; rc == 0 && !search.found && dear < 2; dear++) {
        search.dear = dear;
        rc = store->backend->ops->list(store->backend, "keys", try_slot, &search, err);
    }
    if (rc < 0)
        return rc;
    *found = search.found;
    if (search.found)
        return 0;
    if (search.damage.code != 0)
        return cs_fail(err, search.damage.code, "%s", search.damage.message);
    if (search.seen == 0)
        return cs_fail(err, CS_CORRUPT, "%s: there is no key slot", store->path);
    return cs_fail(err, CS_AUTH, "%s: wrong %s: none of the %u key slots takes it", store->path,
                   secret->kind == CS_SLOT_KEY_FILE ? "key file" : "passphrase or recovery code",
                   search.seen);
}

static int check_pins(struct cs_store *store, struct cs_error *err)
{
    const struct cs_epoch *keys = NULL;
    char hex[CS_NAME_HEX];
    cs_name_hex(&store->identity.slot, hex);
    if (memcmp(&store->pins.repository_id, &store->config.repository_id, sizeof(struct cs_id)) != 0)
        return cs_fail(err, CS_CORRUPT, "keys/%s: belongs to another repository than config", hex);
    if (memcmp(store->pins.config_hash, store->config_hash, CS_HASH_SIZE) != 0)
        return cs_fail(err, CS_CORRUPT, "config: is not the one that key slot %s pins", hex);
    int rc = cs_store_epoch(store, store->pins.epoch, &keys, err);
    if (rc < 0 || keys == NULL)
        return rc;
    if (memcmp(keys->keyring.data_public, store->pins.data_public, CS_KEY_SIZE) != 0)
        return cs_fail(err, CS_CORRUPT,
                       "the keyring of epoch %u is not the one that key slot %s pins",
                       store->pins.epoch, hex);
    return 0;
}

/* Back to where no slot was opened. */
static void forget_slot(struct cs_store *store)
{
    cs_store_free_epochs(store);
    cs_state_clear(&store->state);
    store->position = (struct cs_log_position){0};
    store->log_loaded = false;
    free(store->damage);
    store->damage = NULL;
    cs_wipe(&store->identity, sizeof store->identity);
}

static int open_slot(struct cs_store *store, bool even_damaged, struct cs_error *err)
{
    int rc = check_pins(store, err);
    if (rc == 0)
        rc = cs_log_repair_load(store, even_damaged, err);
    if (rc == 0 && store->damage != NULL)
        return 0;
    return rc == 0 ? cs_store_check_own_slot(store, err) : rc;
}

/* A slot may be what is left of a change of keys that was cut short, and another one may take the
 * same secret: each is tried. */
static int open_any_slot(struct cs_store *store, const struct cs_open_options *options,
                         struct cs_error *err)
{
    struct cs_error first = {0};
    for (unsigned nth = 0;; nth++) {
        struct cs_error e = {0};
        bool found = false;
        int rc = find_slot(store, &options->secret, nth, &found, &e);
        if (rc == 0)
            rc = open_slot(store, options->even_damaged, &e);
        if (rc == 0)
            return 0;
        if (nth == 0)
            first = e;
        if (!found || (rc != CS_AUTH && rc != CS_CORRUPT)) {
            if (err != NULL)
                *err = first;
            return first.code;
        }
        forget_slot(store);
    }
}

static void set_chunker(struct cs_store *store)
{
    struct cs_chunker *c = &store->chunker;
    *c = (struct cs_chunker){
        .region_size = store->config.region_size,
        .block_size = store->config.block_size,
        .min_size = store->config.min_chunk,
        .max_size = store->config.max_chunk,
        .threshold = store->config.threshold,
        .zero_blocks = store->config.zero_blocks,
    };
    for (unsigned n = 0; n < 3; n++)
        cs_subkey64(c->secret + 64 * (size_t)n, cs_store_keys(store)->chunker_key, "byre chunker",
                    n);
}

/* ${dir}/<repository id>, or NULL where ${dir} is. */
static int own_folder(char **out, const char *dir, const struct cs_store *store,
                      struct cs_error *err)
{
    char hex[CS_ID_HEX];
    *out = NULL;
    if (dir != NULL &&
        asprintf(out, "%s/%s", dir, cs_id_hex(&store->config.repository_id, hex)) < 0) {
        *out = NULL;
        return cs_fail_memory(err);
    }
    return 0;
}

static unsigned usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

int cs_probe(const char *path, struct cs_error *err)
{
    struct cs_store store = {.path = (char *)path};
    int rc = cs_crypt_init(err);
    if (rc == 0)
        rc = cs_backend_local(&store.backend, path, false, err);
    if (rc == 0)
        rc = read_config(&store, err);
    if (store.backend != NULL)
        store.backend->ops->close(store.backend);
    return rc;
}

int cs_open(struct cs_store **out, const char *path, const struct cs_open_options *options,
            struct cs_error *err)
{
    int rc = cs_crypt_init(err);
    if (rc < 0)
        return rc;
    struct cs_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return cs_fail_memory(err);
    store->threads = options->threads > 0 ? options->threads : usable_cores();
    store->cancel = options->cancel;
    store->path = strdup(path);
    if (store->path == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    rc = cs_backend_local(&store->backend, path, false, err);
    if (rc == 0) {
        store->backend->throttle.rate = options->write_rate;
        store->backend->cancel = options->cancel;
        store->backend->beside = store->threads > 1;
        rc = read_config(store, err);
    }
    if (rc == 0)
        rc = own_folder(&store->cache_dir, options->cache_dir, store, err);
    if (rc == 0)
        rc = own_folder(&store->state_dir, options->state_dir, store, err);
    if (rc == 0)
        rc = open_any_slot(store, options, err);
    if (rc == 0 && !options->accept_rollback)
        rc = cs_head_compare(store, err);
    if (rc == 0)
        rc = cs_store_identifier(store, &store->identifier, err);
    if (rc < 0)
        goto out;
    set_chunker(store);
    cs_head_adopt(store);
out:
    if (rc < 0) {
        cs_close(store);
        return rc;
    }
    *out = store;
    return 0;
}

void cs_close(struct cs_store *store)
{
    if (store == NULL)
        return;
    cs_index_free(store->index);
    cs_pack_cache_free(store->packs);
    cs_names_clear(&store->unreadable);
    forget_slot(store);
    cs_identifier_free(store->identifier);
    cs_wipe(&store->chunker, sizeof store->chunker);
    if (store->backend != NULL)
        store->backend->ops->close(store->backend);
    free(store->rollback);
    free(store->cache_dir);
    free(store->state_dir);
    free(store->path);
    free(store);
}
