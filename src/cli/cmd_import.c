/* SPDX-License-Identifier: BSD-2-Clause */
/* byre import: an exported tar becomes an archive again. */
#include <string.h>
#include <unistd.h>

#include "cli/backup_summary.h"
#include "cli/command.h"
#include "cli/directories.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/repository.h"

enum { COMPRESSION = 3 };

struct import_args {
    const char *name;
};

static int run(const struct cli *cli)
{
    const struct import_args *args = cli->args;
    struct engine_import_options options = {
        .from = cli->operands.items[0],
        .temporary = directories_temporary(),
        .name = args->name,
        .compression_level = COMPRESSION,
    };
    struct engine_backup_result result = {0};
    struct cs_store *store = NULL;
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code;

    if (args->name && engine_check_name(args->name, &err))
        return fail_error(&err);
    if (strcmp(options.from, "-") == 0 && isatty(STDIN_FILENO))
        return fail_usage("stdin is a terminal, which no tar comes from");
    code = repository_open_silently(&store, &cli->options, false);
    if (code)
        return code;
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (engine_import(store, &options, &result, &err))
        code = fail_error_of_sources(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code)
        backup_summary(&cli->options, &result, NULL, false, seconds);
    if (!code && result.partial)
        code = EXIT_CODE_PARTIAL;
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"name", 0, OPTION_VALUE, offsetof(struct import_args, name), "NAME",
     "the archive's name (default: that of the exported one)", NULL},
    {0},
};

const struct command cmd_import = {
    .name = "import",
    .usage = "FILE|-",
    .summary = "makes an archive of an exported tar",
    .description =
        "FILE is what export wrote without --since, or - for stdin; also compressed by "
        "others.\n"
        "It is unpacked in TMPDIR (/var/tmp), which needs the room, and removed again.\n",
    .specs = specs,
    .args_size = sizeof(struct import_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
