/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text form of recovery codes: made to be written on paper, read over the
 * telephone, and typed at night.
 */
#include "recovery.h"

#include <string.h>

#include "crypt.h"

enum { DIGITS = 28, GROUP = 4 };

_Static_assert(DIGITS + DIGITS / GROUP - 1 < CS_RECOVERY_CODE_SIZE, "room for a zero byte");

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void cs_recovery_encode(char code[CS_RECOVERY_CODE_SIZE], const uint8_t bytes[CS_RECOVERY_BYTES])
{
    uint8_t all[CS_RECOVERY_BYTES + 2] = {0};
    uint8_t hash[CS_HASH_SIZE];
    memcpy(all, bytes, CS_RECOVERY_BYTES);
    cs_hash(hash, bytes, CS_RECOVERY_BYTES);
    all[CS_RECOVERY_BYTES] = hash[0];
    char *p = code;
    for (unsigned i = 0; i < DIGITS; i++) {
        unsigned bit = i * 5;
        unsigned pair = (unsigned)all[bit / 8] << 8 | all[bit / 8 + 1];
        if (i > 0 && i % GROUP == 0)
            *p++ = '-';
        *p++ = alphabet[pair >> (11 - bit % 8) & 31];
    }
    *p = 0;
    cs_wipe(all, sizeof all);
}

static int digit_of(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    const char *p = c != 0 ? strchr(alphabet, c) : NULL;
    return p != NULL ? (int)(p - alphabet) : -1;
}

bool cs_recovery_decode(uint8_t bytes[CS_RECOVERY_BYTES], const void *text, size_t len)
{
    uint8_t all[CS_RECOVERY_BYTES + 2] = {0};
    uint8_t hash[CS_HASH_SIZE];
    const char *s = text;
    unsigned n = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '-' || s[i] == ' ')
            continue;
        int digit = digit_of(s[i]);
        if (digit < 0 || n == DIGITS)
            return false;
        unsigned bit = n++ * 5;
        unsigned pair = (unsigned)digit << (11 - bit % 8);
        all[bit / 8] |= (uint8_t)(pair >> 8);
        all[bit / 8 + 1] |= (uint8_t)pair;
    }
    cs_hash(hash, all, CS_RECOVERY_BYTES);
    /* the last digit has four bits to spare, which are zero */
    bool good = n == DIGITS && all[CS_RECOVERY_BYTES] == hash[0] && all[CS_RECOVERY_BYTES + 1] == 0;
    if (good)
        memcpy(bytes, all, CS_RECOVERY_BYTES);
    cs_wipe(all, sizeof all);
    return good;
}
