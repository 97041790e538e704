/* SPDX-License-Identifier: BSD-2-Clause */
/* byre forget: makes an end of archives, by name or by rules. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/archive_find.h"
#include "cli/archive_view.h"
#include "cli/cmd_prune.h"
#include "cli/command.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/table.h"
#include "cli/units.h"
#include "engine/upkeep.h"

struct forget_args {
    const char *last;
    const char *hourly;
    const char *daily;
    const char *weekly;
    const char *monthly;
    const char *yearly;
    const char *within;
    struct option_list tags;
    const char *group_by;
    const char *name;
    const char *host;
    struct option_list with_tags;
    bool dry_run;
    bool prune;
};

/* ---- what is asked for ---- */

static int read_rules(const struct forget_args *args, struct engine_keep *keep, struct error *err)
{
    const struct {
        const char *option;
        const char *text;
        unsigned *count;
    } rules[] = {
        {"--keep-last", args->last, &keep->last},
        {"--keep-hourly", args->hourly, &keep->hourly},
        {"--keep-daily", args->daily, &keep->daily},
        {"--keep-weekly", args->weekly, &keep->weekly},
        {"--keep-monthly", args->monthly, &keep->monthly},
        {"--keep-yearly", args->yearly, &keep->yearly},
    };

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        long value = 0;

        if (rules[i].text && option_number(rules[i].option, rules[i].text, 0, INT_MAX, &value, err))
            return err->code;
        *rules[i].count = (unsigned)value;
    }
    if (args->within && engine_parse_span(args->within, &keep->within, err))
        return error_wrap(err, "--keep-within");
    keep->tags = args->tags.items;
    keep->tag_count = args->tags.count;
    return 0;
}

static int read_groups(const struct forget_args *args, struct engine_forget_options *options,
                       struct error *err)
{
    static const struct {
        const char *text;
        bool name;
        bool host;
    } known[] = {
        {"name,host", true, true}, {"host,name", true, true}, {"name", true, false},
        {"host", false, true},     {"", false, false},
    };
    const char *text = args->group_by ? args->group_by : known[0].text;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].text) == 0) {
            options->group_by_name = known[i].name;
            options->group_by_host = known[i].host;
            return 0;
        }
    }
    return error_set(err, ERROR_USAGE,
                     "--group-by: \"%s\" is none of name, host, \"name,host\" and \"\"", text);
}

static int find_archives(const struct cs_store *store, const struct option_list *operands,
                         const struct cs_archive ***archives, struct error *err)
{
    *archives = calloc(operands->count + 1, sizeof(struct cs_archive *));
    if (!*archives)
        return error_no_memory(err);
    for (size_t i = 0; i < operands->count; i++) {
        if (archive_find(store, operands->items[i], &(*archives)[i], err))
            return err->code;
    }
    return 0;
}

/* ---- what became of it ---- */

static json_t *decision_json(const struct engine_decision *decision)
{
    json_t *json = json_object();
    json_t *tags = json_array();
    json_t *reasons = json_array();
    char time[UNITS_TEXT];

    for (size_t i = 0; i < decision->archive->tag_count; i++)
        json_array_append_new(tags, output_string(decision->archive->tags[i]));
    for (size_t i = 0; i < decision->reason_count; i++)
        json_array_append_new(reasons, output_string(decision->reasons[i]));
    json_object_set_new(json, "id", output_id(&decision->archive->id));
    json_object_set_new(json, "name", output_string(decision->archive->name));
    json_object_set_new(json, "host", output_string(decision->archive->host));
    json_object_set_new(json, "time", json_string(units_utc_time(decision->archive->time, time)));
    json_object_set_new(json, "tags", tags);
    json_object_set_new(json, "reasons", reasons);
    return json;
}

/* ${pruned}: NULL where nothing was. */
static void print_json(const struct engine_forget_result *result, bool dry_run,
                       const struct cs_prune_result *pruned)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *kept = json_array();
    json_t *forgotten = json_array();

    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(result->decisions[i].keep ? kept : forgotten,
                              decision_json(&result->decisions[i]));
    json_object_set_new(json, "dry_run", json_boolean(dry_run));
    json_object_set_new(json, "kept", kept);
    json_object_set_new(json, "forgotten", forgotten);
    if (pruned)
        cmd_prune_add_json(json, pruned);
    output_json(stdout, json);
}

static char *join_reasons(const struct engine_decision *decision)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        return NULL;
    for (size_t i = 0; i < decision->reason_count; i++)
        fprintf(stream, "%s%s", i ? ", " : "", decision->reasons[i]);
    if (fclose(stream)) {
        free(text);
        return NULL;
    }
    return text;
}

static int add_row(struct table *table, const struct engine_decision *decision, int digits,
                   struct error *err)
{
    char hex[CS_ID_HEX];
    char time[UNITS_TEXT];
    char *reasons = join_reasons(decision);
    int rc = 0;

    if (!reasons)
        return error_no_memory(err);
    cs_id_hex(&decision->archive->id, hex)[digits] = '\0';
    {
        const char *const cells[] = {
            decision->keep ? "keep" : "forget",
            hex,
            units_utc_time(decision->archive->time, time),
            decision->archive->name,
            decision->archive->host,
            reasons,
        };

        for (size_t i = 0; !rc && i < sizeof cells / sizeof cells[0]; i++)
            rc = table_add(table, cells[i], err);
    }
    free(reasons);
    return rc;
}

static int print_text(const struct cli *cli, const struct engine_forget_result *result, int digits,
                      bool dry_run, struct error *err)
{
    enum { NAME = 1 << 3, HOST = 1 << 4, REASONS = 1 << 5 };
    static const char *const headings[] = {"", "ID", "TIME", "NAME", "HOST", "BECAUSE OF"};
    struct terminal terminal = terminal_of(stdout, cli->options.verbose > 0);
    struct table table;
    int rc = 0;

    table_begin(&table, sizeof headings / sizeof headings[0], headings, NULL);
    for (size_t i = 0; !rc && i < result->count; i++)
        rc = add_row(&table, &result->decisions[i], digits, err);
    if (!rc && result->count)
        table_print_fit(&table, &terminal, NAME | HOST | REASONS, stdout);
    table_clear(&table);
    if (!rc && !cli->options.quiet)
        printf("%zu archive%s %sforgotten, %zu kept\n", result->forgotten_count,
               result->forgotten_count == 1 ? "" : "s", dry_run ? "would be " : "",
               result->count - result->forgotten_count);
    return rc;
}

static int report(const struct cli *cli, const struct engine_forget_result *result, int digits,
                  const struct cs_prune_result *pruned)
{
    const struct forget_args *args = cli->args;
    struct error err = {0};

    if (cli->options.json) {
        print_json(result, args->dry_run, pruned);
        return 0;
    }
    if (print_text(cli, result, digits, args->dry_run, &err))
        return fail_error(&err);
    return 0;
}

/* Forgets, and prunes where that is asked for. */
static int forget(const struct cli *cli, struct cs_store *store,
                  const struct engine_forget_options *options)
{
    const struct forget_args *args = cli->args;
    bool prunes = args->prune && !args->dry_run;
    int digits = archive_view_digits(store);
    struct engine_prune_options prune_options = cmd_prune_defaults();
    struct cs_prune_result pruned = {0};
    struct engine_forget_result result = {0};
    struct error err = {0};
    double seconds = 0;
    int code = 0;

    if (engine_forget(store, options, &result, &err))
        code = fail_error(&err);
    /* Somebody who reads along wants to know what was forgotten before it takes its time. */
    if (!code && (!prunes || !cli->options.json))
        code = report(cli, &result, digits, NULL);
    if (!code && prunes)
        code = cmd_prune_store(store, &cli->options, &prune_options, &pruned, &seconds);
    if (!code && prunes && cli->options.json)
        code = report(cli, &result, digits, &pruned);
    else if (!code && prunes && !cli->options.quiet)
        cmd_prune_print(&pruned, false);
    engine_forget_result_clear(&result);
    return code;
}

static int run(const struct cli *cli)
{
    const struct forget_args *args = cli->args;
    struct engine_forget_options options = {
        .name = args->name,
        .host = args->host,
        .tags = args->with_tags.items,
        .tag_count = args->with_tags.count,
        .dry_run = args->dry_run,
        .archive_count = cli->operands.count,
    };
    const struct cs_archive **archives = NULL;
    struct cs_store *store = NULL;
    struct error err = {0};
    int code;

    if (read_rules(args, &options.keep, &err) || read_groups(args, &options, &err))
        return fail_error(&err);
    if ((args->name || args->host || args->with_tags.count) && cli->operands.count)
        return fail_usage("--name, --host and --tag choose among the archives for the rules, not "
                          "among named ones");
    code = repository_open_silently(&store, &cli->options, false);
    if (code)
        return code;
    if (find_archives(store, &cli->operands, &archives, &err))
        code = fail_error(&err);
    options.archives = archives;
    if (!code)
        code = forget(cli, store, &options);
    free(archives);
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct forget_args, member)

static const struct option_spec specs[] = {
    {"keep-last", 0, OPTION_VALUE, ARG(last), "N", "keep the newest N", NULL},
    {"keep-hourly", 0, OPTION_VALUE, ARG(hourly), "N", "and of the last N hours the newest", NULL},
    {"keep-daily", 0, OPTION_VALUE, ARG(daily), "N", "the same for days", NULL},
    {"keep-weekly", 0, OPTION_VALUE, ARG(weekly), "N", "the same for weeks (ISO 8601)", NULL},
    {"keep-monthly", 0, OPTION_VALUE, ARG(monthly), "N", "the same for months", NULL},
    {"keep-yearly", 0, OPTION_VALUE, ARG(yearly), "N", "the same for years", NULL},
    {"keep-within", 0, OPTION_VALUE, ARG(within), "SPAN",
     "and all in that time before the newest: 1y6m, 2w, 48h", NULL},
    {"keep-tag", 0, OPTION_LIST, ARG(tags), "TAG", "and all with this tag; may be repeated", NULL},
    {"group-by", 0, OPTION_VALUE, ARG(group_by), "WHAT",
     "rules count for each group apart (default: name,host)", NULL},
    {"name", 0, OPTION_VALUE, ARG(name), "NAME", "rules look only at archives of this name", NULL},
    {"host", 0, OPTION_VALUE, ARG(host), "HOST", "and of this host", NULL},
    {"tag", 0, OPTION_LIST, ARG(with_tags), "TAG", "and with this tag; repeated: with all", NULL},
    {"dry-run", 0, OPTION_FLAG, ARG(dry_run), NULL, "say what would be done", NULL},
    {"prune", 0, OPTION_FLAG, ARG(prune), NULL, "then free what they took, as prune does", NULL},
    {0},
};

const struct command cmd_forget = {
    .name = "forget",
    .usage = "[ARCHIVE...]",
    .summary = "makes an end of archives, named ones or those that no rule keeps",
    .description = COMMAND_ARCHIVE_HELP
    "Hours, days, weeks, months and years are those of UTC; those without archives do not\n"
    "count. Rules that would keep none of a group are refused. What the archives took is\n"
    "freed by prune.\n",
    .specs = specs,
    .args_size = sizeof(struct forget_args),
    .operands_max = COMMAND_ANY,
    .run = run,
};
