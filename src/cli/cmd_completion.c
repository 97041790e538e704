/* SPDX-License-Identifier: BSD-2-Clause */
/* byre completion: the script that makes a shell ask byre what may stand on its command line. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/completion_scripts.h"
#include "cli/fail.h"

static int run(const struct cli *cli)
{
    static const struct {
        const char *shell;
        const char *script;
    } scripts[] = {
        {"bash", completion_scripts_bash},
        {"zsh", completion_scripts_zsh},
        {"fish", completion_scripts_fish},
    };
    const char *shell = cli->operands.items[0];

    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(shell, scripts[i].shell) == 0) {
            fputs(scripts[i].script, stdout);
            return 0;
        }
    }
    return fail_usage("there is no completion for %s: bash, zsh or fish?", shell);
}

const struct command cmd_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "prints the script that completes byre's command line in a shell",
    .description = "bash:  . <(byre completion bash)\n"
                   "zsh:   . <(byre completion zsh)\n"
                   "fish:  byre completion fish | source\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
