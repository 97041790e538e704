/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a command that failed: message and exit code. */
#include "cli/fail.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/advice.h"
#include "cli/exit_code.h"
#include "cli/message.h"
#include "cli/signals.h"
#include "engine/engine.h"

static int fail(int code, const char *message)
{
    message_error(code, "%s", message[0] ? message : "failed, and the reason is not known");
    return code;
}

/* The same, and what to do about it. */
static int fail_with_advice(const struct error *err, int code, bool reads_sources)
{
    const char *advice = advice_of(err, code, reads_sources);

    fail(code, err->message);
    if (advice)
        message_info("%s", advice);
    return code;
}

int fail_error(const struct error *err)
{
    return fail_with_advice(err, exit_code_of_error(err, false, signals_seen()), false);
}

int fail_error_of_sources(const struct error *err)
{
    return fail_with_advice(err, exit_code_of_error(err, true, signals_seen()), true);
}

int fail_store(const struct cs_error *err)
{
    struct error error = {0};

    engine_store_error(&error, err);
    return fail_with_advice(&error, exit_code_of_store(err, signals_seen()), false);
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
