/* SPDX-License-Identifier: BSD-2-Clause */
/* Archives by what people call them. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/json.h"

enum { MIN_PREFIX = 4 };

int engine_check_name(const char *name, struct error *err)
{
    json_t *utf8 = json_string(name);
    bool valid = utf8 != NULL;
    json_decref(utf8);
    if (!valid)
        return error_set(err, ERROR_USAGE, "the name is not valid UTF-8");
    if (*name == 0)
        return error_set(err, ERROR_USAGE, "the name is empty");
    if (strcmp(name, "latest") == 0)
        return error_set(err, ERROR_USAGE,
                         "\"latest\" is not for a name: it means the newest archive");
    if (strlen(name) > 255)
        return error_set(err, ERROR_USAGE, "the name has more than 255 bytes");
    for (const unsigned char *p = (const unsigned char *)name; *p != 0; p++)
        if (*p == '/' || *p == ':' || *p < 0x20 || *p == 0x7f)
            return error_set(err, ERROR_USAGE,
                             "the name \"%s\" has a character that is not for names (/, : or a "
                             "control character)",
                             name);
    return 0;
}

static const struct cs_archive *newest_of_name(const struct cs_store *store, const char *name)
{
    for (size_t i = cs_archive_count(store); i-- > 0;)
        if (strcmp(cs_archive_at(store, i)->name, name) == 0)
            return cs_archive_at(store, i);
    return NULL;
}

/* How many archives have this prefix; ${*found} is the last of them. */
static size_t count_prefix(const struct cs_store *store, const char *prefix,
                           const struct cs_archive **found)
{
    size_t len = strlen(prefix), n = 0;
    if (len < MIN_PREFIX || len > 2 * (size_t)CS_ID_SIZE ||
        strspn(prefix, "0123456789abcdefABCDEF") != len)
        return 0;
    for (size_t i = 0; i < cs_archive_count(store); i++) {
        char hex[CS_ID_HEX];
        const struct cs_archive *a = cs_archive_at(store, i);
        if (strncasecmp(cs_id_hex(&a->id, hex), prefix, len) != 0)
            continue;
        *found = a;
        n++;
    }
    return n;
}

int engine_find_archive(const struct cs_store *store, const char *argument,
                        const struct cs_archive **archive, struct error *err)
{
    const struct cs_archive *found = NULL;
    size_t count = cs_archive_count(store);
    if (strncmp(argument, "name:", 5) == 0) {
        found = newest_of_name(store, argument + 5);
    } else if (strcmp(argument, "latest") == 0) {
        if (count == 0)
            return error_set(err, ERROR_NOT_FOUND, "the repository has no archives yet");
        found = cs_archive_at(store, count - 1);
    } else {
        size_t n = count_prefix(store, argument, &found);
        if (n > 1)
            return error_set(err, ERROR_USAGE, "%s is ambiguous: %zu archives begin with it",
                             argument, n);
        if (n == 0)
            found = newest_of_name(store, argument);
    }
    if (found == NULL)
        return error_set(err, ERROR_NOT_FOUND,
                         "there is no archive %s; `byre list` shows those there are", argument);
    *archive = found;
    return 0;
}

int engine_unless_forgotten(const struct cs_store *store, const struct cs_archive *archive,
                            struct error *err)
{
    char hex[CS_ID_HEX];
    if (err->code != ERROR_CORRUPT)
        return err->code;
    for (size_t i = 0; i < cs_archive_count(store); i++)
        if (cs_archive_at(store, i) == archive)
            return err->code;
    cs_id_hex(&archive->id, hex);
    return error_set(err, ERROR_NOT_FOUND, "archive %.16s of %s was forgotten meanwhile", hex,
                     archive->name);
}
