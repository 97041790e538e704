/* SPDX-License-Identifier: BSD-2-Clause */
/* byre export: an archive as a tar that needs no byre. */
#include <string.h>
#include <unistd.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/directories.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"
#include "cli/units.h"

struct export_args {
    const char *output;
    const char *since;
    bool force;
};

static void print_json(FILE *stream, const struct engine_export_options *options,
                       const struct cs_archive *archive, const struct engine_export_result *result,
                       double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *files = json_array();

    for (size_t i = 0; i < result->file_count; i++) {
        const struct engine_exported_file *file = &result->files[i];
        json_t *object = json_object();

        json_object_set_new(object, "path", output_string(file->path));
        json_object_set_new(object, "layer",
                            file->layer[0] ? json_string(file->layer) : json_null());
        json_object_set_new(object, "bytes", output_size(file->bytes));
        json_array_append_new(files, object);
    }
    json_object_set_new(json, "archive", output_id(&archive->id));
    json_object_set_new(json, "since",
                        options->since ? output_id(&options->since->id) : json_null());
    json_object_set_new(json, "path", output_string(options->to));
    json_object_set_new(json, "files", files);
    json_object_set_new(json, "bytes_written", output_size(result->bytes_written));
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stream, json);
}

static void print_text(FILE *stream, const struct engine_export_result *result, double seconds)
{
    char size[UNITS_TEXT];
    char duration[UNITS_TEXT];

    for (size_t i = 0; i < result->file_count; i++)
        fprintf(stream, "%s, %s\n", text_clean(result->files[i].path),
                units_size(result->files[i].bytes, size));
    fprintf(stream, "exported %zu file%s, %s written, %s\n", result->file_count,
            result->file_count == 1 ? "" : "s", units_size(result->bytes_written, size),
            units_duration(seconds, duration));
}

static int check_args(const struct export_args *args)
{
    struct error err = {0};

    if (!args->output || !args->output[0])
        return fail_usage("export: where to? give -o FILE, or -o - for stdout");
    if (strcmp(args->output, "-") == 0 && isatty(STDOUT_FILENO))
        return fail_usage("stdout is a terminal, which a tar should not go to");
    return engine_export_check_name(args->output, &err) ? fail_error(&err) : 0;
}

/* Looks up what is named, sets ${*archive}, and exports it. */
static int export_archive(struct cs_store *store, const char *name, const char *since,
                          struct engine_export_options *options, const struct cs_archive **archive,
                          struct engine_export_result *result)
{
    struct cs_error store_err = {0};
    struct error err = {0};

    if (cs_require_data_key(store, &store_err))
        return fail_store(&store_err);
    if (archive_find(store, name, archive, &err) ||
        (since && archive_find(store, since, &options->since, &err)))
        return fail_error(&err);
    if (options->since && options->since == *archive)
        return fail_usage("--since: %s and %s are the same archive", since, name);
    return engine_export(store, *archive, options, result, &err) ? fail_error(&err) : 0;
}

static int run(const struct cli *cli)
{
    const struct export_args *args = cli->args;
    struct engine_export_options options = {
        .to = args->output,
        .temporary = directories_temporary(),
        .force = args->force,
    };
    struct engine_export_result result = {0};
    const struct cs_archive *archive = NULL;
    struct cs_store *store = NULL;
    struct progress progress;
    FILE *stream = stdout;
    double seconds;
    int code = check_args(args);

    if (!code)
        code = repository_open(&store, &cli->options);
    if (code)
        return code;
    if (strcmp(args->output, "-") == 0)
        stream = stderr; /* stdout is the tar's */
    progress_begin(&progress, &cli->options, stream);
    options.listener = listener_for(&progress);
    code = export_archive(store, cli->operands.items[0], args->since, &options, &archive, &result);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code && cli->options.json)
        print_json(stream, &options, archive, &result, seconds);
    else if (!code && !cli->options.quiet)
        print_text(stream, &result, seconds);
    engine_export_result_clear(&result);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct export_args, member)

static const struct option_spec specs[] = {
    {"output", 'o', OPTION_VALUE, ARG(output), "FILE",
     "a .tar, .tar.zst or .tar.gz, or - for a plain tar on stdout", NULL},
    {"since", 0, OPTION_VALUE, ARG(since), "ARCHIVE",
     "only what differs from this earlier one, as overlays", NULL},
    {"force", 0, OPTION_FLAG, ARG(force), NULL, "overwrite FILE", NULL},
    {0},
};

const struct command cmd_export = {
    .name = "export",
    .usage = "ARCHIVE -o FILE",
    .summary = "writes an archive as a tar that needs no byre to use",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "The tar holds the files that restore would write, manifest.json, and SHA256SUMS for\n"
    "sha256sum -c. With --since it holds one overlay for each image, over the file that\n"
    "the earlier archive's own export has: it runs as it is, or qemu-img commit applies\n"
    "it. The largest layer needs room for a copy in TMPDIR (/var/tmp).\n",
    .specs = specs,
    .args_size = sizeof(struct export_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
