/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 by libcrypto, which uses what the processor has for it. */
#include "engine/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct sha256 {
    EVP_MD_CTX *ctx;
};

static const uint8_t zeros[64 << 10];

static int failed(struct error *err)
{
    return error_set(err, ERROR_IO, "libcrypto has no SHA-256");
}

int sha256_new(struct sha256 **out, struct error *err)
{
    struct sha256 *sha = calloc(1, sizeof *sha);
    *out = NULL;
    if (sha == NULL)
        return error_no_memory(err);
    sha->ctx = EVP_MD_CTX_new();
    if (sha->ctx == NULL) {
        free(sha);
        return error_no_memory(err);
    }
    *out = sha;
    return 0;
}

int sha256_begin(struct sha256 *sha, struct error *err)
{
    return EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL) == 1 ? 0 : failed(err);
}

int sha256_add(struct sha256 *sha, const void *data, size_t len, struct error *err)
{
    return EVP_DigestUpdate(sha->ctx, data, len) == 1 ? 0 : failed(err);
}

int sha256_add_zeros(struct sha256 *sha, uint64_t len, struct error *err)
{
    int rc = 0;
    while (rc == 0 && len > 0) {
        size_t n = len < sizeof zeros ? (size_t)len : sizeof zeros;
        rc = sha256_add(sha, zeros, n, err);
        len -= n;
    }
    return rc;
}

int sha256_end(struct sha256 *sha, char hex[SHA256_HEX], struct error *err)
{
    uint8_t digest[32];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(sha->ctx, digest, &len) != 1 || len != sizeof digest)
        return failed(err);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

void sha256_free(struct sha256 *sha)
{
    if (sha == NULL)
        return;
    EVP_MD_CTX_free(sha->ctx);
    free(sha);
}
