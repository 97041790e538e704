/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backing names: plain paths, protocols that are files, and JSON. Which file a
 * path means, chain.c says. A key of the JSON that is not known to leave the disk
 * alone is refused: "offset" makes another disk of the same file.
 */
#include "qcow2/backing_name.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2/source.h"

enum { SHOWN_NAME = 320, SHOWN_KEY = 120 }; /* bytes, so that a message has room for the rest */

/* Strings first: only these have a meaning here. */
enum option {
    OPTION_DRIVER,
    OPTION_FILE_DRIVER,
    OPTION_FILE_FILENAME,
    STRING_OPTIONS,
    OPTION_CACHE_DIRECT = STRING_OPTIONS,
    OPTION_CACHE_NO_FLUSH,
    OPTION_CACHE_WRITEBACK,
    OPTION_FILE_CACHE_DIRECT,
    OPTION_FILE_CACHE_NO_FLUSH,
    OPTION_FILE_CACHE_WRITEBACK,
    OPTION_FILE_AIO,
    OPTION_FILE_LOCKING,
    OPTIONS
};

static const char *const option_keys[OPTIONS] = {
    [OPTION_DRIVER] = "driver",
    [OPTION_FILE_DRIVER] = "file.driver",
    [OPTION_FILE_FILENAME] = "file.filename",
    [OPTION_CACHE_DIRECT] = "cache.direct",
    [OPTION_CACHE_NO_FLUSH] = "cache.no-flush",
    [OPTION_CACHE_WRITEBACK] = "cache.writeback",
    [OPTION_FILE_CACHE_DIRECT] = "file.cache.direct",
    [OPTION_FILE_CACHE_NO_FLUSH] = "file.cache.no-flush",
    [OPTION_FILE_CACHE_WRITEBACK] = "file.cache.writeback",
    [OPTION_FILE_AIO] = "file.aio",
    [OPTION_FILE_LOCKING] = "file.locking",
};

/* What may stand for several options; all that is gone into, so that depth is bounded. */
static const char *const groups[] = {"file", "cache", "file.cache"};

struct json_name {
    const char *name; /* for messages */
    const json_t *values[OPTIONS];
};

static int refuse(const char *name, const char *why, const char *key, struct error *err)
{
    bool cut = strlen(name) > SHOWN_NAME;

    return error_set(err, ERROR_UNSUPPORTED,
                     "the backing file \"%.*s%s\" %s%s%.*s%s; --only-top leaves it out", SHOWN_NAME,
                     name, cut ? "..." : "", why, key ? " \"" : "", SHOWN_KEY, key ? key : "",
                     key ? "\"" : "");
}

/* JSON of what QEMU takes for JSON: there, strings may stand in single quotes. */
static char *to_strict_json(const char *text)
{
    char *strict = malloc(2 * strlen(text) + 1);
    char *to = strict;
    char quote = 0;

    if (!strict)
        return NULL;
    for (const char *p = text; *p; p++) {
        if (!quote) {
            quote = *p == '"' || *p == '\'' ? *p : 0;
            *to++ = quote ? '"' : *p;
        } else if (*p == quote) {
            quote = 0;
            *to++ = '"';
        } else if (*p == '\\' && p[1] == '\'') {
            *to++ = *++p;
        } else if (*p == '\\' && p[1]) {
            *to++ = *p++;
            *to++ = *p;
        } else {
            if (*p == '"')
                *to++ = '\\';
            *to++ = *p;
        }
    }
    *to = '\0';
    return strict;
}

static int load(json_t **root, const char *name, const char *text, struct error *err)
{
    json_error_t why;
    char *strict = to_strict_json(text);

    if (!strict)
        return error_no_memory(err);
    *root = json_loads(strict, JSON_REJECT_DUPLICATES, &why);
    free(strict);
    if (json_is_object(*root))
        return 0;
    if (!*root && json_error_code(&why) == json_error_out_of_memory)
        return error_no_memory(err);
    return *root ? refuse(name, "is no JSON object", NULL, err)
                 : refuse(name, "is no JSON:", why.text, err);
}

static bool is_group(const char *key)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strcmp(groups[i], key) == 0)
            return true;
    return false;
}

static int set_option(struct json_name *j, const char *key, const json_t *value, struct error *err)
{
    size_t i = 0;

    while (i < OPTIONS && strcmp(option_keys[i], key) != 0)
        i++;
    if (i == OPTIONS)
        return refuse(j->name, "has an option that can change the disk:", key, err);
    if (j->values[i])
        return refuse(j->name, "has twice the option", key, err);
    if (!json_is_string(value) && (i < STRING_OPTIONS || !json_is_boolean(value)))
        return refuse(j->name, "has a bad value of the option", key, err);
    j->values[i] = value;
    return 0;
}

/* Takes the options of ${object}, whose keys stand behind ${prefix} and a dot, or alone where it is
 * NULL. */
static int flatten(struct json_name *j, const char *prefix, json_t *object, struct error *err)
{
    const char *key;
    json_t *value;
    int rc = 0;

    json_object_foreach (object, key, value) {
        char *full = NULL;

        if (asprintf(&full, "%s%s%s", prefix ? prefix : "", prefix ? "." : "", key) < 0)
            return error_no_memory(err);
        rc = json_is_object(value) && is_group(full) ? flatten(j, full, value, err)
                                                     : set_option(j, full, value, err);
        free(full);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const char *string_of(const struct json_name *j, enum option option)
{
    return j->values[option] ? json_string_value(j->values[option]) : NULL;
}

static int keep_path(struct backing_name *b, const char *name, const char *path, struct error *err)
{
    if (!path || *path == '\0')
        return refuse(name ? name : "", "names no file", NULL, err);
    b->path = strdup(path);
    return b->path ? 0 : error_no_memory(err);
}

static int parse_json(struct backing_name *b, const char *name, const char *text, struct error *err)
{
    struct json_name j = {.name = name};
    const char *driver, *file_driver;
    json_t *root = NULL;
    int rc;

    if ((rc = load(&root, name, text, err)) < 0 || (rc = flatten(&j, NULL, root, err)) < 0)
        goto out;
    driver = string_of(&j, OPTION_DRIVER);
    file_driver = string_of(&j, OPTION_FILE_DRIVER);
    if (driver && strcmp(driver, "qcow2") == 0)
        b->format = BACKING_QCOW2;
    else if (driver && strcmp(driver, "raw") == 0)
        b->format = BACKING_RAW;
    else if (driver) {
        rc = refuse(name, "has a driver other than qcow2 and raw:", driver, err);
        goto out;
    }
    if (file_driver && strcmp(file_driver, "file") != 0 && strcmp(file_driver, "host_device") != 0)
        rc = refuse(name, "has a file.driver other than file and host_device:", file_driver, err);
    else
        rc = keep_path(b, name, string_of(&j, OPTION_FILE_FILENAME), err);
out:
    json_decref(root);
    return rc;
}

static const char *without_prefix(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static int parse_path(struct backing_name *b, const char *name, struct error *err)
{
    const char *rest;

    b->in_working_folder = source_has_protocol(name);
    if (!b->in_working_folder)
        return keep_path(b, name, name, err);
    if ((rest = without_prefix(name, "json:")))
        return parse_json(b, name, rest, err);
    if ((rest = without_prefix(name, "file:")) || (rest = without_prefix(name, "host_device:")))
        return keep_path(b, name, rest, err);
    return refuse(name, "is no plain path", NULL, err);
}

int backing_name_parse(struct backing_name *b, const char *name, const char *format,
                       struct error *err)
{
    struct backing_name tmp = {0};
    int rc;

    if ((rc = parse_path(&tmp, name, err)) < 0)
        return rc;
    /* The header is stronger than the JSON's driver. */
    if (strcmp(format, "qcow2") == 0)
        tmp.format = BACKING_QCOW2;
    else if (strcmp(format, "raw") == 0)
        tmp.format = BACKING_RAW;
    else if (*format != '\0') {
        backing_name_clear(&tmp);
        return refuse(name, "has the format", format, err);
    }
    *b = tmp;
    return 0;
}

void backing_name_clear(struct backing_name *b)
{
    free(b->path);
    memset(b, 0, sizeof *b);
}
