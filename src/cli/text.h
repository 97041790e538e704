/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_TEXT_H
#define BYRE_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Text that came from elsewhere (file names, names in images), made fit for a terminal. Pure. */

/* Replaces what could steer a terminal (control characters) by '?', in place. UTF-8 stays, and so
 * do bytes that are none. Returns ${text}. */
char *text_clean(char *text);

/* How many columns ${text} takes: one for each UTF-8 character. */
size_t text_columns(const char *text);

/* A copy of ${text} of at most ${columns}, for the caller to free: of what is longer the middle is
 * left out, with an ellipsis in its place, which is three dots unless ${utf8}. NULL: no memory. */
char *text_cut(const char *text, size_t columns, bool utf8);

/* A copy of ${text} that is valid UTF-8 in any case, with U+FFFD for each byte that is not; for the
 * caller to free. NULL: no memory. */
char *text_utf8(const char *text);

#endif
