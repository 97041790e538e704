/* SPDX-License-Identifier: BSD-2-Clause */
/* byre show: reads one archive's record and has it printed and drawn. */
#include <stdlib.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/show.h"
#include "cli/units.h"

struct show_args {
    const char *image;
    struct maps_args maps;
};

/* Begins the file for the picture before anything is printed: it may not be possible. */
static int begin_maps(struct maps *maps, const struct cli *cli, const struct cs_archive *archive,
                      struct error *err)
{
    const struct show_args *args = cli->args;
    char hex[CS_ID_HEX];
    char time[UNITS_TEXT];
    char *title = NULL;
    int rc;

    cs_id_hex(&archive->id, hex)[8] = '\0';
    if (asprintf(&title, "%s, archive %s of %s", archive->name, hex,
                 units_local_time(archive->time, time)) < 0)
        return error_no_memory(err);
    rc = maps_begin(maps, &args->maps, cli->options.json, title, err);
    free(title);
    return rc;
}

static int show(const struct cli *cli, struct cs_store *store, struct maps *maps, struct error *err)
{
    const struct show_args *args = cli->args;
    const struct cs_archive *archive = NULL;
    struct terminal terminal = terminal_of(stdout, cli->options.verbose > 0);
    struct record_archive record = {0};
    struct engine_summary summary;
    int rc;

    rc = archive_find(store, cli->operands.items[0], &archive, err);
    if (!rc)
        rc = engine_read_summary(archive, &summary, err);
    if (!rc)
        rc = record_archive_read(&record, store, &archive->id, err);
    if (rc && archive)
        rc = engine_unless_forgotten(store, archive, err);
    if (!rc)
        rc = begin_maps(maps, cli, archive, err);
    if (!rc && cli->options.json)
        output_json(stdout, show_json(archive, &summary, &record));
    else if (!rc)
        show_text(stdout, &terminal, archive, &summary, &record);
    if (!rc && maps_wanted(&args->maps))
        rc = show_map(maps, &cli->options, store, archive, &record, args->image, err);
    record_archive_clear(&record);
    return rc;
}

static int run(const struct cli *cli)
{
    const struct show_args *args = cli->args;
    struct cs_store *store = NULL;
    struct maps maps = {0};
    struct error err = {0};
    int code;

    if (args->image && !maps_wanted(&args->maps))
        return fail_usage("--image chooses what --map and --svg draw");
    code = repository_open(&store, &cli->options);
    if (!code && show(cli, store, &maps, &err))
        code = fail_error(&err);
    maps_clear(&maps);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct show_args, member)

static const struct option_spec specs[] = {
    {"map", 0, OPTION_FLAG, ARG(maps.map), NULL, "draw the disks below, as blocks", NULL},
    {"svg", 0, OPTION_VALUE, ARG(maps.svg), "FILE", "draw them into FILE, for a report", NULL},
    {"force", 0, OPTION_FLAG, ARG(maps.force), NULL, "replace FILE where it exists", NULL},
    {"image", 0, OPTION_VALUE, ARG(image), "NAME", "draw only this one: the end of its path", NULL},
    {0},
};

const struct command cmd_show = {
    .name = "show",
    .usage = "ARCHIVE",
    .summary = "shows one archive: images, chains, layers, sizes",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "What is too long for a line is cut in the middle or wrapped; -v shows all of it.\n",
    .specs = specs,
    .args_size = sizeof(struct show_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
