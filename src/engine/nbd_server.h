/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_NBD_SERVER_H
#define BYRE_ENGINE_NBD_SERVER_H

#include <sys/types.h>

#include "base/error.h"

/*
 * A qemu-nbd of byre's own, which gives the guest's bytes of one file to nobody
 * else, and ends with byre however that ends.
 */

struct nbd_server {
    pid_t pid; /* 0: none */
    int said;  /* what it says comes here */
};

/*
 * Starts it for the file ${path}, an absolute name, of QEMU's format ${format}. ${*fd}: a
 * connection to it, given to the caller. Whether it can read the file shows there.
 * ERROR_NOT_FOUND: there is no qemu-nbd. To be stopped in any case.
 */
int nbd_server_start(struct nbd_server *server, const char *path, const char *format, int *fd,
                     struct error *err);

/* For whoever failed with ${err} and a server: ends it, and puts what it said into the message.
 * Returns the code of ${err}. */
int nbd_server_explain(struct nbd_server *server, struct error *err);

void nbd_server_stop(struct nbd_server *server);

#endif
