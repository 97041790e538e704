/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_MESSAGE_H
#define BYRE_CLI_MESSAGE_H

#include <stdbool.h>

/*
 * Everything that byre says on stderr: "byre: ..." for people, a JSON line with
 * --json. Also owns the one line at the bottom of a terminal that is drawn over
 * again, so that messages never end up inside it. For any thread.
 */

/* ${verbosity}: below 0 quiet, above 0 the number of -v. */
void message_setup(bool json, int verbosity);

/* What made the command fail, with the code that it exits with. Always shown. */
void message_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What somebody has to look at although the command goes on. Always shown. */
void message_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How far it is, because somebody asked. Always shown. */
void message_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Advice: a warning that -q silences. */
void message_advice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* For people only, and not with -q. */
void message_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Only with -v. */
void message_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Draws ${line} in place of the one drawn before; NULL erases it. For a terminal only. */
void message_line(const char *line);

/* From hold to release no other thread says or draws anything: for whoever writes to stdout, which
 * may be the same terminal. */
void message_hold(void);
void message_release(void);

#endif
