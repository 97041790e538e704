/* SPDX-License-Identifier: BSD-2-Clause */
/* byre restore: images out of an archive, into a folder, a file, a device or stdout. */
#include <string.h>
#include <unistd.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"
#include "cli/units.h"

struct restore_args {
    const char *to;
    const char *image;
    const char *snapshot;
    bool flatten;
    const char *format;
    bool keep_backing_names;
    bool force;
    bool verify;
};

static void print_json(FILE *stream, const struct engine_restore_result *result, double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *files = json_array();

    for (size_t i = 0; i < result->file_count; i++) {
        const struct engine_restored_file *file = &result->files[i];
        json_t *object = json_object();

        json_object_set_new(object, "path", output_string(file->path));
        json_object_set_new(object, "layer",
                            file->layer[0] ? json_string(file->layer) : json_null());
        json_object_set_new(object, "bytes_written", output_size(file->bytes_written));
        json_array_append_new(files, object);
    }
    json_object_set_new(json, "files", files);
    json_object_set_new(json, "bytes_written", output_size(result->bytes_written));
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stream, json);
}

static void print_text(FILE *stream, const struct engine_restore_result *result, double seconds)
{
    char size[UNITS_TEXT];
    char duration[UNITS_TEXT];

    for (size_t i = 0; i < result->file_count; i++)
        fprintf(stream, "%s, %s\n", text_clean(result->files[i].path),
                units_size(result->files[i].bytes_written, size));
    fprintf(stream, "restored %zu file%s, %s written, %s\n", result->file_count,
            result->file_count == 1 ? "" : "s", units_size(result->bytes_written, size),
            units_duration(seconds, duration));
}

static const char formats[] = "qcow2|raw|vmdk|vpc|vhdx|vdi";

/* False: there is no format ${name}, which may be NULL. */
static bool read_format(const char *name, enum engine_format *format)
{
    static const char *const names[] = {
        [ENGINE_QCOW2] = "qcow2", [ENGINE_RAW] = "raw",   [ENGINE_VMDK] = "vmdk",
        [ENGINE_VPC] = "vpc",     [ENGINE_VHDX] = "vhdx", [ENGINE_VDI] = "vdi",
    };

    *format = ENGINE_AS_STORED;
    for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i] && strcmp(name, names[i]) == 0)
            *format = (enum engine_format)i;
    return !name || *format != ENGINE_AS_STORED;
}

/* Checks what has to fit together. */
static int check_args(const struct restore_args *args, struct engine_restore_options *options)
{
    if (!args->to || !args->to[0])
        return fail_usage("restore: where to? give --to PATH");
    if (!read_format(args->format, &options->format))
        return fail_usage("--format: %s, not \"%s\"", formats, args->format);
    if (strcmp(args->to, "-") == 0) {
        if (options->format != ENGINE_RAW)
            return fail_usage("only a raw image can go to stdout: add --format raw");
        if (isatty(STDOUT_FILENO))
            return fail_usage("stdout is a terminal, which a disk image should not go to");
    }
    return 0;
}

static int restore(struct cs_store *store, const char *name,
                   const struct engine_restore_options *options,
                   struct engine_restore_result *result)
{
    const struct cs_archive *archive = NULL;
    struct cs_error store_err = {0};
    struct error err = {0};

    if (cs_require_data_key(store, &store_err))
        return fail_store(&store_err);
    if (archive_find(store, name, &archive, &err) ||
        engine_restore(store, archive, options, result, &err))
        return fail_error(&err);
    return 0;
}

static int run(const struct cli *cli)
{
    const struct restore_args *args = cli->args;
    struct engine_restore_options options = {
        .to = args->to,
        .image = args->image,
        .snapshot = args->snapshot,
        .flatten = args->flatten,
        .keep_backing_names = args->keep_backing_names,
        .force = args->force,
        .verify = args->verify,
    };
    struct engine_restore_result result = {0};
    struct cs_store *store = NULL;
    struct progress progress;
    FILE *stream = stdout;
    double seconds;
    int code = check_args(args, &options);

    if (!code)
        code = repository_open(&store, &cli->options);
    if (code)
        return code;
    if (strcmp(args->to, "-") == 0)
        stream = stderr; /* stdout is the image's */
    progress_begin(&progress, &cli->options, stream);
    options.listener = listener_for(&progress);
    code = restore(store, cli->operands.items[0], &options, &result);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code && cli->options.json)
        print_json(stream, &result, seconds);
    else if (!code && !cli->options.quiet)
        print_text(stream, &result, seconds);
    engine_restore_result_clear(&result);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct restore_args, member)

static const struct option_spec specs[] = {
    {"to", 0, OPTION_VALUE, ARG(to), "PATH", "where to write", NULL},
    {"image", 0, OPTION_VALUE, ARG(image), "NAME", "only this one: the end of its path", NULL},
    {"snapshot", 0, OPTION_VALUE, ARG(snapshot), "ID",
     "the disk as in this internal snapshot (flattens)", NULL},
    {"flatten", 0, OPTION_FLAG, ARG(flatten), NULL, "one file instead of a chain", NULL},
    {"format", 0, OPTION_VALUE, ARG(format), formats, "of one file (which flattens)", NULL},
    {"keep-backing-names", 0, OPTION_FLAG, ARG(keep_backing_names), NULL,
     "leave backing file names as they were", NULL},
    {"force", 0, OPTION_FLAG, ARG(force), NULL, "overwrite what is there", NULL},
    {"verify", 0, OPTION_FLAG, ARG(verify), NULL, "read the result back and compare", NULL},
    {0},
};

const struct command cmd_restore = {
    .name = "restore",
    .usage = "ARCHIVE --to PATH",
    .summary = "writes an archive's images as they were",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "Layers go below the folder PATH. One image that is flattened may also go to a\n"
    "file, a block device or, raw, to stdout (-).\n",
    .specs = specs,
    .args_size = sizeof(struct restore_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
