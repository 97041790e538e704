/* SPDX-License-Identifier: BSD-2-Clause */
/* byre tag: changes the tags of an archive. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/archive_find.h"
#include "cli/archive_view.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"

struct tag_args {
    struct option_list add;
    struct option_list remove;
};

static int check_tags(const struct option_list *tags, struct error *err)
{
    for (size_t i = 0; i < tags->count; i++) {
        if (engine_check_name(tags->items[i], err))
            return error_wrap(err, "tag");
    }
    return 0;
}

static void print_json(const struct cs_archive *archive)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *tags = json_array();

    for (size_t i = 0; i < archive->tag_count; i++)
        json_array_append_new(tags, output_string(archive->tags[i]));
    json_object_set_new(json, "archive", output_id(&archive->id));
    json_object_set_new(json, "tags", tags);
    output_json(stdout, json);
}

static void print_text(const struct cs_archive *archive)
{
    char hex[CS_ID_HEX];
    char *tags = archive_view_tags(archive, ", ");

    cs_id_hex(&archive->id, hex)[8] = '\0';
    printf("archive %s: %s\n", hex, !tags || !tags[0] ? "no tags" : text_clean(tags));
    free(tags);
}

static int run(const struct cli *cli)
{
    const struct tag_args *args = cli->args;
    const struct cs_archive *archive = NULL;
    struct cs_store *store = NULL;
    struct cs_error store_err = {0};
    struct error err = {0};
    int code;

    if (!args->add.count && !args->remove.count)
        return fail_usage("which tags? --add gives some, --remove takes some");
    if (check_tags(&args->add, &err))
        return fail_error(&err);
    code = repository_open_silently(&store, &cli->options, false);
    if (code)
        return code;
    if (archive_find(store, cli->operands.items[0], &archive, &err))
        code = fail_error(&err);
    else if (cs_tag(store, &archive->id, args->remove.items, args->remove.count, args->add.items,
                    args->add.count, &store_err))
        code = fail_store(&store_err);
    else if (cli->options.json)
        print_json(archive);
    else if (!cli->options.quiet)
        print_text(archive);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"add", 0, OPTION_LIST, offsetof(struct tag_args, add), "TAG",
     "give it this tag; may be repeated", NULL},
    {"remove", 0, OPTION_LIST, offsetof(struct tag_args, remove), "TAG",
     "take this tag from it; may be repeated", NULL},
    {0},
};

const struct command cmd_tag = {
    .name = "tag",
    .usage = "ARCHIVE",
    .summary = "changes the tags of an archive",
    .description = COMMAND_ARCHIVE_HELP,
    .specs = specs,
    .args_size = sizeof(struct tag_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
