/* SPDX-License-Identifier: BSD-2-Clause */
/* byre version, which --version is as well. */
#include "cli/command.h"
#include "cli/output.h"

static int run(const struct cli *cli)
{
    if (cli->options.json)
        output_json(stdout, json_pack("{s:s}", "version", BYRE_VERSION));
    else
        printf("byre %s\n", BYRE_VERSION);
    return 0;
}

const struct command cmd_version = {
    .name = "version",
    .usage = "",
    .summary = "prints the version",
    .run = run,
};
