/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers to text and back. The numeric locale is always "C" (main sees to it). */
#include "cli/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char *units_size(uint64_t bytes, char text[UNITS_TEXT])
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(text, UNITS_TEXT, "%u B", (unsigned)bytes);
        return text;
    }
    while (value >= 1023.5) {
        value /= 1024;
        unit++;
    }
    /* Powers of two, as cluster sizes and most disk sizes are, without a needless ".0". */
    snprintf(text, UNITS_TEXT, "%.*f %s", value < 99.95 && value != (double)(uint64_t)value ? 1 : 0,
             value, names[unit]);
    return text;
}

char *units_duration(double seconds, char text[UNITS_TEXT])
{
    uint64_t whole = seconds < 1e12 ? (uint64_t)(seconds + 0.5) : 0;

    if (seconds < 59.95)
        snprintf(text, UNITS_TEXT, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(text, UNITS_TEXT, "%u min %02u s", (unsigned)(whole / 60), (unsigned)(whole % 60));
    else
        snprintf(text, UNITS_TEXT, "%llu h %02u min", (unsigned long long)(whole / 3600),
                 (unsigned)(whole % 3600 / 60));
    return text;
}

char *units_clock(double seconds, char text[UNITS_TEXT])
{
    uint64_t whole = seconds > 0 && seconds < 1e12 ? (uint64_t)(seconds + 0.5) : 0;

    if (whole < 3600)
        snprintf(text, UNITS_TEXT, "%u:%02u", (unsigned)(whole / 60), (unsigned)(whole % 60));
    else
        snprintf(text, UNITS_TEXT, "%llu:%02u:%02u", (unsigned long long)(whole / 3600),
                 (unsigned)(whole % 3600 / 60), (unsigned)(whole % 60));
    return text;
}

/* Writes date and time of ${tm} with ${between} them and ${zone} behind. */
static char *format_time(const struct tm *tm, char between, const char *zone, char text[UNITS_TEXT])
{
    snprintf(text, UNITS_TEXT, "%04d-%02d-%02d%c%02d:%02d:%02d%s", (tm->tm_year + 1900) % 10000,
             tm->tm_mon + 1, tm->tm_mday, between, tm->tm_hour, tm->tm_min, tm->tm_sec, zone);
    return text;
}

char *units_local_time(int64_t time, char text[UNITS_TEXT])
{
    time_t seconds = (time_t)time;
    struct tm tm = {0};

    localtime_r(&seconds, &tm);
    return format_time(&tm, ' ', "", text);
}

char *units_utc_time(int64_t time, char text[UNITS_TEXT])
{
    time_t seconds = (time_t)time;
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    return format_time(&tm, 'T', "Z", text);
}

int units_parse_size(const char *what, const char *text, int64_t *bytes, struct error *err)
{
    static const char letters[] = "KMGT";
    unsigned long long value;
    unsigned shift = 0;
    char *end = NULL;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || text[0] < '0' || text[0] > '9')
        goto bad;
    if (*end) {
        const char *letter = strchr(letters, toupper((unsigned char)*end));

        if (!letter || end[1])
            goto bad;
        shift = 10 * (unsigned)(letter - letters + 1);
    }
    if (value > (uint64_t)INT64_MAX >> shift)
        goto bad;
    *bytes = (int64_t)(value << shift);
    return 0;
bad:
    return error_set(err, ERROR_USAGE,
                     "%s: not a size: \"%s\" (a number, or one with K, M, G or T)", what, text);
}

int units_parse_rate(const char *what, const char *text, uint64_t *bytes, struct error *err)
{
    char size[UNITS_TEXT] = {0};
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits + strspn(text + digits, " ");
    const char *rest = *unit && strchr("KMGTkmgt", *unit) ? unit + 1 : unit;
    int64_t value = 0;

    if (rest > unit && strncmp(rest, "iB", 2) == 0)
        rest += 2;
    if (strcmp(rest, "/s") == 0)
        rest += 2;
    if (!digits || digits > sizeof size - 2 || *rest)
        goto bad;
    memcpy(size, text, digits);
    if (rest > unit && *unit != '/')
        size[digits] = *unit;
    if (units_parse_size(what, size, &value, NULL) || value == 0)
        goto bad;
    *bytes = (uint64_t)value;
    return 0;
bad:
    return error_set(err, ERROR_USAGE, "%s: not a rate: \"%s\" (such as 50 MiB/s)", what, text);
}

int units_parse_time(const char *what, const char *text, unsigned *seconds, struct error *err)
{
    static const struct {
        const char *name;
        unsigned long seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}};
    const unsigned long week = 7UL * 24 * 3600;
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits + strspn(text + digits, " ");
    unsigned long value = digits && digits < 10 ? strtoul(text, NULL, 10) : 0;

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].name) == 0 && value && value <= week / units[i].seconds) {
            *seconds = (unsigned)(value * units[i].seconds);
            return 0;
        }
    }
    return error_set(err, ERROR_USAGE,
                     "%s: not a time from a second to a week: \"%s\" (such as 90s, 10min, 2h)",
                     what, text);
}

/* A number and perhaps a percent sign. The span keeps out what else strtod reads: nan, infinity,
 * hexadecimal. */
static bool parse_percent(const char *text, double *value)
{
    char *end = NULL;

    errno = 0;
    *value = strtod(text, &end);
    if (end != text && *end == '%')
        end++;
    return !errno && end != text && !*end && !text[strspn(text, "0123456789.%")] && *value <= 100;
}

int units_parse_percent(const char *what, const char *text, double *fraction, struct error *err)
{
    double value;

    if (!parse_percent(text, &value) || !(value > 0))
        return error_set(err, ERROR_USAGE, "%s: not a percentage above 0 and up to 100: \"%s\"",
                         what, text);
    *fraction = value / 100;
    return 0;
}

int units_parse_share(const char *what, const char *text, double *fraction, struct error *err)
{
    double value;

    if (!parse_percent(text, &value))
        return error_set(err, ERROR_USAGE, "%s: not a percentage up to 100: \"%s\"", what, text);
    *fraction = value / 100;
    return 0;
}
