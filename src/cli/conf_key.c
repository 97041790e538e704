/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of keys, with what each takes. Where a command's option takes the same, this asks what
 * that asks. */
#include "cli/conf_key.h"

#include <limits.h>
#include <linux/ioprio.h>
#include <stdint.h>
#include <string.h>

#include "cli/compression.h"
#include "cli/option.h"
#include "cli/units.h"
#include "engine/nbd_uri.h"
#include "engine/upkeep.h"

enum { NICE_MAX = 19 };

static int any(const char *name, const char *text, struct error *err)
{
    (void)name;
    (void)text;
    (void)err;
    return 0;
}

/* Nobody knows which folder cron or systemd start in. */
static int absolute(const char *name, const char *text, struct error *err)
{
    return text[0] == '/'
               ? 0
               : error_set(err, ERROR_USAGE, "%s: not an absolute path: \"%s\"", name, text);
}

static int image(const char *name, const char *text, struct error *err)
{
    return nbd_uri_is(text) ? 0 : absolute(name, text, err);
}

static int repository(const char *name, const char *text, struct error *err)
{
    return strncmp(text, "s3:", 3) == 0 ? 0 : absolute(name, text, err);
}

static int flag(const char *name, const char *text, struct error *err)
{
    if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
        return 0;
    return error_set(err, ERROR_USAGE, "%s: neither yes nor no: \"%s\"", name, text);
}

static int count(const char *name, const char *text, struct error *err)
{
    long number = 0;

    return option_number(name, text, 0, INT_MAX, &number, err);
}

static int span(const char *name, const char *text, struct error *err)
{
    struct engine_span value = {0};

    return engine_parse_span(text, &value, err) ? error_wrap(err, "%s", name) : 0;
}

static int archive_name(const char *name, const char *text, struct error *err)
{
    return engine_check_name(text, err) ? error_wrap(err, "%s", name) : 0;
}

static int compression(const char *name, const char *text, struct error *err)
{
    int level;

    return compression_option(name, text, &level, err);
}

static int nice_value(const char *name, const char *text, struct error *err)
{
    long number = 0;

    return option_number(name, text, 0, NICE_MAX, &number, err);
}

int conf_key_ionice(const char *name, const char *text, int *priority, struct error *err)
{
    static const char best[] = "best-effort";
    size_t len = sizeof best - 1;

    *priority = -1;
    if (strcmp(text, "idle") == 0)
        *priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0);
    else if (strcmp(text, best) == 0)
        *priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, IOPRIO_BE_NORM);
    else if (strncmp(text, best, len) == 0 && text[len] == ':' && text[len + 1] >= '0' &&
             text[len + 1] <= '7' && !text[len + 2])
        *priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, text[len + 1] - '0');
    if (*priority >= 0)
        return 0;
    return error_set(err, ERROR_USAGE,
                     "%s: none of idle, best-effort and best-effort:0 to 7: \"%s\"", name, text);
}

static int ionice(const char *name, const char *text, struct error *err)
{
    int priority;

    return conf_key_ionice(name, text, &priority, err);
}

static int rate(const char *name, const char *text, struct error *err)
{
    uint64_t bytes;

    return units_parse_rate(name, text, &bytes, err);
}

static int timeout(const char *name, const char *text, struct error *err)
{
    unsigned seconds;

    return units_parse_time(name, text, &seconds, err);
}

static int check(const char *name, const char *text, struct error *err)
{
    double fraction;

    if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
        return 0;
    if (units_parse_percent(name, text, &fraction, NULL) == 0)
        return 0;
    return error_set(err, ERROR_USAGE,
                     "%s: none of yes, no and a percentage above 0 and up to 100: \"%s\"", name,
                     text);
}

static int metrics(const char *name, const char *text, struct error *err)
{
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%')) {
        if (at[1] != 'j' && at[1] != '%')
            return error_set(err, ERROR_USAGE,
                             "%s: behind %% only j, the job's name, or another %%: \"%s\"", name,
                             text);
    }
    return absolute(name, text, err);
}

int conf_key_section_name(const char *text, struct error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (*text && *text != '.' && *text != '-' && !text[strspn(text, plain)])
        return 0;
    return error_set(err, ERROR_USAGE,
                     "not a name of letters, digits, '.', '_' and '-', which does not begin with "
                     "'.' or '-': \"%s\"",
                     text);
}

enum { BOTH = CONF_JOB | CONF_DEFAULTS };

const struct conf_key_spec conf_keys[CONF_KEYS] = {
    [CONF_PATH] = {"path", CONF_REPOSITORY, CONF_ONE, repository},
    [CONF_KEY_FILE] = {"key-file", CONF_REPOSITORY, CONF_ONE, absolute},
    [CONF_PASSWORD_FILE] = {"password-file", CONF_REPOSITORY, CONF_ONE, absolute},
    [CONF_PASSWORD_COMMAND] = {"password-command", CONF_REPOSITORY, CONF_ONE, any},
    [CONF_CACHE_DIR] = {"cache-dir", CONF_REPOSITORY, CONF_ONE, absolute},
    [CONF_STATE_DIR] = {"state-dir", CONF_REPOSITORY, CONF_ONE, absolute},
    [CONF_IN_REPOSITORY] = {"repository", BOTH, CONF_ONE, any},
    [CONF_IMAGES] = {"images", CONF_JOB, CONF_LINES, image},
    [CONF_DOMAIN] = {"domain", CONF_JOB, CONF_ONE, any},
    [CONF_CONNECT] = {"connect", BOTH, CONF_ONE, any},
    [CONF_QMP] = {"qmp", CONF_JOB, CONF_ONE, absolute},
    [CONF_DISKS] = {"disks", CONF_JOB, CONF_WORDS, any},
    [CONF_QUIESCE] = {"quiesce", BOTH, CONF_ONE, flag},
    [CONF_OVERLAY_DIR] = {"overlay-dir", BOTH, CONF_ONE, absolute},
    [CONF_NAME] = {"name", CONF_JOB, CONF_ONE, archive_name},
    [CONF_TAGS] = {"tags", BOTH, CONF_WORDS, any},
    [CONF_WITH] = {"with", CONF_JOB, CONF_LINES, absolute},
    [CONF_BITMAP] = {"bitmap", BOTH, CONF_ONE, flag},
    [CONF_COMPRESSION] = {"compression", BOTH, CONF_ONE, compression},
    [CONF_KEEP_LAST] = {"keep-last", BOTH, CONF_ONE, count},
    [CONF_KEEP_HOURLY] = {"keep-hourly", BOTH, CONF_ONE, count},
    [CONF_KEEP_DAILY] = {"keep-daily", BOTH, CONF_ONE, count},
    [CONF_KEEP_WEEKLY] = {"keep-weekly", BOTH, CONF_ONE, count},
    [CONF_KEEP_MONTHLY] = {"keep-monthly", BOTH, CONF_ONE, count},
    [CONF_KEEP_YEARLY] = {"keep-yearly", BOTH, CONF_ONE, count},
    [CONF_KEEP_WITHIN] = {"keep-within", BOTH, CONF_ONE, span},
    [CONF_KEEP_TAG] = {"keep-tag", BOTH, CONF_WORDS, any},
    [CONF_PRUNE] = {"prune", BOTH, CONF_ONE, flag},
    [CONF_CHECK] = {"check", BOTH, CONF_ONE, check},
    [CONF_HOOK_BEFORE] = {"hook-before", BOTH, CONF_ONE, any},
    [CONF_HOOK_AFTER] = {"hook-after", BOTH, CONF_ONE, any},
    [CONF_HOOK_FAILURE] = {"hook-failure", BOTH, CONF_ONE, any},
    [CONF_HOOK_TIMEOUT] = {"hook-timeout", BOTH, CONF_ONE, timeout},
    [CONF_NICE] = {"nice", BOTH, CONF_ONE, nice_value},
    [CONF_IONICE] = {"ionice", BOTH, CONF_ONE, ionice},
    [CONF_RATE_LIMIT] = {"rate-limit", BOTH, CONF_ONE, rate},
    [CONF_METRICS_FILE] = {"metrics-file", BOTH, CONF_ONE, metrics},
};
