/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The option parser: --name=value, --name value, -nvalue, -n value, clusters of
 * letters, "--". Not getopt, since that accepts abbreviations, prints by
 * itself, and cannot suggest.
 */
#include "cli/option.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/suggest.h"
#include "cli/synonym.h"

int option_list_add(struct option_list *list, const char *item, struct error *err)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof *items);

    if (!items)
        return error_no_memory(err);
    items[list->count++] = item;
    list->items = items;
    return 0;
}

void option_list_clear(struct option_list *list)
{
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

void option_set_clear(const struct option_set *set)
{
    for (const struct option_spec *spec = set->specs; spec && spec->name; spec++) {
        if (spec->kind == OPTION_LIST)
            option_list_clear((struct option_list *)((char *)set->values + spec->offset));
    }
}

static bool takes_value(const struct option_spec *spec)
{
    return spec->kind == OPTION_VALUE || spec->kind == OPTION_LIST;
}

static int store(const struct option_set *set, const struct option_spec *spec, const char *value,
                 struct error *err)
{
    void *place = (char *)set->values + spec->offset;

    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)place = true;
        break;
    case OPTION_COUNT:
        ++*(int *)place;
        break;
    case OPTION_VALUE:
        *(const char **)place = value;
        break;
    case OPTION_OPTIONAL:
        *(const char **)place = value ? value : "";
        break;
    case OPTION_LIST:
        return option_list_add(place, value, err);
    }
    return 0;
}

/* The spec with the name of ${len} bytes at ${name}, and its set. NULL: none. */
static const struct option_spec *find_long(const struct option_set *sets, size_t set_count,
                                           const char *name, size_t len,
                                           const struct option_set **set)
{
    for (size_t i = 0; i < set_count; i++) {
        for (const struct option_spec *spec = sets[i].specs; spec && spec->name; spec++) {
            if (strlen(spec->name) == len && memcmp(spec->name, name, len) == 0) {
                *set = &sets[i];
                return spec;
            }
        }
    }
    return NULL;
}

static const struct option_spec *find_letter(const struct option_set *sets, size_t set_count,
                                             char letter, const struct option_set **set)
{
    for (size_t i = 0; i < set_count; i++) {
        for (const struct option_spec *spec = sets[i].specs; spec && spec->name; spec++) {
            if (spec->letter == letter) {
                *set = &sets[i];
                return spec;
            }
        }
    }
    return NULL;
}

const struct option_spec *option_find(const struct option_set *sets, size_t set_count,
                                      const char *name, size_t len)
{
    const struct option_set *set = NULL;

    return find_long(sets, set_count, name, len, &set);
}

const struct option_spec *option_awaits(const struct option_set *sets, size_t set_count,
                                        const char *word)
{
    const struct option_set *set = NULL;
    const struct option_spec *spec = NULL;

    if (strncmp(word, "--", 2) == 0) {
        spec = find_long(sets, set_count, word + 2, strlen(word + 2), &set);
        return spec && takes_value(spec) ? spec : NULL;
    }
    if (word[0] != '-')
        return NULL;
    for (word++; *word; word++) {
        spec = find_letter(sets, set_count, *word, &set);
        if (!spec || takes_value(spec))
            return spec && !word[1] ? spec : NULL;
    }
    return NULL;
}

static int unknown_long(const struct option_set *sets, size_t set_count, const char *name,
                        size_t len, struct error *err)
{
    const struct option_set *set = NULL;
    struct suggest suggest = {0};
    const char *synonym;
    char word[64];

    if (len >= sizeof word)
        return error_set(err, ERROR_USAGE, "unknown option --%.60s...", name);
    memcpy(word, name, len);
    word[len] = '\0';
    suggest_begin(&suggest, word);
    for (size_t i = 0; i < set_count; i++) {
        for (const struct option_spec *spec = sets[i].specs; spec && spec->name; spec++)
            suggest_offer(&suggest, spec->name);
    }
    synonym = synonym_of_option(word);
    if (synonym && find_long(sets, set_count, synonym, strlen(synonym), &set))
        return error_set(err, ERROR_USAGE, "unknown option --%s: byre calls that --%s", word,
                         synonym);
    if (suggest_nearest(&suggest))
        return error_set(err, ERROR_USAGE, "unknown option --%s (did you mean --%s?)", word,
                         suggest_nearest(&suggest));
    return error_set(err, ERROR_USAGE, "unknown option --%s", word);
}

/* Takes ${argv}[*at], which starts with two dashes, and its value. */
static int parse_long(const struct option_set *sets, size_t set_count, int argc,
                      const char *const *argv, int *at, struct error *err)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct option_set *set = NULL;
    const struct option_spec *spec = find_long(sets, set_count, name, len, &set);

    if (!spec)
        return unknown_long(sets, set_count, name, len, err);
    if (value && !takes_value(spec) && spec->kind != OPTION_OPTIONAL)
        return error_set(err, ERROR_USAGE, "option --%s takes no value", spec->name);
    if (!value && takes_value(spec)) {
        if (*at + 1 >= argc)
            return error_set(err, ERROR_USAGE, "option --%s needs a value: %s", spec->name,
                             spec->value);
        value = argv[++*at];
    }
    ++*at;
    return store(set, spec, value, err);
}

/* Takes ${argv}[*at], a dash and one or more letters, and the value of the last of them. */
static int parse_letters(const struct option_set *sets, size_t set_count, int argc,
                         const char *const *argv, int *at, struct error *err)
{
    const char *letters = argv[*at] + 1;

    ++*at;
    for (; *letters; letters++) {
        const struct option_set *set = NULL;
        const struct option_spec *spec = find_letter(sets, set_count, *letters, &set);
        const char *value = NULL;
        int rc;

        if (!spec)
            return error_set(err, ERROR_USAGE, "unknown option -%c", *letters);
        if (takes_value(spec)) {
            if (letters[1])
                value = letters + 1;
            else if (*at < argc)
                value = argv[(*at)++];
            else
                return error_set(err, ERROR_USAGE, "option -%c needs a value: %s", *letters,
                                 spec->value);
        }
        rc = store(set, spec, value, err);
        if (rc || value)
            return rc;
    }
    return 0;
}

int option_parse(const struct option_set *sets, size_t set_count, int argc, const char *const *argv,
                 bool stop, struct option_list *operands, int *used, struct error *err)
{
    bool options = true;
    int at = 0;
    int rc = 0;

    while (!rc && at < argc) {
        const char *arg = argv[at];

        if (options && strcmp(arg, "--") == 0) {
            options = false;
            at++;
        } else if (options && strncmp(arg, "--", 2) == 0) {
            rc = parse_long(sets, set_count, argc, argv, &at, err);
        } else if (options && arg[0] == '-' && arg[1]) {
            rc = parse_letters(sets, set_count, argc, argv, &at, err);
        } else if (stop) {
            break;
        } else {
            rc = option_list_add(operands, arg, err);
            at++;
        }
    }
    *used = at;
    return rc;
}

int option_number(const char *what, const char *text, long min, long max, long *number,
                  struct error *err)
{
    char *end = NULL;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || value < min ||
        value > max) {
        if (max == LONG_MAX)
            return error_set(err, ERROR_USAGE, "%s: not a number of at least %ld: \"%s\"", what,
                             min, text);
        return error_set(err, ERROR_USAGE, "%s: not a number from %ld to %ld: \"%s\"", what, min,
                         max, text);
    }
    *number = value;
    return 0;
}
