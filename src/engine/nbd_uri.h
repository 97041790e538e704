/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_NBD_URI_H
#define BYRE_ENGINE_NBD_URI_H

#include <stdbool.h>

/* Names of exports of NBD servers, as text. */

/* Whether ${name} is one: nbd://, nbds://, nbd+unix:// or nbds+unix://. */
bool nbd_uri_is(const char *name);

/* A plain file name for what ${uri} names: its last part, else "nbd". Fresh memory; NULL where
 * there is none. */
char *nbd_uri_file_name(const char *uri);

#endif
