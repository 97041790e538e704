/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of commands and options as JSON, for whoever makes or tests something by them. */
#include "cli/help.h"

static json_t *options(const struct option_spec *specs)
{
    json_t *list = json_array();

    for (; specs && specs->name; specs++) {
        char letter[2] = {specs->letter, '\0'};

        json_array_append_new(
            list, json_pack("{s:s, s:s?, s:s?, s:b, s:b, s:s, s:s?}", "name", specs->name, "letter",
                            letter[0] ? letter : NULL, "value", specs->value, "value_optional",
                            specs->kind == OPTION_OPTIONAL, "repeatable",
                            specs->kind == OPTION_LIST || specs->kind == OPTION_COUNT, "help",
                            specs->help, "environment", specs->environment));
    }
    return list;
}

static json_t *commands(const struct command *const *table)
{
    json_t *list = json_array();

    for (; table && *table; table++) {
        if (!(*table)->hidden)
            json_array_append_new(list, help_json_command(*table));
    }
    return list;
}

json_t *help_json_command(const struct command *command)
{
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o}", "name", command->name, "usage",
                     command->usage, "summary", command->summary, "description",
                     command->description, "options", options(command->specs), "commands",
                     commands(command->commands));
}

json_t *help_json_overview(void)
{
    return json_pack("{s:o, s:o}", "options", options(command_globals), "commands",
                     commands(command_table));
}
