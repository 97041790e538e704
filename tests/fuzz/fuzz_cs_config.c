/* SPDX-License-Identifier: BSD-2-Clause */
/* Configs from anywhere, once as they are and once with the right checksum: what is taken must
 * encode to the very same bytes, and be parameters that a chunker can work with. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "crypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void decode(const uint8_t *data, size_t size)
{
    struct cs_config c;
    struct cs_error err = {0};
    uint8_t again[CS_CONFIG_SIZE];
    if (cs_config_decode(&c, data, size, &err) < 0) {
        require(err.code != 0 && err.message[0] != 0);
        return;
    }
    cs_config_encode(again, &c);
    require(size == sizeof again && memcmp(again, data, size) == 0);
    require(c.block_size > 0 && c.min_chunk >= c.block_size && c.max_chunk >= c.min_chunk &&
            c.region_size >= c.max_chunk && c.zero_blocks > 0 &&
            c.read_features <= CS_FEATURE_SHA256_IDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t copy[CS_CONFIG_SIZE];
    if (cs_crypt_init(NULL) < 0)
        abort();
    decode(data, size);
    if (size >= 104) {
        memcpy(copy, data, 104);
        cs_hash(copy + 104, copy, 104);
        decode(copy, sizeof copy);
    }
    return 0;
}
