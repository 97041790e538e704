/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goes along a command line as the parser does, but forgives what is wrong in
 * it, for it is not finished. What values and operands are, is told by the name
 * that help has for them.
 */
#include "cli/complete.h"

#include <string.h>

static const struct {
    const char *value;
    const char *option; /* only of this one; NULL: of any, and of operands */
    enum complete_kind kind;
} kinds[] = {
    {"ARCHIVE", NULL, COMPLETE_ARCHIVES}, {"B", NULL, COMPLETE_NOTHING},
    {"CMD", NULL, COMPLETE_NOTHING},      {"DIR", NULL, COMPLETE_DIRECTORIES},
    {"FILE", NULL, COMPLETE_FILES},       {"ID", NULL, COMPLETE_NOTHING},
    {"HOST", NULL, COMPLETE_NOTHING},     {"IMAGE", NULL, COMPLETE_FILES},
    {"JOB", NULL, COMPLETE_JOBS},         {"K", NULL, COMPLETE_NOTHING},
    {"LEVEL", NULL, COMPLETE_AUTO},       {"N", NULL, COMPLETE_NOTHING},
    {"NAME", "image", COMPLETE_NOTHING},  {"NODE", NULL, COMPLETE_NOTHING},
    {"DOMAIN", NULL, COMPLETE_NOTHING},   {"URI", NULL, COMPLETE_NOTHING},
    {"SOCKET", NULL, COMPLETE_FILES},     {"NAME", NULL, COMPLETE_NAMES},
    {"PATH", NULL, COMPLETE_FILES},       {"PERCENT", NULL, COMPLETE_NOTHING},
    {"RATE", NULL, COMPLETE_NOTHING},     {"REPO", NULL, COMPLETE_DIRECTORIES},
    {"SIZE", NULL, COMPLETE_NOTHING},     {"SPAN", NULL, COMPLETE_NOTHING},
    {"TAG", NULL, COMPLETE_TAGS},         {"WHAT", NULL, COMPLETE_NOTHING},
};

enum complete_kind complete_kind(const char *option, const char *value, size_t len)
{
    if (len == 0 || value[0] < 'A' || value[0] > 'Z')
        return COMPLETE_WORD;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strlen(kinds[i].value) == len && memcmp(kinds[i].value, value, len) == 0 &&
            (!kinds[i].option || (option && strcmp(kinds[i].option, option) == 0)))
            return kinds[i].kind;
    }
    return COMPLETE_UNKNOWN;
}

const char *complete_next(const struct complete *at, const char *value, size_t *len)
{
    const char *end = at->values ? at->values + at->values_len : NULL;

    if (!at->values)
        return NULL;
    value = value ? value + *len + 1 : at->values;
    if (value >= end)
        return NULL;
    *len = 0;
    while (value + *len < end && value[*len] != '|')
        ++*len;
    return value;
}

const char *complete_operand(const char *usage, size_t n, size_t *len)
{
    const char *found = NULL;

    for (size_t i = 0; *usage && *usage != '-'; i++) {
        size_t all = strcspn(usage, " ");
        size_t bracket = usage[0] == '[';

        *len = strcspn(usage + bracket, " .]");
        found = usage + bracket;
        if (i == n || memmem(usage, all, "...", 3))
            return found;
        found = NULL;
        usage += all;
        usage += strspn(usage, " ");
    }
    return found;
}

/* The option of ${command} or of all commands that takes its value from what follows ${word}. */
static const struct option_spec *awaits(const struct command *command, const char *word)
{
    const struct option_set sets[2] = {{command ? command->specs : NULL, NULL},
                                       {command_globals, NULL}};

    return option_awaits(sets, 2, word);
}

static void find_value(struct complete *at, const struct option_spec *spec, const char *value)
{
    at->option = spec->name;
    at->values = spec->value;
    at->values_len = strlen(spec->value);
    at->before = (size_t)(value - at->word);
    at->word = value;
}

/* ${word} begins with a dash. */
static void find_option(struct complete *at, const char *word)
{
    const struct option_set sets[2] = {{at->command ? at->command->specs : NULL, NULL},
                                       {command_globals, NULL}};
    const char *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    const struct option_spec *spec;

    at->options = true;
    at->commands = NULL;
    if (!equals)
        return;
    at->options = false;
    spec = option_find(sets, 2, word + 2, (size_t)(equals - word - 2));
    if (spec && spec->value)
        find_value(at, spec, equals + 1);
}

static void find_operand(struct complete *at, size_t operand)
{
    const struct command *command = at->command;

    if (at->commands || operand >= command->operands_max)
        return;
    at->values = complete_operand(command->usage, operand, &at->values_len);
}

void complete_find(struct complete *at, const char *const *words, size_t count)
{
    const struct command *const *table = command_table;
    bool options = true;
    size_t operand = 0;
    size_t i = 0;

    *at = (struct complete){.word = words[count - 1]};
    for (; i + 1 < count; i++) {
        const char *word = words[i];
        const struct option_spec *spec = options ? awaits(at->command, word) : NULL;

        if (spec && i + 2 == count) {
            find_value(at, spec, at->word);
            return;
        }
        if (spec) {
            i++;
        } else if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && word[0] == '-' && word[1]) {
            continue;
        } else if (table) {
            const struct command *command = command_find(table, word, NULL);

            if (!command)
                return;
            if (at->command != &cmd_help)
                at->command = command;
            table = command == &cmd_help ? command_table : command->commands;
        } else {
            operand++;
        }
    }
    at->commands = table;
    if (options && at->word[0] == '-') {
        find_option(at, at->word);
    } else if (at->command && at->command != &cmd_help) {
        find_operand(at, operand);
        at->options = options && !at->commands && !at->values && !at->word[0];
    }
}
