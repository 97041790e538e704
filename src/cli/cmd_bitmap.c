/* SPDX-License-Identifier: BSD-2-Clause */
/* byre bitmap: names for byre's own bitmaps in images, and their removal. */
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"

static int run_name(const struct cli *cli)
{
    struct cs_store *store = NULL;
    char name[ENGINE_BITMAP_NAME];
    int code = repository_open(&store, &cli->options);

    if (code)
        return code;
    engine_bitmap_name(store, name);
    cs_close(store);
    if (cli->options.json)
        output_json(stdout, json_pack("{s:s, s:s}", "message_type", "summary", "name", name));
    else
        printf("%s\n", name);
    return 0;
}

static const struct command bitmap_name = {
    .name = "name",
    .usage = "",
    .summary = "prints a fresh name, for a bitmap that is added by other means",
    .run = run_name,
};

static void print_removed(const struct cli *cli, const char *image,
                          const struct engine_bitmap_result *result)
{
    if (cli->options.json) {
        json_t *names = json_array();

        for (size_t i = 0; i < result->count; i++)
            json_array_append_new(names, json_string(result->removed[i]));
        output_json(stdout, json_pack("{s:s, s:o, s:o}", "message_type", "summary", "image",
                                      output_string(image), "removed", names));
        return;
    }
    for (size_t i = 0; i < result->count; i++)
        printf("%s\n", result->removed[i]);
    if (result->count == 0)
        message_info("%s has no bitmap of this repository", image);
}

static int run_remove(const struct cli *cli)
{
    const char *image = cli->operands.items[0];
    struct engine_bitmap_result result = {0};
    struct cs_store *store = NULL;
    struct engine_listener listener = listener_for(NULL);
    struct error err = {0};
    int code = repository_open(&store, &cli->options);

    if (code)
        return code;
    listener.progress = NULL;
    if (engine_bitmap_remove(store, image, &listener, &result, &err))
        code = fail_error_of_sources(&err);
    if (!code || result.count)
        print_removed(cli, image, &result);
    engine_bitmap_result_clear(&result);
    cs_close(store);
    return code;
}

static const struct command bitmap_remove = {
    .name = "remove",
    .usage = "IMAGE",
    .summary = "removes this repository's bitmaps from an image, and names them",
    .operands_min = 1,
    .operands_max = 1,
    .run = run_remove,
};

static const struct command *const bitmap_commands[] = {&bitmap_name, &bitmap_remove, NULL};

const struct command cmd_bitmap = {
    .name = "bitmap",
    .usage = "COMMAND",
    .summary = "manages byre's own dirty bitmaps in images",
    .commands = bitmap_commands,
};
