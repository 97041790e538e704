/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills in an error: formats its message and chooses its code. Prints nothing
 * and keeps nothing; the struct belongs to the caller.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What error.h tells the analyzer is not for here. */
#undef error_set
#undef error_sys
#undef error_no_memory

/* A prefix that does not fit is cut; what it stands before is never lost for it. */
enum { MAX_PREFIX = 512 };

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return code;
    err->code = code;
    err->sys = 0;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return code;
}

static int code_of_errno(int sys)
{
    switch (sys) {
    case ENOENT:
        return ERROR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case ENOMEM:
        return ERROR_NO_MEMORY;
    case EEXIST:
        return ERROR_EXISTS;
    default:
        return ERROR_IO;
    }
}

int error_sys(struct error *err, int sys, const char *fmt, ...)
{
    int code = code_of_errno(sys);
    char buf[128];
    size_t len;
    va_list ap;

    if (!err)
        return code;
    err->code = code;
    err->sys = sys;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, ": %s",
             strerror_r(sys, buf, sizeof buf));
    return code;
}

int error_no_memory(struct error *err)
{
    int code = error_set(err, ERROR_NO_MEMORY, "out of memory");

    if (err)
        err->sys = ENOMEM;
    return code;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    char prefix[MAX_PREFIX];
    size_t len, room;
    va_list ap;
    int n;

    /* Only a caller who keeps no error can get here without one: there is no code to return. */
    if (!err)
        return ERROR_IO;
    va_start(ap, fmt);
    n = vsnprintf(prefix, sizeof prefix - 2, fmt, ap);
    va_end(ap);
    len = n < 0 ? 0 : strnlen(prefix, sizeof prefix - 3);
    prefix[len++] = ':';
    prefix[len++] = ' ';
    room = sizeof err->message - len - 1;
    if (strlen(err->message) > room)
        err->message[room] = '\0';
    memmove(err->message + len, err->message, strlen(err->message) + 1);
    memcpy(err->message, prefix, len);
    return err->code;
}

void error_add(struct error *err, const char *text)
{
    size_t len;

    if (!err)
        return;
    len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, "%s", text);
}
