/* SPDX-License-Identifier: BSD-2-Clause */
/* byre prune: frees what no archive needs. */
#include "cli/cmd_prune.h"

#include <stdio.h>

#include "cli/command.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/units.h"
#include "engine/upkeep.h"

#define DEFAULT_MAX_UNUSED 0.05

struct prune_args {
    bool dry_run;
    bool no_grace;
    const char *max_unused;
};

void cmd_prune_add_json(json_t *json, const struct cs_prune_result *result)
{
    json_object_set_new(json, "bytes_before", output_size(result->bytes_before));
    json_object_set_new(json, "bytes_after", output_size(result->bytes_after));
    json_object_set_new(json, "packs_deleted", output_size(result->packs_deleted));
    json_object_set_new(json, "packs_rewritten", output_size(result->packs_rewritten));
    json_object_set_new(json, "bytes_unused", output_size(result->bytes_unused));
    json_object_set_new(json, "bytes_spared", output_size(result->bytes_spared));
}

void cmd_prune_print(const struct cs_prune_result *result, bool dry_run)
{
    char freed[UNITS_TEXT];
    char left[UNITS_TEXT];
    char text[UNITS_TEXT];
    uint64_t bytes =
        result->bytes_before > result->bytes_after ? result->bytes_before - result->bytes_after : 0;

    printf("%s %sfreed, %s left: %llu pack%s deleted, %llu rewritten\n", units_size(bytes, freed),
           dry_run ? "would be " : "", units_size(result->bytes_after, left),
           (unsigned long long)result->packs_deleted, result->packs_deleted == 1 ? "" : "s",
           (unsigned long long)result->packs_rewritten);
    if (result->bytes_spared)
        printf("%s may be of a backup that was interrupted, or goes on: left for a day"
               " (--no-grace does not)\n",
               units_size(result->bytes_spared, text));
}

int cmd_prune_store(struct cs_store *store, const struct global_options *globals,
                    const struct engine_prune_options *asked, struct cs_prune_result *result,
                    double *seconds)
{
    struct engine_prune_options options = *asked;
    struct progress progress;
    struct error err = {0};
    int rc;

    progress_begin(&progress, globals, stdout);
    options.listener = listener_for(&progress);
    rc = engine_prune(store, &options, result, &err);
    *seconds = progress_seconds(&progress);
    progress_end(&progress);
    return rc ? fail_error(&err) : 0;
}

struct engine_prune_options cmd_prune_defaults(void)
{
    return (struct engine_prune_options){.max_unused = DEFAULT_MAX_UNUSED};
}

static int run(const struct cli *cli)
{
    const struct prune_args *args = cli->args;
    struct engine_prune_options options = cmd_prune_defaults();
    struct cs_prune_result result = {0};
    struct cs_store *store = NULL;
    struct error err = {0};
    double seconds = 0;
    int code;

    options.dry_run = args->dry_run;
    options.no_grace = args->no_grace;
    if (args->max_unused &&
        units_parse_share("--max-unused", args->max_unused, &options.max_unused, &err))
        return fail_error(&err);
    code = repository_open_silently(&store, &cli->options, false);
    if (code)
        return code;
    code = cmd_prune_store(store, &cli->options, &options, &result, &seconds);
    if (!code && cli->options.json) {
        json_t *json = json_pack("{s:s}", "message_type", "summary");

        json_object_set_new(json, "dry_run", json_boolean(args->dry_run));
        cmd_prune_add_json(json, &result);
        json_object_set_new(json, "seconds", output_seconds(seconds));
        output_json(stdout, json);
    } else if (!code && !cli->options.quiet) {
        cmd_prune_print(&result, args->dry_run);
    }
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"dry-run", 0, OPTION_FLAG, offsetof(struct prune_args, dry_run), NULL,
     "say what would be done", NULL},
    {"max-unused", 0, OPTION_VALUE, offsetof(struct prune_args, max_unused), "PERCENT",
     "of what stays, so much may be unused (default: 5)", NULL},
    {"no-grace", 0, OPTION_FLAG, offsetof(struct prune_args, no_grace), NULL,
     "also free what an interrupted backup stored within a day", NULL},
    {0},
};

const struct command cmd_prune = {
    .name = "prune",
    .usage = "",
    .summary = "frees space that no archive needs",
    .description =
        "Backups may run meanwhile. What is needed of packs that are unused in part is moved to\n"
        "new ones, until no more of the whole is unused than may be.\n",
    .specs = specs,
    .args_size = sizeof(struct prune_args),
    .run = run,
};
