/* SPDX-License-Identifier: BSD-2-Clause */
/* Checksums of stored bytes. */
#include "checksum.h"

#include <string.h>
#include <xxhash.h>

void cs_checksum(uint8_t out[CS_CHECKSUM_SIZE], const void *data, size_t len)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    memcpy(out, canonical.digest, CS_CHECKSUM_SIZE);
}

struct cs_checksummer *cs_checksummer_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state != NULL)
        XXH3_128bits_reset(state);
    return (struct cs_checksummer *)state;
}

void cs_checksummer_add(struct cs_checksummer *sum, const void *data, size_t len)
{
    XXH3_128bits_update((XXH3_state_t *)sum, data, len);
}

void cs_checksummer_end(struct cs_checksummer *sum, uint8_t out[CS_CHECKSUM_SIZE])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((XXH3_state_t *)sum));
    memcpy(out, canonical.digest, CS_CHECKSUM_SIZE);
}

void cs_checksummer_free(struct cs_checksummer *sum)
{
    XXH3_freeState((XXH3_state_t *)sum);
}
