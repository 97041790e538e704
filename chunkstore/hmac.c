/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HMAC-SHA-256 with one key, again and again. It knows nothing of what the keys
 * are, nor of what goes through it.
 */
#include "hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

struct cs_hmac {
    EVP_MAC_CTX *ctx; /* keyed; each message begins it anew */
};

static EVP_MAC_CTX *keyed(const uint8_t key[32])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context holds it */
    if (ctx != NULL && EVP_MAC_init(ctx, key, 32, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

int cs_hmac_new(struct cs_hmac **out, const uint8_t key[32], struct cs_error *err)
{
    *out = NULL;
    struct cs_hmac *hmac = malloc(sizeof *hmac);
    if (hmac == NULL)
        return cs_fail_memory(err);
    hmac->ctx = keyed(key);
    if (hmac->ctx == NULL) {
        free(hmac);
        return cs_fail(err, CS_UNSUPPORTED, "libcrypto has no hmac with sha256 to offer");
    }
    *out = hmac;
    return 0;
}

void cs_hmac_free(struct cs_hmac *hmac)
{
    if (hmac == NULL)
        return;
    EVP_MAC_CTX_free(hmac->ctx); /* wipes the key */
    free(hmac);
}

int cs_hmac(struct cs_hmac *hmac, const void *data, size_t len, uint8_t out[CS_HMAC_SIZE],
            struct cs_error *err)
{
    size_t n = 0;
    /* without a key: the one that it has */
    if (EVP_MAC_init(hmac->ctx, NULL, 0, NULL) != 1 || EVP_MAC_update(hmac->ctx, data, len) != 1 ||
        EVP_MAC_final(hmac->ctx, out, &n, CS_HMAC_SIZE) != 1 || n != CS_HMAC_SIZE)
        return cs_fail(err, CS_IO, "hmac: libcrypto failed");
    return 0;
}
