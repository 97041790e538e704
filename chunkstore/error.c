/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors, and the hex forms of identifiers. The message is all that a caller
 * shows; the code is all that it decides by.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chunkstore.h"

int(cs_fail)(struct cs_error *err, enum cs_code code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        err->code = code;
        err->sys = 0;
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return code;
}

int(cs_fail_sys)(struct cs_error *err, int sys, const char *fmt, ...)
{
    enum cs_code code = CS_IO;
    if (sys == ENOENT)
        code = CS_NOT_FOUND;
    else if (sys == ENOSPC || sys == EDQUOT)
        code = CS_NO_SPACE;
    else if (sys == ENOMEM)
        code = CS_NO_MEMORY;
    else if (sys == EEXIST)
        code = CS_EXISTS;
    if (err != NULL) {
        va_list ap;
        char text[128];
        err->code = code;
        err->sys = sys;
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, ": %s",
                 strerror_r(sys, text, sizeof text));
    }
    return code;
}

int(cs_fail_memory)(struct cs_error *err)
{
    return cs_fail(err, CS_NO_MEMORY, "out of memory");
}

static char *hex_of(const uint8_t *bytes, size_t n, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * n] = 0;
    return hex;
}

static bool hex_parse(uint8_t *bytes, size_t n, const char *hex)
{
    if (strlen(hex) != 2 * n)
        return false;
    for (size_t i = 0; i < 2 * n; i++) {
        int digit;
        if (hex[i] >= '0' && hex[i] <= '9')
            digit = hex[i] - '0';
        else if (hex[i] >= 'a' && hex[i] <= 'f')
            digit = hex[i] - 'a' + 10;
        else
            return false;
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
    }
    return true;
}

char *cs_id_hex(const struct cs_id *id, char hex[CS_ID_HEX])
{
    return hex_of(id->bytes, CS_ID_SIZE, hex);
}

char *cs_name_hex(const struct cs_name *name, char hex[CS_NAME_HEX])
{
    return hex_of(name->bytes, CS_NAME_SIZE, hex);
}

bool cs_id_parse(struct cs_id *id, const char *hex)
{
    struct cs_id parsed;
    if (!hex_parse(parsed.bytes, CS_ID_SIZE, hex))
        return false;
    *id = parsed;
    return true;
}

bool cs_name_parse(struct cs_name *name, const char *hex)
{
    struct cs_name parsed;
    if (!hex_parse(parsed.bytes, CS_NAME_SIZE, hex))
        return false;
    *name = parsed;
    return true;
}
