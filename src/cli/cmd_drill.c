/* SPDX-License-Identifier: BSD-2-Clause */
/* byre drill: restores an archive for practice, and tells what came of it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"
#include "cli/units.h"
#include "engine/drill.h"

enum { SHORT_ID = 8 };

struct drill_args {
    const char *command;
    const char *to;
    bool keep;
};

static const char *const verdicts[] = {
    [ENGINE_DRILL_READ] = "read",
    [ENGINE_DRILL_CLEAN] = "clean",
    [ENGINE_DRILL_LEAKS] = "leaks",
    [ENGINE_DRILL_FAILED] = "failed",
};

/* What was done about ${file}, in words. */
static const char *file_words(const struct engine_drill_file *file)
{
    switch (file->check) {
    case ENGINE_DRILL_CLEAN:
        return "reads back, qemu-img check: clean";
    case ENGINE_DRILL_LEAKS:
        return "reads back, qemu-img check: leaked clusters";
    case ENGINE_DRILL_FAILED:
        return "reads back, but qemu-img check: FAILED";
    case ENGINE_DRILL_READ:
        break;
    }
    return file->encrypted ? "reads back (encrypted, qemu-img cannot check it)" : "reads back";
}

static const char *image_words(const struct engine_drill_image *image)
{
    if (image->chain == ENGINE_DRILL_CLEAN)
        return "its chain opens";
    if (image->chain == ENGINE_DRILL_FAILED)
        return "its chain does not open: FAILED";
    return image->complete ? "one file" : "its backing file is not part of the archive";
}

static void print_text(const struct cs_archive *archive, const struct engine_drill_result *result,
                       const struct drill_args *args, double seconds)
{
    char size[UNITS_TEXT];
    char duration[UNITS_TEXT];
    char id[CS_ID_HEX];
    char *name = text_utf8(archive->name);

    for (size_t i = 0; i < result->file_count; i++) {
        const struct engine_drill_file *file = &result->files[i];

        printf("%s: %s written, %s\n", text_clean(file->path),
               units_size(file->bytes_written, size), file_words(file));
        if (file->message)
            printf("    %s\n", text_clean(file->message));
    }
    for (size_t i = 0; i < result->image_count; i++) {
        const struct engine_drill_image *image = &result->images[i];

        printf("image %s, %zu layer%s: %s\n", text_clean(image->name), image->layer_count,
               image->layer_count == 1 ? "" : "s", image_words(image));
        if (image->message)
            printf("    %s\n", text_clean(image->message));
    }
    if (result->command_ran)
        printf("the command ended with %d\n", result->command_code);
    else if (args->command)
        puts("the command was not run");
    cs_id_hex(&archive->id, id)[SHORT_ID] = '\0';
    printf("drill of %s %s: %s, %zu file%s, %s written, %s\n", id, name ? text_clean(name) : "",
           result->failures ? "FAILED" : "fine", result->file_count,
           result->file_count == 1 ? "" : "s", units_size(result->bytes_written, size),
           units_duration(seconds, duration));
    free(name);
}

static json_t *files_json(const struct engine_drill_result *result)
{
    json_t *files = json_array();

    for (size_t i = 0; i < result->file_count; i++) {
        const struct engine_drill_file *file = &result->files[i];
        json_t *json = json_object();

        json_object_set_new(json, "path", output_string(file->path));
        json_object_set_new(json, "layer", file->layer[0] ? json_string(file->layer) : json_null());
        json_object_set_new(json, "bytes_written", output_size(file->bytes_written));
        json_object_set_new(json, "check", json_string(verdicts[file->check]));
        json_object_set_new(json, "message", output_string(file->message));
        json_array_append_new(files, json);
    }
    return files;
}

static json_t *images_json(const struct engine_drill_result *result)
{
    json_t *images = json_array();

    for (size_t i = 0; i < result->image_count; i++) {
        const struct engine_drill_image *image = &result->images[i];
        json_t *json = json_object();

        json_object_set_new(json, "name", output_string(image->name));
        json_object_set_new(json, "path", output_string(image->path));
        json_object_set_new(json, "layers", output_size(image->layer_count));
        json_object_set_new(json, "complete", json_boolean(image->complete));
        json_object_set_new(json, "chain", json_string(verdicts[image->chain]));
        json_object_set_new(json, "message", output_string(image->message));
        json_array_append_new(images, json);
    }
    return images;
}

static void print_json(const struct cs_archive *archive, const struct engine_drill_result *result,
                       const struct drill_args *args, double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");

    json_object_set_new(json, "archive", output_id(&archive->id));
    json_object_set_new(json, "name", output_string(archive->name));
    json_object_set_new(json, "ok", json_boolean(result->failures == 0));
    json_object_set_new(json, "failures", output_size(result->failures));
    json_object_set_new(json, "files", files_json(result));
    json_object_set_new(json, "images", images_json(result));
    json_object_set_new(json, "command_exit",
                        result->command_ran ? json_integer(result->command_code) : json_null());
    json_object_set_new(json, "folder", args->keep ? output_string(result->folder) : json_null());
    json_object_set_new(json, "bytes_written", output_size(result->bytes_written));
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
}

/* The one line that says why it failed. */
static int fail_drill(const struct cs_archive *archive, const struct engine_drill_result *result)
{
    char id[CS_ID_HEX];

    cs_id_hex(&archive->id, id)[SHORT_ID] = '\0';
    if (result->command_ran && result->command_code != 0)
        message_error(EXIT_CODE_FAILED, "drill of archive %s: the command ended with %d", id,
                      result->command_code);
    else
        message_error(EXIT_CODE_FAILED, "drill of archive %s: %zu check%s failed", id,
                      result->failures, result->failures == 1 ? "" : "s");
    return EXIT_CODE_FAILED;
}

static void on_command(void *arg)
{
    progress_end(arg); /* the terminal is the command's now */
}

static const char *default_folder(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/var/tmp";
}

static int drill(const struct cli *cli, struct cs_store *store)
{
    const struct drill_args *args = cli->args;
    const char *name = cli->operands.count ? cli->operands.items[0] : "latest";
    struct engine_drill_options options = {
        .folder = args->to ? args->to : default_folder(),
        .command = args->command,
        .before_command = on_command,
        .keep = args->keep,
    };
    const struct cs_archive *archive = NULL;
    struct engine_drill_result result = {0};
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code = 0;

    if (archive_find(store, name, &archive, &err))
        return fail_error(&err);
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (engine_drill(store, archive, &options, &result, &err))
        code = fail_error(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code && cli->options.json)
        print_json(archive, &result, args, seconds);
    else if (!code && !cli->options.quiet)
        print_text(archive, &result, args, seconds);
    if (args->keep && result.folder)
        message_info("kept: %s", result.folder);
    if (!code && result.failures)
        code = fail_drill(archive, &result);
    engine_drill_result_clear(&result);
    return code;
}

static int run(const struct cli *cli)
{
    struct cs_store *store = NULL;
    int code = repository_open(&store, &cli->options);

    if (!code)
        code = drill(cli, store);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct drill_args, member)

static const struct option_spec specs[] = {
    {"command", 0, OPTION_VALUE, ARG(command), "CMD",
     "what /bin/sh runs on the result: has to end with 0", NULL},
    {"to", 0, OPTION_VALUE, ARG(to), "DIR",
     "below which folder to restore (default: TMPDIR, or /var/tmp)", NULL},
    {"keep", 0, OPTION_FLAG, ARG(keep), NULL, "leave what was restored, and say where", NULL},
    {0},
};

const struct command cmd_drill = {
    .name = "drill",
    .usage = "[ARCHIVE]",
    .summary = "restores an archive for practice, checks it, and removes it",
    .description = COMMAND_ARCHIVE_HELP
    "Without one, it is latest.\n"
    "\n"
    "The images go to a fresh folder, are read back, and judged by qemu-img. CMD runs\n"
    "in that folder, with its path in BYRE_DRILL_DIR, the archive's id in\n"
    "BYRE_DRILL_ARCHIVE, and the images' paths in BYRE_DRILL_IMAGES, one a line; what\n"
    "it says goes to stderr. Where a check fails, or CMD, the exit code is 1; where\n"
    "stored data is damaged, 4.\n",
    .specs = specs,
    .args_size = sizeof(struct drill_args),
    .operands_max = 1,
    .run = run,
};
