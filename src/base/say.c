/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats what somebody else shows. */
#include "base/say.h"

#include <stdio.h>

enum { ROOM = 4096 };

void say_args(void (*to)(void *arg, const char *message), void *arg, const char *fmt, va_list args)
{
    char message[ROOM];

    if (to == NULL)
        return;
    vsnprintf(message, sizeof message, fmt, args);
    to(arg, message);
}

void say(void (*to)(void *arg, const char *message), void *arg, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say_args(to, arg, fmt, args);
    va_end(args);
}
