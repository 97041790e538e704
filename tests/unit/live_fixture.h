/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LIVE_FIXTURE_H
#define LIVE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>

#include "base/error.h"

/*
 * Stands in for QEMU or an agent: a unix socket with a thread behind it that
 * plays a script to the first client, then hangs up.
 */
struct fake {
    char folder[64], path[96];
    int listener;
    pthread_t thread;
    void (*script)(int fd);
};

/* ${script} NULL: nobody accepts. */
void fake_start(struct fake *f, void (*script)(int fd));
void fake_end(struct fake *f);

/* For scripts. Both pass over that the client has gone. */
void fake_say(int fd, const char *text);
/* The next request, to be decref'ed; a byte 0xff before it is dropped. NULL: the client has gone.
 */
json_t *fake_hear(int fd);
/* Hears a request that must be ${command}, and answers ${reply}: printf format with its id. */
void fake_serve(int fd, const char *command, const char *reply);
/* Until the client hangs up. */
void fake_wait(int fd);

#endif
