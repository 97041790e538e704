/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What id an object has, by the function that the repository's config names, and
 * which function is the faster one here. What an id is held against is the
 * callers'.
 */
#include "identify.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hmac.h"

_Static_assert((int)CS_HMAC_SIZE == (int)CS_ID_SIZE, "an id is what the function gives");

enum { CLASSES = CS_META, TYPES = 256 };

struct cs_identifier {
    enum cs_id_hash hash;
    uint8_t key[CS_KEY_SIZE];
    struct cs_hmac *hmacs[CLASSES][TYPES]; /* with their own keys; made when first asked for */
};

static const char *const names[] = {[CS_ID_BLAKE2B] = "blake2b", [CS_ID_SHA256] = "sha256"};

const char *cs_id_hash_name(enum cs_id_hash hash)
{
    return names[hash];
}

bool cs_id_hash_parse(enum cs_id_hash *hash, const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *hash = (enum cs_id_hash)i;
            return true;
        }
    return false;
}

int cs_identifier_new(struct cs_identifier **out, enum cs_id_hash hash,
                      const uint8_t id_key[CS_KEY_SIZE], struct cs_error *err)
{
    struct cs_identifier *i = calloc(1, sizeof *i);
    *out = i;
    if (i == NULL)
        return cs_fail_memory(err);
    i->hash = hash;
    memcpy(i->key, id_key, CS_KEY_SIZE);
    return 0;
}

void cs_identifier_free(struct cs_identifier *i)
{
    if (i == NULL)
        return;
    for (size_t class = 0; class < CLASSES; class ++)
        for (size_t type = 0; type < TYPES; type++)
            cs_hmac_free(i->hmacs[class][type]);
    cs_wipe(i->key, sizeof i->key);
    free(i);
}

/* HMAC has nothing like BLAKE2b's personal string: each class and type has a key of its own. */
static int hmac_of(struct cs_identifier *i, enum cs_class class, uint8_t type,
                   struct cs_hmac **hmac, struct cs_error *err)
{
    struct cs_hmac **own = &i->hmacs[class - 1][type];
    uint8_t key[CS_KEY_SIZE];
    int rc = 0;
    if (*own == NULL) {
        cs_subkey(key, i->key, "byre object key", (uint64_t) class << 8 | type);
        rc = cs_hmac_new(own, key, err);
        cs_wipe(key, sizeof key);
    }
    *hmac = *own;
    return rc;
}

int cs_identify(struct cs_identifier *i, enum cs_class class, uint8_t type, const void *data,
                size_t len, struct cs_id *id, struct cs_error *err)
{
    struct cs_hmac *hmac = NULL;
    if (i->hash == CS_ID_BLAKE2B) {
        cs_blake2b_id(id, i->key, class, type, data, len);
        return 0;
    }
    int rc = hmac_of(i, class, type, &hmac, err);
    return rc < 0 ? rc : cs_hmac(hmac, data, len, id->bytes, err);
}

/* ---- which one ---- */

enum { SAMPLE = 64 << 10, ROUNDS = 20 };

/* Seconds that this thread has run. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int cs_id_hash_fastest(enum cs_id_hash *hash, struct cs_error *err)
{
    enum { HASHES = sizeof names / sizeof *names };
    static const uint8_t key[CS_KEY_SIZE];
    struct cs_identifier *identifiers[HASHES] = {NULL};
    uint8_t *sample = calloc(1, SAMPLE);
    double best[HASHES];
    int rc = cs_crypt_init(err);
    if (rc == 0 && sample == NULL)
        rc = cs_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < HASHES; i++)
        rc = cs_identifier_new(&identifiers[i], (enum cs_id_hash)i, key, err);
    /* by turns, and the best of each: whatever disturbs it makes it slower, never faster */
    for (unsigned round = 0; rc == 0 && round <= ROUNDS; round++)
        for (size_t i = 0; rc == 0 && i < HASHES; i++) {
            struct cs_id id;
            double start = now();
            rc = cs_identify(identifiers[i], CS_DATA, CS_CHUNK, sample, SAMPLE, &id, err);
            double took = now() - start;
            if (round == 0 || took < best[i])
                best[i] = took;
        }
    *hash = CS_ID_BLAKE2B;
    for (size_t i = 0; i < HASHES; i++) {
        if (rc == 0 && best[i] < best[*hash])
            *hash = (enum cs_id_hash)i;
        cs_identifier_free(identifiers[i]);
    }
    free(sample);
    return rc;
}
