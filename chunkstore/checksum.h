/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CHECKSUM_H
#define CS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* XXH128 of the format: XXH3-128 in canonical form, on xxHash. Finds accidents; forgeries are for
 * the seals to find. */

enum { CS_CHECKSUM_SIZE = 16 };

void cs_checksum(uint8_t out[CS_CHECKSUM_SIZE], const void *data, size_t len);

/* The same of bytes that come in parts. */
struct cs_checksummer;
struct cs_checksummer *cs_checksummer_new(void); /* NULL: no memory */
void cs_checksummer_add(struct cs_checksummer *sum, const void *data, size_t len);
void cs_checksummer_end(struct cs_checksummer *sum, uint8_t out[CS_CHECKSUM_SIZE]);
void cs_checksummer_free(struct cs_checksummer *sum);

#endif
