/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_WIRE_H
#define BYRE_LIVE_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * JSON objects, one a line, to and from a unix socket: what QMP and the guest
 * agent have in common. Nothing here waits beyond a deadline, in milliseconds
 * of wire_clock. One thread at a time.
 */

struct wire;

int64_t wire_clock(void);

/*
 * Connects ${*out} to the socket ${path}. Nobody may send more than ${limit} bytes a line, so much
 * memory it takes at most. ERROR_NOT_FOUND: no socket, or nobody behind it; ERROR_IN_USE: others
 * wait in front of it up to ${deadline}. To be closed.
 */
int wire_open(struct wire **out, const char *path, size_t limit, int64_t deadline,
              struct error *err);

const char *wire_path(const struct wire *w); /* lent */
int wire_fd(const struct wire *w);           /* lent */
pid_t wire_peer(const struct wire *w);       /* who listens; 0 where the kernel does not say */
bool wire_is_gone(const struct wire *w);     /* the other side has closed it, or it failed */

/* Sends ${object} and an end of line, all at once. ERROR_NOT_FOUND: gone; ERROR_IO: not all by
 * ${deadline}, and it is then of no further use. */
int wire_send(struct wire *w, const json_t *object, int64_t deadline, struct error *err);

/* The same with ${mark} before ${object}, a byte that is never part of JSON. */
int wire_send_marked(struct wire *w, uint8_t mark, const json_t *object, int64_t deadline,
                     struct error *err);

/*
 * Waits for the next line, and sets ${*object} to it, to be decref'ed; NULL where none is complete
 * by ${deadline}. ERROR_NOT_FOUND: gone; ERROR_CORRUPT: no JSON object, which the next call
 * passes over, or a line that is too long, and it is then of no further use.
 */
int wire_receive(struct wire *w, int64_t deadline, json_t **object, struct error *err);

/* The same for what stands behind the last byte ${mark} of a line; all other lines are passed over.
 * Such a line without an object is ERROR_CORRUPT. */
int wire_receive_marked(struct wire *w, uint8_t mark, int64_t deadline, json_t **object,
                        struct error *err);

void wire_close(struct wire *w);

#endif
