/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a command that failed: message and exit code. */
#include "cli/fail.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/exit_code.h"
#include "cli/message.h"
#include "cli/signals.h"

static int fail(int code, const char *message)
{
    message_error(code, "%s", message[0] ? message : "failed, and the reason is not known");
    return code;
}

int fail_error(const struct error *err)
{
    return fail(exit_code_of_error(err, false, signals_seen()), err->message);
}

int fail_error_of_sources(const struct error *err)
{
    return fail(exit_code_of_error(err, true, signals_seen()), err->message);
}

int fail_store(const struct cs_error *err)
{
    return fail(exit_code_of_store(err, signals_seen()), err->message);
}

int fail_usage(const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return fail(EXIT_CODE_USAGE, text);
}
