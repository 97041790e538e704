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
