/* SPDX-License-Identifier: BSD-2-Clause */
/* stderr, for people and for programs. Its settings belong to the process, as stderr does. */
#include "cli/message.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/text.h"

static struct {
    bool json;
    int verbosity;
    bool line_drawn;
} settings;

void message_setup(bool json, int verbosity)
{
    settings.json = json;
    settings.verbosity = verbosity;
}

void message_line(const char *line)
{
    if (settings.line_drawn)
        fputs("\r\033[K", stderr);
    if (line)
        fputs(line, stderr);
    settings.line_drawn = line != NULL;
    fflush(stderr);
}

/* One message; ${type} is what JSON calls it, ${prefix} what people see before it. ${code}: 0 for
 * none. */
static void say(const char *type, const char *prefix, int code, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));

static void say(const char *type, const char *prefix, int code, const char *fmt, va_list args)
{
    char text[4096];

    vsnprintf(text, sizeof text, fmt, args);
    if (settings.line_drawn)
        message_line(NULL);
    if (settings.json) {
        json_t *line = json_pack("{s:s}", "message_type", type);

        if (code)
            json_object_set_new(line, "code", json_integer(code));
        json_object_set_new(line, "message", output_string(text));
        output_json(stderr, line);
    } else {
        fprintf(stderr, "byre: %s%s\n", prefix, text_clean(text));
    }
}

void message_error(int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say("error", "", code, fmt, args);
    va_end(args);
}

void message_warning(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say("warning", "warning: ", 0, fmt, args);
    va_end(args);
}

void message_advice(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (settings.verbosity >= 0)
        say("warning", "warning: ", 0, fmt, args);
    va_end(args);
}

void message_info(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (settings.verbosity >= 0 && !settings.json)
        say("note", "", 0, fmt, args);
    va_end(args);
}

void message_note(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (settings.verbosity > 0)
        say("note", "", 0, fmt, args);
    va_end(args);
}
