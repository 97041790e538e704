/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_TEXT_H
#define BYRE_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Text that came from elsewhere (file names, names in images), made fit for a terminal. Pure. */

/* Replaces what could steer a terminal (control characters) by '?', in place. UTF-8 stays, and so
 * do bytes that are none. Returns ${text}. */
char *text_clean(char *text);

/* How many columns ${text} takes on a terminal: two for a wide character of UTF-8, none for one
 * that combines with another. Wants a locale of UTF-8, as main sets it; else each takes one. */
size_t text_columns(const char *text);

/* Cuts ${text} to ${columns}, with dots at its end where something is cut off, and to nothing where
 * there is no room for that. Returns the columns that it takes now. */
size_t text_cut(char *text, size_t columns);
/* A copy of ${text} of at most ${columns}, for the caller to free: of what is longer the middle is
 * left out, with an ellipsis in its place, which is three dots unless ${utf8}. NULL: no memory. */
char *text_abridge(const char *text, size_t columns, bool utf8);

/* A copy of ${text} that is valid UTF-8 in any case, with U+FFFD for each byte that is not; for the
 * caller to free. NULL: no memory. */
char *text_utf8(const char *text);

#endif
