/* SPDX-License-Identifier: BSD-2-Clause */
/* One entry of the log as a file: its name, header, seal and signature. What it means is state.c's.
 */
#include "log_entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "byre-log";

/* In the field of the last checkpoint: so a reset is told without being opened. */
static const uint64_t reset_bit = 1ULL << 63;

void cs_entry_file(char out[64], uint64_t number)
{
    snprintf(out, 64, "log/%013" PRIx64 "/%03" PRIx64, number >> 12, number & 0xfff);
}

void cs_entry_folder(char out[64], uint64_t number)
{
    snprintf(out, 64, "log/%013" PRIx64, number >> 12);
}

uint64_t cs_entry_size(size_t len)
{
    return CS_ENTRY_HEAD + len + CS_SEAL_OVERHEAD + CS_SIGNATURE_SIZE;
}

void cs_log_head_encode(uint8_t out[CS_ENTRY_HEAD], const struct cs_log_head *h)
{
    memcpy(out, magic, 8);
    cs_le16(out + 8, 1);
    cs_le16(out + 10, h->epoch);
    cs_le32(out + 12, h->sealed);
    cs_le64(out + 16, h->number);
    memcpy(out + 24, h->previous, CS_HASH_SIZE);
    cs_le64(out + 56, h->checkpoint | (h->reset ? reset_bit : 0));
    memcpy(out + 64, h->signer.bytes, CS_NAME_SIZE);
}

int cs_log_head_decode(struct cs_log_head *h, const uint8_t *data, size_t len, uint64_t number,
                       struct cs_error *err)
{
    if (len < CS_ENTRY_HEAD || memcmp(data, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is no log entry", number);
    if (cs_from_le16(data + 8) != 1)
        return cs_fail(err, CS_CORRUPT,
                       "log entry %" PRIu64
                       ": has version %u, which this repository's format does not know",
                       number, cs_from_le16(data + 8));
    h->epoch = cs_from_le16(data + 10);
    h->sealed = cs_from_le32(data + 12);
    h->number = cs_from_le64(data + 16);
    memcpy(h->previous, data + 24, CS_HASH_SIZE);
    h->checkpoint = cs_from_le64(data + 56) & ~reset_bit;
    h->reset = cs_from_le64(data + 56) & reset_bit;
    memcpy(h->signer.bytes, data + 64, CS_NAME_SIZE);
    if (h->number != number)
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is entry %" PRIu64 " by its header",
                       number, h->number);
    return 0;
}

int cs_log_head_read(struct cs_store *store, uint64_t number, struct cs_log_head *head,
                     struct cs_error *err)
{
    char name[64];
    uint8_t data[CS_ENTRY_HEAD];
    cs_entry_file(name, number);
    int rc = cs_backend_read_exact(store->backend, name, 0, data, sizeof data, err);
    if (rc == 0)
        rc = cs_log_head_decode(head, data, sizeof data, number, err);
    if (rc == CS_NOT_FOUND)
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
    return rc;
}

void cs_log_entry_identity(uint8_t ad[CS_ENTRY_IDENTITY], const struct cs_store *store,
                           const uint8_t *head)
{
    memcpy(ad, store->config.repository_id.bytes, CS_ID_SIZE);
    memcpy(ad + CS_ID_SIZE, head, CS_ENTRY_HEAD);
}

void cs_log_entry_clear(struct cs_log_entry *e)
{
    free(e->data);
    free(e->payload);
    *e = (struct cs_log_entry){0};
}

int cs_log_entry_read(struct cs_store *store, struct cs_log_entry *e, uint64_t number,
                      struct cs_error *err)
{
    char name[64], object[64];
    uint8_t ad[CS_ENTRY_IDENTITY];
    const struct cs_epoch *keys = NULL;
    *e = (struct cs_log_entry){0};
    cs_entry_file(name, number);
    snprintf(object, sizeof object, "log entry %" PRIu64, number);
    int rc = cs_backend_read_all(store->backend, name, CS_ENTRY_MAX, &e->data, &e->len, err);
    if (rc < 0)
        return rc;
    rc = cs_log_head_decode(&e->head, e->data, e->len, number, err);
    if (rc < 0)
        goto out;
    if (e->head.sealed < CS_SEAL_OVERHEAD + CS_PAYLOAD_HEAD ||
        e->len != (uint64_t)CS_ENTRY_HEAD + e->head.sealed + CS_SIGNATURE_SIZE) {
        rc = cs_fail(err, CS_CORRUPT,
                     "log entry %" PRIu64 ": has %zu bytes, its header says %" PRIu64, number,
                     e->len, (uint64_t)CS_ENTRY_HEAD + e->head.sealed + CS_SIGNATURE_SIZE);
        goto out;
    }
    rc = cs_store_epoch_of(store, e->head.epoch, object, &keys, err);
    if (rc < 0)
        goto out;
    e->payload_len = e->head.sealed - CS_SEAL_OVERHEAD;
    e->payload = malloc(e->payload_len + 1);
    if (e->payload == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    cs_log_entry_identity(ad, store, e->data);
    if (!cs_unseal(e->payload, keys->log_key, ad, sizeof ad, e->data + CS_ENTRY_HEAD,
                   e->head.sealed))
        rc = cs_fail(err, CS_CORRUPT,
                     "log entry %" PRIu64 ": was altered, or is of another repository", number);
out:
    if (rc < 0)
        cs_log_entry_clear(e);
    return rc;
}

bool cs_log_entry_signed_by(const struct cs_store *store, const struct cs_log_entry *e,
                            const uint8_t sign_public[CS_KEY_SIZE])
{
    size_t len = e->len - CS_SIGNATURE_SIZE;
    return cs_verify(e->data + len, sign_public, "byre log", store->config.repository_id.bytes,
                     CS_ID_SIZE, e->data, len);
}

uint16_t cs_log_entry_type(const struct cs_log_entry *e)
{
    return cs_from_le16(e->payload);
}

bool cs_log_entry_counts(const struct cs_state *state, const struct cs_log_entry *e)
{
    const struct cs_state_key *key = cs_state_key(state, &e->head.signer);
    return key != NULL && !key->removed && cs_state_may(key->role, cs_log_entry_type(e));
}
