/* SPDX-License-Identifier: BSD-2-Clause */
/* byre show: reads one archive's record and has it printed. */
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/show.h"

static int show(const struct cli *cli, struct cs_store *store, struct error *err)
{
    const struct cs_archive *archive = NULL;
    struct record_archive record = {0};
    struct engine_summary summary;
    int rc;

    rc = engine_find_archive(store, cli->operands.items[0], &archive, err);
    if (!rc)
        rc = engine_read_summary(archive, &summary, err);
    if (!rc)
        rc = record_archive_read(&record, store, &archive->id, err);
    if (rc && archive)
        rc = engine_unless_forgotten(store, archive, err);
    if (!rc && cli->options.json)
        output_json(stdout, show_json(archive, &summary, &record));
    else if (!rc)
        show_text(stdout, archive, &summary, &record);
    record_archive_clear(&record);
    return rc;
}

static int run(const struct cli *cli)
{
    struct cs_store *store = NULL;
    struct error err = {0};
    int code = repository_open(&store, &cli->options);

    if (!code && show(cli, store, &err))
        code = fail_error(&err);
    cs_close(store);
    return code;
}

const struct command cmd_show = {
    .name = "show",
    .usage = "ARCHIVE",
    .summary = "shows one archive: images, chains, layers, sizes",
    .description = COMMAND_ARCHIVE_HELP,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
