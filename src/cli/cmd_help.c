/* SPDX-License-Identifier: BSD-2-Clause */
/* byre help [COMMAND [COMMAND]]. */
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/help.h"
#include "cli/output.h"

static int run(const struct cli *cli)
{
    const struct command *const *table = command_table;
    const struct command *parent = NULL;
    const struct command *command = NULL;
    struct error err = {0};

    for (size_t i = 0; i < cli->operands.count; i++) {
        const char *word = cli->operands.items[i];

        if (!table)
            return fail_usage("%s has no commands of its own: %s", command->name, word);
        parent = command;
        command = command_find(table, word, &err);
        if (!command)
            return fail_error(&err);
        table = command->commands;
    }
    if (cli->options.json)
        output_json(stdout, command ? help_json_command(command) : help_json_overview());
    else if (command)
        help_command(stdout, parent, command);
    else
        help_overview(stdout);
    return 0;
}

const struct command cmd_help = {
    .name = "help",
    .usage = "[COMMAND...]",
    .summary = "explains byre, or one of its commands",
    .operands_max = COMMAND_ANY,
    .run = run,
};
