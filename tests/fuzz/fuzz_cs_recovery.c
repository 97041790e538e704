/* SPDX-License-Identifier: BSD-2-Clause */
/* Recovery codes as typed: what is taken must be the code of the bytes that come out. */
#include <stdlib.h>
#include <string.h>

#include "crypt.h"
#include "recovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[CS_RECOVERY_BYTES], again[CS_RECOVERY_BYTES];
    char code[CS_RECOVERY_CODE_SIZE];
    if (cs_crypt_init(NULL) < 0)
        abort();
    if (cs_recovery_decode(bytes, data, size)) {
        cs_recovery_encode(code, bytes);
        if (!cs_recovery_decode(again, code, strlen(code)) ||
            memcmp(bytes, again, sizeof bytes) != 0)
            abort();
    }
    if (size >= CS_RECOVERY_BYTES) { /* and the way back */
        memcpy(bytes, data, sizeof bytes);
        cs_recovery_encode(code, bytes);
        if (!cs_recovery_decode(again, code, strlen(code)) ||
            memcmp(bytes, again, sizeof bytes) != 0)
            abort();
    }
    return 0;
}
