/* SPDX-License-Identifier: BSD-2-Clause */
/* stderr, for people and for programs. Its settings belong to the process, as stderr does; a lock
 * of their own guards the line at the bottom, that of the stream whoever else writes there. */
#include "cli/message.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/text.h"

static struct {
    bool json;
    int verbosity;
    bool line_drawn;
} settings;

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void message_setup(bool json, int verbosity)
{
    settings.json = json;
    settings.verbosity = verbosity;
}

void message_hold(void)
{
    pthread_mutex_lock(&mutex);
    flockfile(stderr);
}

void message_release(void)
{
    funlockfile(stderr);
    pthread_mutex_unlock(&mutex);
}

void message_line(const char *line)
{
    /* The cursor waits at the line's begin: where a terminal that became narrower has wrapped the
     * line, it is still there, and all of the line behind it. One that is narrower already than
     * it says must not wrap what is drawn. */
    static const char erase[] = "\r\033[J";
    static const char no_wrap[] = "\033[?7l", wrap[] = "\033[?7h";
    char text[2048];

    message_hold();
    if (line)
        snprintf(text, sizeof text, "%s%s%s%s\r", settings.line_drawn ? erase : "", no_wrap, line,
                 wrap);
    else
        snprintf(text, sizeof text, "%s", settings.line_drawn ? erase : "");
    fputs(text, stderr); /* at once, lest it flickers */
    settings.line_drawn = line != NULL;
    fflush(stderr);
    message_release();
}

/* One message; ${type} is what JSON calls it, ${prefix} what people see before it. ${code}: 0 for
 * none. */
static void say(const char *type, const char *prefix, int code, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));

static void say(const char *type, const char *prefix, int code, const char *fmt, va_list args)
{
    char text[4096];

    vsnprintf(text, sizeof text, fmt, args);
    message_hold();
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
    message_release();
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

void message_status(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say("note", "", 0, fmt, args);
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
