/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CONF_H
#define BYRE_CLI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * The configuration: repositories and jobs. Values stay the text that stands in
 * the file, but each was held against what its key takes. Errors name file,
 * line, section and key. It is policy for the command line: what a job does is
 * what byre's commands do, and these get text anyway; so it is no part of the
 * engine.
 */

enum conf_kind { CONF_DEFAULTS = 1, CONF_REPOSITORY = 2, CONF_JOB = 4 };

enum conf_key {
    /* of a repository */
    CONF_PATH,
    CONF_KEY_FILE,
    CONF_PASSWORD_FILE,
    CONF_PASSWORD_COMMAND,
    CONF_CACHE_DIR,
    CONF_STATE_DIR,
    /* of a job */
    CONF_IN_REPOSITORY,
    CONF_IMAGES,
    CONF_DOMAIN,
    CONF_CONNECT,
    CONF_QMP,
    CONF_DISKS,
    CONF_QUIESCE,
    CONF_OVERLAY_DIR,
    CONF_NAME,
    CONF_TAGS,
    CONF_WITH,
    CONF_BITMAP,
    CONF_COMPRESSION,
    CONF_KEEP_LAST,
    CONF_KEEP_HOURLY,
    CONF_KEEP_DAILY,
    CONF_KEEP_WEEKLY,
    CONF_KEEP_MONTHLY,
    CONF_KEEP_YEARLY,
    CONF_KEEP_WITHIN,
    CONF_KEEP_TAG,
    CONF_PRUNE,
    CONF_CHECK,
    CONF_HOOK_BEFORE,
    CONF_HOOK_AFTER,
    CONF_HOOK_FAILURE,
    CONF_HOOK_TIMEOUT,
    CONF_NICE,
    CONF_IONICE,
    CONF_RATE_LIMIT,
    CONF_METRICS_FILE,
    CONF_KEYS,
};

struct conf_value {
    char **items; /* one, or several where the key takes a list */
    size_t count; /* 0: the key is not there */
    unsigned line;
};

struct conf_section {
    enum conf_kind kind;
    char *name; /* "" for defaults */
    unsigned line;
    struct conf_value values[CONF_KEYS];
};

struct conf {
    char *path;
    mode_t mode; /* of the file; 0: it is none */
    struct conf_section *sections;
    size_t count;
};

/* Parses ${len} bytes at ${text} as those of the file ${path} into a zeroed ${conf}. Looks at no
 * file. ERROR_USAGE for whatever is wrong in them; ${conf} is to be cleared in any case. */
int conf_parse(struct conf *conf, const char *path, const char *text, size_t len,
               struct error *err);

/* The same for the bytes of the file. One that others than root and this user could have written
 * is refused, since a job runs commands. */
int conf_load(struct conf *conf, const char *path, struct error *err);

void conf_clear(struct conf *conf);

/* NULL: none of that name. */
const struct conf_section *conf_find(const struct conf *conf, enum conf_kind kind,
                                     const char *name);

/* What ${section} has for ${key}; where that is nothing, and it is a job, what the defaults have;
 * but a job without images forgets, frees and checks only what it says itself. */
const struct conf_value *conf_value(const struct conf *conf, const struct conf_section *section,
                                    enum conf_key key);

/* Its only item, or NULL. */
const char *conf_text(const struct conf *conf, const struct conf_section *section,
                      enum conf_key key);

/* Whether ${job} saves anything: images, or a machine. */
bool conf_saves(const struct conf_section *job);

/* Whether a key of "yes" and "no" has "yes". */
bool conf_flag(const struct conf *conf, const struct conf_section *section, enum conf_key key);

/* What the file calls ${key}. */
const char *conf_key_name(enum conf_key key);

/* ERROR_USAGE: ${message} about the value of ${key}, with its place in the file. */
int conf_wrong(const struct conf *conf, const struct conf_section *section, enum conf_key key,
               struct error *err, const char *message);

#endif
