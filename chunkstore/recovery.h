/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_RECOVERY_H
#define CS_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/* Recovery codes: 128 random bits in Crockford's base32, with a checksum (FORMAT.md, 4.1). */

enum { CS_RECOVERY_BYTES = 16 };

void cs_recovery_encode(char code[CS_RECOVERY_CODE_SIZE], const uint8_t bytes[CS_RECOVERY_BYTES]);

/* Whether ${text} is a code with the right checksum; then sets ${bytes}. */
bool cs_recovery_decode(uint8_t bytes[CS_RECOVERY_BYTES], const void *text, size_t len);

#endif
