/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a command line to a command: global options, the command's one or two
 * words, then its options and operands in any order. Messages are set up before
 * anything can fail, so that wrong usage is told as JSON too.
 */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/help.h"
#include "cli/message.h"

/* Whether --json is among the arguments; a guess, for failures of the parsing itself. */
static bool asks_for_json(int argc, const char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static int check_operands(const struct command *command, size_t count)
{
    if (count < command->operands_min)
        return fail_usage("%s: an argument is missing: %s", command->name, command->usage);
    if (count > command->operands_max)
        return fail_usage(command->operands_max ? "%s: too many arguments"
                                                : "%s takes no arguments",
                          command->name);
    return 0;
}

/* Runs ${cli->command}, whose options and operands are ${argv}. */
static int run(struct cli *cli, const struct command *parent, int argc, const char *const *argv)
{
    const struct command *command = cli->command;
    void *args = calloc(1, command->args_size ? command->args_size : 1);
    struct option_set sets[2] = {{command->specs, args}, {command_globals, &cli->options}};
    struct error err = {0};
    int used = 0;
    int code;

    if (!args) {
        error_no_memory(&err);
        return fail_error(&err);
    }
    if (option_parse(sets, 2, argc, argv, false, &cli->operands, &used, &err)) {
        code = fail_error(&err);
        goto out;
    }
    message_setup(cli->options.json,
                  cli->options.quiet && !cli->options.verbose ? -1 : cli->options.verbose);
    cli->args = args;
    if (cli->options.help) {
        help_command(stdout, parent, command);
        code = 0;
    } else if (cli->options.version) {
        code = cmd_version.run(cli);
    } else {
        code = check_operands(command, cli->operands.count);
        if (!code)
            code = command->run(cli);
    }
out:
    option_set_clear(&sets[0]);
    option_list_clear(&cli->operands);
    free(args);
    return code;
}

int run_command_line(int argc, const char *const *argv)
{
    struct cli cli = {0};
    struct option_set globals = {command_globals, &cli.options};
    const struct command *const *table = command_table;
    const struct command *parent = NULL;
    struct error err = {0};

    message_setup(asks_for_json(argc, argv), 0);
    if (argc) { /* the program's own name */
        argc--;
        argv++;
    }
    while (table) {
        int used = 0;

        if (option_parse(&globals, 1, argc, argv, true, &cli.operands, &used, &err)) {
            if (!cli.command)
                error_wrap(&err, "before the command");
            return fail_error(&err);
        }
        argc -= used;
        argv += used;
        if (!argc)
            break;
        parent = cli.command;
        cli.command = command_find(table, argv[0], &err);
        if (!cli.command)
            return fail_error(&err);
        table = cli.command->commands;
        argc--;
        argv++;
    }
    if (!table)
        return run(&cli, parent, argc, argv);
    if (cli.options.version)
        return cmd_version.run(&cli);
    if (cli.options.help) {
        if (cli.command)
            help_command(stdout, NULL, cli.command);
        else
            help_overview(stdout);
        return 0;
    }
    if (cli.command)
        return fail_usage("%s: which command? byre help %s lists them", cli.command->name,
                          cli.command->name);
    if (cli.options.json)
        return fail_usage("which command? byre help lists them");
    help_overview(stderr);
    return EXIT_CODE_USAGE;
}
