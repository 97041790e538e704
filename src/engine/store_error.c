/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors of the store as errors of the engine. */
#include <errno.h>

#include "engine/engine.h"

int(engine_store_error)(struct error *err, const struct cs_error *e)
{
    enum error_code code = ERROR_IO;
    switch ((enum cs_code)e->code) {
    case CS_NOT_FOUND:
    case CS_NO_REPOSITORY:
        code = ERROR_NOT_FOUND;
        break;
    case CS_CORRUPT:
        code = ERROR_CORRUPT;
        break;
    case CS_AUTH:
        code = ERROR_AUTH;
        break;
    case CS_UNSUPPORTED:
        code = ERROR_UNSUPPORTED;
        break;
    case CS_NO_SPACE:
        code = ERROR_NO_SPACE;
        break;
    case CS_NO_MEMORY:
        code = ERROR_NO_MEMORY;
        break;
    case CS_USAGE:
        code = ERROR_USAGE;
        break;
    case CS_EXISTS:
        code = ERROR_EXISTS;
        break;
    case CS_CANCELLED:
        code = ERROR_INTERRUPTED;
        break;
    case CS_CONFLICT:
        code = ERROR_CONFLICT;
        break;
    case CS_IO:
        break;
    }
    error_set(err, code, "%s", e->message);
    /* damage in the store is another thing than damage in an image */
    if (err != NULL)
        err->sys = code == ERROR_CORRUPT ? EUCLEAN : e->sys;
    return code;
}
