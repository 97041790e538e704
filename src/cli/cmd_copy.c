/* SPDX-License-Identifier: BSD-2-Clause */
/* byre copy: archives from another repository into this one. */
#include <stdlib.h>

#include "cli/archive_find.h"
#include "cli/command.h"
#include "cli/compression.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/text.h"
#include "cli/units.h"
#include "engine/upkeep.h"

enum { SHORT_ID = 8 };

struct copy_args {
    const char *from;
    const char *compression;
    bool dry_run;
};

static const char *const states[] = {
    [ENGINE_COPY_DAMAGED] = "damaged",
    [ENGINE_COPY_PRESENT] = "present",
    [ENGINE_COPY_DONE] = "copied",
};

static void on_report(void *arg, const char *message)
{
    (void)arg;
    message_error(EXIT_CODE_DAMAGE, "%s", message);
}

/* Whether the other repository has an id for it. */
static bool has_id(const struct engine_copied *copied, bool dry_run)
{
    return copied->state == ENGINE_COPY_PRESENT || (copied->state == ENGINE_COPY_DONE && !dry_run);
}

static void print_json(const struct engine_copy_result *result, bool dry_run, double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *archives = json_array();

    for (size_t i = 0; i < result->count; i++) {
        const struct engine_copied *copied = &result->archives[i];
        json_t *archive = json_object();

        json_object_set_new(archive, "source", output_id(&copied->source->id));
        json_object_set_new(archive, "archive",
                            has_id(copied, dry_run) ? output_id(&copied->archive) : json_null());
        json_object_set_new(archive, "name", output_string(copied->source->name));
        json_object_set_new(archive, "state", json_string(states[copied->state]));
        json_array_append_new(archives, archive);
    }
    json_object_set_new(json, "dry_run", json_boolean(dry_run));
    json_object_set_new(json, "archives", archives);
    json_object_set_new(json, "bytes_new", output_size(result->stored.bytes_new));
    json_object_set_new(json, "bytes_stored", output_size(result->stored.bytes_stored));
    json_object_set_new(json, "chunks_total", output_size(result->stored.chunks_total));
    json_object_set_new(json, "chunks_new", output_size(result->stored.chunks_new));
    compression_report(json, &result->stored);
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
}

static void print_text(const struct engine_copy_result *result, bool dry_run, double seconds)
{
    char source[CS_ID_HEX];
    char target[CS_ID_HEX];
    char fresh[UNITS_TEXT];
    char stored[UNITS_TEXT];
    char duration[UNITS_TEXT];
    size_t done = 0;

    for (size_t i = 0; i < result->count; i++) {
        const struct engine_copied *copied = &result->archives[i];
        char *name = text_utf8(copied->source->name);

        cs_id_hex(&copied->source->id, source)[SHORT_ID] = '\0';
        cs_id_hex(&copied->archive, target)[SHORT_ID] = '\0';
        printf("%s %s: ", source, name ? text_clean(name) : "");
        if (copied->state == ENGINE_COPY_DAMAGED)
            puts("damaged, not copied");
        else if (copied->state == ENGINE_COPY_PRESENT)
            printf("is here already, as %s\n", target);
        else if (dry_run)
            puts("would be copied");
        else
            printf("copied as %s\n", target);
        done += copied->state == ENGINE_COPY_DONE;
        free(name);
    }
    printf("%zu archive%s copied%s: %s new, ", dry_run ? 0 : done, !dry_run && done == 1 ? "" : "s",
           dry_run ? " (dry run)" : "", units_size(result->stored.bytes_new, fresh));
    if (!dry_run)
        printf("%s stored, ", units_size(result->stored.bytes_stored, stored));
    printf("%s\n", units_duration(seconds, duration));
}

/* Finds the archives that the operands name. */
static int find_all(const struct cs_store *store, const struct option_list *names,
                    const struct cs_archive ***archives, struct error *err)
{
    int rc = 0;

    *archives = calloc(names->count, sizeof **archives);
    if (!*archives)
        return error_no_memory(err);
    for (size_t i = 0; !rc && i < names->count; i++)
        rc = archive_find(store, names->items[i], &(*archives)[i], err);
    return rc;
}

static int copy(const struct cli *cli, struct cs_store *from, struct cs_store *to, int level)
{
    const struct copy_args *args = cli->args;
    const struct cs_archive **archives = NULL;
    struct engine_copy_options options = {
        .archive_count = cli->operands.count,
        .dry_run = args->dry_run,
        .compression_level = level,
        .report = on_report,
    };
    struct engine_copy_result result = {0};
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code = 0;

    if (find_all(from, &cli->operands, &archives, &err)) {
        error_wrap(&err, "%s", args->from);
        code = fail_error(&err);
        goto out;
    }
    options.archives = archives;
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (engine_copy(from, to, &options, &result, &err))
        code = fail_error(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code) {
        if (cli->options.json)
            print_json(&result, args->dry_run, seconds);
        else if (!cli->options.quiet)
            print_text(&result, args->dry_run, seconds);
        if (result.damaged)
            code = EXIT_CODE_DAMAGE;
    }
out:
    engine_copy_result_clear(&result);
    free(archives);
    return code;
}

static int run(const struct cli *cli)
{
    const struct copy_args *args = cli->args;
    struct cs_store *from = NULL;
    struct cs_store *to = NULL;
    struct error err = {0};
    int level = 0;
    int code;

    if (!args->from)
        return fail_usage("copy: from which repository? give --from");
    if (compression_option("--compression", args->compression, &level, &err))
        return fail_error(&err);
    code = repository_open_silently(&to, &cli->options, false);
    if (!code)
        code = repository_open_other(&from, &cli->options, args->from);
    if (!code && cs_rollback_warning(from))
        message_warning("%s", cs_rollback_warning(from));
    if (!code)
        code = copy(cli, from, to, level);
    cs_close(from);
    cs_close(to);
    return code;
}

#define ARG(member) offsetof(struct copy_args, member)

static const struct option_spec specs[] = {
    {"from", 0, OPTION_VALUE, ARG(from), "REPO", "the repository that has the archives",
     "BYRE_FROM_PASSWORD_FILE and so on, for its secret"},
    {"dry-run", 0, OPTION_FLAG, ARG(dry_run), NULL, "copy nothing", NULL},
    COMPRESSION_OPTION(ARG(compression)),
    {0},
};

const struct command cmd_copy = {
    .name = "copy",
    .usage = "ARCHIVE...",
    .summary = "copies archives from another repository into this one",
    .description = COMMAND_ARCHIVE_HELP
    "\n"
    "The other repository needs a full key, for its data is read: it comes from\n"
    "BYRE_FROM_KEY_FILE, BYRE_FROM_PASSWORD_FILE, BYRE_FROM_PASSWORD_COMMAND or\n"
    "BYRE_FROM_PASSWORD, else it is asked for. Name, host, time and tags are kept. An\n"
    "archive that was copied before is not copied again. Data that is here already is\n"
    "found again where this repository was made with init --chunker-from.\n",
    .specs = specs,
    .args_size = sizeof(struct copy_args),
    .operands_min = 1,
    .operands_max = COMMAND_ANY,
    .run = run,
};
