/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_SAY_H
#define BYRE_BASE_SAY_H

#include <stdarg.h>

/* Messages to whoever listens: libraries print nothing themselves. */

/* Calls ${to}, unless it is NULL, with ${arg} and the formatted message, of at most 4095 bytes. */
void say(void (*to)(void *arg, const char *message), void *arg, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void say_args(void (*to)(void *arg, const char *message), void *arg, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

#endif
