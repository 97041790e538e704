/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints help for at most 80 columns. */
#include "cli/help.h"

#include <string.h>

enum { OPTION_COLUMN = 30 };

static void print_options(FILE *stream, const struct option_spec *specs)
{
    for (; specs && specs->name; specs++) {
        char text[80];
        char letter[8] = "    ";

        if (specs->letter)
            snprintf(letter, sizeof letter, "-%c, ", specs->letter);
        if (specs->kind == OPTION_OPTIONAL)
            snprintf(text, sizeof text, "%s--%s[=%s]", letter, specs->name, specs->value);
        else
            snprintf(text, sizeof text, "%s--%s%s%s", letter, specs->name, specs->value ? " " : "",
                     specs->value ? specs->value : "");
        if (strlen(text) > OPTION_COLUMN - 4)
            fprintf(stream, "  %s\n%*s%s\n", text, OPTION_COLUMN, "", specs->help);
        else
            fprintf(stream, "  %-*s%s\n", OPTION_COLUMN - 2, text, specs->help);
        if (specs->environment)
            fprintf(stream, "%*s[%s]\n", OPTION_COLUMN, "", specs->environment);
    }
}

static void print_commands(FILE *stream, const struct command *const *table)
{
    for (; *table; table++) {
        if (!(*table)->hidden)
            fprintf(stream, "  %-12s%s\n", (*table)->name, (*table)->summary);
    }
}

void help_overview(FILE *stream)
{
    fputs("usage: byre COMMAND [OPTION...] [ARGUMENT...]\n"
          "\n"
          "Backs up qcow2 and raw disk images, whole chains of them, into an encrypted,\n"
          "deduplicating repository, and restores them as they were.\n"
          "\n"
          "commands:\n",
          stream);
    print_commands(stream, command_table);
    fputs("\noptions, before or after the command:\n", stream);
    print_options(stream, command_globals);
    fputs("\nbyre help COMMAND shows the options of one command, and byre-COMMAND(1) has the\n"
          "whole story; byre(1) is about all of them.\n",
          stream);
}

void help_command(FILE *stream, const struct command *parent, const struct command *command)
{
    fprintf(stream, "usage: byre %s%s%s%s%s%s\n\nbyre %s%s%s: %s\n", parent ? parent->name : "",
            parent ? " " : "", command->name, command->usage[0] ? " " : "", command->usage,
            command->specs ? " [OPTION...]" : "", parent ? parent->name : "", parent ? " " : "",
            command->name, command->summary);
    if (command->description)
        fprintf(stream, "\n%s", command->description);
    if (command->commands) {
        fputs("\ncommands:\n", stream);
        print_commands(stream, command->commands);
    }
    if (command->specs) {
        fputs("\noptions:\n", stream);
        print_options(stream, command->specs);
    }
    fprintf(stream,
            "\nbyre help shows the options that all commands take.\n"
            "byre-%s(1) has the whole story.\n",
            parent ? parent->name : command->name);
}
