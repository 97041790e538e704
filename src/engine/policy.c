/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules for keeping archives. A rule by the calendar keeps the newest archive of each of the last N
 * hours, days, weeks (of ISO 8601), months or years that have one.
 */
#include "engine/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REASON_SIZE = 300, SPAN_MAX = 100000 };

static bool span_is_set(const struct engine_span *s)
{
    return s->years != 0 || s->months != 0 || s->days != 0 || s->hours != 0;
}

bool policy_is_set(const struct engine_keep *keep)
{
    return keep->last != 0 || keep->hourly != 0 || keep->daily != 0 || keep->weekly != 0 ||
           keep->monthly != 0 || keep->yearly != 0 || span_is_set(&keep->within) ||
           keep->tag_count != 0;
}

int engine_parse_span(const char *text, struct engine_span *span, struct error *err)
{
    *span = (struct engine_span){0};
    for (const char *p = text; *p != 0; p++) {
        unsigned value = 0, scale = 1, *to = NULL;
        if (*p < '0' || *p > '9')
            goto bad;
        for (; *p >= '0' && *p <= '9'; p++) {
            value = value * 10 + (unsigned)(*p - '0');
            if (value > SPAN_MAX)
                goto bad;
        }
        switch (*p) {
        case 'y':
            to = &span->years;
            break;
        case 'm':
            to = &span->months;
            break;
        case 'w':
            scale = 7;
            to = &span->days;
            break;
        case 'd':
            to = &span->days;
            break;
        case 'h':
            to = &span->hours;
            break;
        default:
            goto bad;
        }
        *to += value * scale;
        if (*to > SPAN_MAX)
            goto bad;
    }
    if (span_is_set(span))
        return 0;
bad:
    return error_set(err, ERROR_USAGE,
                     "not a span of time: \"%s\" (numbers with y, m, w, d or h, such as 1y6m or "
                     "48h)",
                     text);
}

static int add_reason(struct engine_decision *d, const char *reason, struct error *err)
{
    char **reasons = reallocarray(d->reasons, d->reason_count + 1, sizeof *reasons);
    if (reasons == NULL)
        return error_no_memory(err);
    d->reasons = reasons;
    reasons[d->reason_count] = strdup(reason);
    if (reasons[d->reason_count] == NULL)
        return error_no_memory(err);
    d->reason_count++;
    d->keep = true;
    return 0;
}

enum period { HOUR, DAY, WEEK, MONTH, YEAR };

/* What two archives of one hour, day, ... have in common. */
static void name_period(enum period period, int64_t at, char *out, size_t size)
{
    struct tm tm = {0};
    time_t time = (time_t)at;
    gmtime_r(&time, &tm);
    switch (period) {
    case HOUR:
        strftime(out, size, "hourly %Y-%m-%d %H:00", &tm);
        break;
    case DAY:
        strftime(out, size, "daily %Y-%m-%d", &tm);
        break;
    case WEEK:
        strftime(out, size, "weekly %G-W%V", &tm);
        break;
    case MONTH:
        strftime(out, size, "monthly %Y-%m", &tm);
        break;
    case YEAR:
        strftime(out, size, "yearly %Y", &tm);
        break;
    }
}

static int keep_periods(enum period period, unsigned count, struct engine_decision *decisions,
                        size_t n, struct error *err)
{
    char before[REASON_SIZE] = "";
    for (size_t i = 0; i < n && count > 0; i++) {
        char reason[REASON_SIZE];
        name_period(period, decisions[i].archive->time, reason, sizeof reason);
        if (strcmp(reason, before) == 0)
            continue;
        int rc = add_reason(&decisions[i], reason, err);
        if (rc < 0)
            return rc;
        memcpy(before, reason, sizeof before);
        count--;
    }
    return 0;
}

static int keep_last(unsigned count, struct engine_decision *decisions, size_t n, struct error *err)
{
    for (size_t i = 0; i < n && i < count; i++) {
        int rc = add_reason(&decisions[i], "last", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Counted back from the newest archive of the group, so that a host that stopped loses nothing; but
 * not from one of the future, lest one clock that went wrong end all that others made. */
static int keep_within(const struct engine_span *span, int64_t now,
                       struct engine_decision *decisions, size_t n, struct error *err)
{
    char reason[REASON_SIZE];
    struct tm tm = {0};
    size_t last = 0;
    while (last < n - 1 && decisions[last].archive->time > now)
        last++;
    time_t newest = (time_t)decisions[last].archive->time;
    gmtime_r(&newest, &tm);
    tm.tm_year -= (int)span->years;
    tm.tm_mon -= (int)span->months;
    tm.tm_mday -= (int)span->days;
    tm.tm_hour -= (int)span->hours;
    int64_t from = (int64_t)timegm(&tm);
    snprintf(reason, sizeof reason, "within");
    const struct {
        unsigned value;
        char unit;
    } parts[] = {{span->years, 'y'}, {span->months, 'm'}, {span->days, 'd'}, {span->hours, 'h'}};
    for (size_t i = 0, at = strlen(reason); i < 4; i++)
        if (parts[i].value != 0)
            at += (size_t)snprintf(reason + at, sizeof reason - at, " %u%c", parts[i].value,
                                   parts[i].unit);
    for (size_t i = 0; i < n && decisions[i].archive->time >= from; i++) {
        int rc = add_reason(&decisions[i], reason, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int keep_tag(const char *tag, struct engine_decision *decisions, size_t n, struct error *err)
{
    char reason[REASON_SIZE];
    snprintf(reason, sizeof reason, "tag %s", tag);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < decisions[i].archive->tag_count; k++) {
            if (strcmp(decisions[i].archive->tags[k], tag) != 0)
                continue;
            int rc = add_reason(&decisions[i], reason, err);
            if (rc < 0)
                return rc;
            break;
        }
    return 0;
}

int policy_apply(const struct engine_keep *keep, int64_t now, struct engine_decision *decisions,
                 size_t n, struct error *err)
{
    const unsigned counts[] = {
        [HOUR] = keep->hourly,   [DAY] = keep->daily,   [WEEK] = keep->weekly,
        [MONTH] = keep->monthly, [YEAR] = keep->yearly,
    };
    int rc = keep_last(keep->last, decisions, n, err);
    for (unsigned period = HOUR; rc == 0 && period <= YEAR; period++)
        rc = keep_periods(period, counts[period], decisions, n, err);
    if (rc == 0 && n > 0 && span_is_set(&keep->within))
        rc = keep_within(&keep->within, now, decisions, n, err);
    for (size_t i = 0; rc == 0 && i < keep->tag_count; i++)
        rc = keep_tag(keep->tags[i], decisions, n, err);
    return rc;
}
