/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_UNITS_H
#define BYRE_CLI_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Sizes, durations and times as people read and write them, never in the locale's digits. */

enum { UNITS_TEXT = 32 };

/* "512 B", "5.2 GiB", "312 MiB". Each returns ${text}. */
char *units_size(uint64_t bytes, char text[UNITS_TEXT]);

/* "4.1 s", "3 min 12 s", "1 h 02 min". */
char *units_duration(double seconds, char text[UNITS_TEXT]);

/* "0:42", "1:02:03". */
char *units_clock(double seconds, char text[UNITS_TEXT]);

/* "2026-01-31 23:59:59" in the time zone of this process. */
char *units_local_time(int64_t time, char text[UNITS_TEXT]);

/* "2026-01-31T22:59:59Z". */
char *units_utc_time(int64_t time, char text[UNITS_TEXT]);

/* Reads ${text}, the value of ${what}: digits, and K, M, G or T for powers of 1024. */
int units_parse_size(const char *what, const char *text, int64_t *bytes, struct error *err);

/* Reads ${text}, the value of ${what}: "50 MiB/s", "50M", "500K": digits, and K, M, G or T for
 * powers of 1024; blanks before the letter, and "iB" and "/s" behind it, make no difference. Above
 * 0. */
int units_parse_rate(const char *what, const char *text, uint64_t *bytes, struct error *err);

/* Reads ${text}, the value of ${what}: digits, and s, min or h. From a second to a week. */
int units_parse_time(const char *what, const char *text, unsigned *seconds, struct error *err);

/* Reads ${text}, the value of ${what}: more than 0 and up to 100, a percent sign may follow. Sets
 * ${*fraction}, up to 1. */
int units_parse_percent(const char *what, const char *text, double *fraction, struct error *err);

/* The same, but 0 is fine too. */
int units_parse_share(const char *what, const char *text, double *fraction, struct error *err);

#endif
