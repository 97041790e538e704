/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fingerprints of chunks: GMAC, as the tag of AES-256-GCM over associated data
 * alone. The nonce is fixed on purpose: the tags stay inside sealed leaves and
 * only tell whether a chunk is the one that was seen before.
 */
#include "fingerprint.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

struct cs_fingerprinter {
    EVP_CIPHER_CTX *ctx; /* keyed; each fingerprint sets the nonce anew */
    bool failed;
};

static const uint8_t nonce[12];

int cs_fingerprinter_new(struct cs_fingerprinter **out, const uint8_t key[32], struct cs_error *err)
{
    *out = NULL;
    struct cs_fingerprinter *fp = malloc(sizeof *fp);
    if (fp == NULL)
        return cs_fail_memory(err);
    fp->ctx = EVP_CIPHER_CTX_new();
    if (fp->ctx == NULL) {
        free(fp);
        return cs_fail_memory(err);
    }
    if (EVP_EncryptInit_ex(fp->ctx, EVP_aes_256_gcm(), NULL, key, NULL) != 1) {
        cs_fingerprinter_free(fp);
        return cs_fail(err, CS_UNSUPPORTED, "fingerprint: libcrypto has no aes-256-gcm to offer");
    }
    *out = fp;
    return 0;
}

void cs_fingerprinter_free(struct cs_fingerprinter *fp)
{
    if (fp == NULL)
        return;
    EVP_CIPHER_CTX_free(fp->ctx); /* wipes the key */
    free(fp);
}

void cs_fingerprint_begin(struct cs_fingerprinter *fp)
{
    fp->failed = EVP_EncryptInit_ex(fp->ctx, NULL, NULL, NULL, nonce) != 1;
}

void cs_fingerprint_add(struct cs_fingerprinter *fp, const void *data, size_t len)
{
    int n;
    if (len > 0 && !fp->failed)
        fp->failed = len > INT_MAX || EVP_EncryptUpdate(fp->ctx, NULL, &n, data, (int)len) != 1;
}

int cs_fingerprint_end(struct cs_fingerprinter *fp, uint8_t out[16], struct cs_error *err)
{
    uint8_t none[16];
    int n;
    if (fp->failed || EVP_EncryptFinal_ex(fp->ctx, none, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(fp->ctx, EVP_CTRL_AEAD_GET_TAG, 16, out) != 1)
        return cs_fail(err, CS_IO, "fingerprint: libcrypto failed");
    return 0;
}

int cs_fingerprint(struct cs_fingerprinter *fp, const void *data, size_t len, uint8_t out[16],
                   struct cs_error *err)
{
    if (len > INT_MAX)
        return cs_fail(err, CS_USAGE, "fingerprint: %zu bytes are too many", len);
    cs_fingerprint_begin(fp);
    cs_fingerprint_add(fp, data, len);
    return cs_fingerprint_end(fp, out, err);
}
