/* SPDX-License-Identifier: BSD-2-Clause */
/* byre check: verifies the repository, and that what archives need is there. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/signals.h"
#include "cli/units.h"
#include "engine/upkeep.h"

struct check_args {
    const char *read_data;
    bool repair;
    bool accept_rollback;
};

static void on_report(void *arg, const char *message)
{
    (void)arg;
    message_error(EXIT_CODE_DAMAGE, "%s", message);
}

static json_t *damage_json(const struct engine_damage *d)
{
    static const char *const parts[] = {
        [ENGINE_PART_RECORD] = "record",       [ENGINE_PART_GUEST] = "guest-data",
        [ENGINE_PART_VM_STATE] = "vm-state",   [ENGINE_PART_PLACEMENT] = "placement",
        [ENGINE_PART_HEADER] = "header",       [ENGINE_PART_CRYPTO] = "encryption-header",
        [ENGINE_PART_TAIL] = "data-file-tail", [ENGINE_PART_BITMAP] = "bitmap",
        [ENGINE_PART_SIDE_FILE] = "side-file",
    };
    bool bitmap = d->part == ENGINE_PART_BITMAP;
    bool side_file = d->part == ENGINE_PART_SIDE_FILE;
    json_t *json = json_object();
    json_t *ranges = json_array();

    for (size_t i = 0; i < d->range_count; i++)
        json_array_append_new(ranges,
                              json_pack("{s:o, s:o}", "offset", output_size(d->ranges[i].offset),
                                        "length", output_size(d->ranges[i].length)));
    json_object_set_new(json, "archive", output_id(&d->archive));
    json_object_set_new(json, "name", output_string(d->name));
    json_object_set_new(json, "image", output_string(d->image));
    json_object_set_new(json, "layer", output_string(d->layer));
    json_object_set_new(json, "snapshot", output_string(bitmap || side_file ? NULL : d->item));
    json_object_set_new(json, "bitmap", output_string(bitmap ? d->item : NULL));
    json_object_set_new(json, "side_file", output_string(side_file ? d->item : NULL));
    json_object_set_new(json, "what", json_string(parts[d->part]));
    json_object_set_new(json, "ranges", ranges);
    json_object_set_new(json, "ranges_total", output_size(d->ranges_all));
    json_object_set_new(json, "bytes", output_size(d->bytes));
    return json;
}

static void on_plan(void *arg, const char *message)
{
    (void)arg;
    message_warning("repair: %s", message);
}

static json_t *repair_json(const struct engine_check_result *result)
{
    const struct cs_repair_result *r = &result->repair;
    json_t *json = json_object();

    json_object_set_new(json, "segments_dropped", output_size(r->segments_dropped));
    json_object_set_new(json, "segments_written", output_size(r->segments_written));
    json_object_set_new(json, "objects_indexed", output_size(r->objects_indexed));
    json_object_set_new(json, "packs_dropped", output_size(r->packs_dropped));
    json_object_set_new(json, "objects_damaged", output_size(r->objects_damaged));
    json_object_set_new(json, "objects_missing", output_size(r->objects_missing));
    return json;
}

static void print_json(const struct engine_check_result *result, bool repair, double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *damaged = json_array();
    json_t *damage = json_array();

    for (size_t i = 0; i < result->damaged_count; i++)
        json_array_append_new(damaged, output_id(&result->damaged[i]));
    json_object_set_new(json, "errors", output_size(result->errors));
    json_object_set_new(json, "packs_checked", output_size(result->packs_checked));
    json_object_set_new(json, "bytes_checked", output_size(result->bytes_checked));
    json_object_set_new(json, "damaged_archives", damaged);
    for (size_t i = 0; i < result->damage_count; i++)
        json_array_append_new(damage, damage_json(&result->damage[i]));
    json_object_set_new(json, "damage", damage);
    json_object_set_new(json, "damage_total", output_size(result->damage_all));
    json_object_set_new(json, "read_share", json_real(result->read_share));
    json_object_set_new(json, "confidence", json_real(CS_CHECK_CONFIDENCE));
    json_object_set_new(json, "damaged_share_below",
                        result->damaged_share_below > 0 ? json_real(result->damaged_share_below)
                                                        : json_null());
    json_object_set_new(json, "data_unopened", json_boolean(result->data_unopened));
    if (repair) {
        json_object_set_new(json, "errors_remaining", output_size(result->remaining));
        json_object_set_new(json, "repaired", repair_json(result));
    }
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
}

/* Not less than ${value}. */
static double tenths_up(double value)
{
    return (double)(uint64_t)(value * 10 + 0.9999999) / 10;
}

/* What a part of the packs says of all of them. */
static void print_share(const struct engine_check_result *result)
{
    if (!result->packs_read)
        return;
    printf("read %.1f %% of the stored bytes, %" PRIu64 " of %" PRIu64 " packs",
           100 * result->read_share, result->packs_read, result->packs_checked);
    if (result->damaged_share_below > 0 && result->packs_read < result->packs_checked)
        printf(": with %.0f %% confidence less than %.1f %% of the packs are damaged",
               100 * CS_CHECK_CONFIDENCE, tenths_up(100 * result->damaged_share_below));
    putchar('\n');
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_repair(const struct engine_check_result *result)
{
    const struct cs_repair_result *r = &result->repair;

    if (r->segments_dropped || r->segments_written)
        printf("index: %llu segment%s dropped, %llu written with %llu object%s\n",
               (unsigned long long)r->segments_dropped, plural(r->segments_dropped),
               (unsigned long long)r->segments_written, (unsigned long long)r->objects_indexed,
               plural(r->objects_indexed));
    if (r->packs_dropped)
        printf("%llu pack%s dropped\n", (unsigned long long)r->packs_dropped,
               plural(r->packs_dropped));
    if (r->objects_damaged)
        printf("%llu damaged object%s marked as lost\n", (unsigned long long)r->objects_damaged,
               plural(r->objects_damaged));
    if (r->objects_missing)
        printf("%llu object%s that archives need %s lost\n", (unsigned long long)r->objects_missing,
               plural(r->objects_missing), r->objects_missing == 1 ? "is" : "are");
    if (result->errors && !result->remaining)
        printf("repaired\n");
    else if (result->remaining)
        printf("%llu error%s remain%s\n", (unsigned long long)result->remaining,
               plural(result->remaining), result->remaining == 1 ? "s" : "");
}

static void print_text(const struct engine_check_result *result, bool quiet, double seconds)
{
    char size[UNITS_TEXT];
    char duration[UNITS_TEXT];
    char hex[CS_ID_HEX];

    for (size_t i = 0; i < result->damaged_count; i++)
        printf("damaged archive %s\n", cs_id_hex(&result->damaged[i], hex));
    if (quiet && !result->errors)
        return;
    print_share(result);
    if (result->data_unopened)
        printf("data was held against its checksums only, since this key may not read it\n");
    if (result->errors)
        printf("%llu error%s", (unsigned long long)result->errors, result->errors == 1 ? "" : "s");
    else
        printf("no errors");
    printf(": %llu pack%s checked, %s read, %s\n", (unsigned long long)result->packs_checked,
           result->packs_checked == 1 ? "" : "s", units_size(result->bytes_checked, size),
           units_duration(seconds, duration));
}

static int repair_log(struct cs_store *store)
{
    struct engine_repair_log_options options = {
        .report = on_plan,
        .listener = {.cancel = signals_cancel()},
    };
    struct error err = {0};
    bool written = false;

    if (engine_repair_log(store, &options, &written, &err))
        return fail_error(&err);
    if (written)
        message_info("the log is repaired");
    return 0;
}

static int run(const struct cli *cli)
{
    const struct check_args *args = cli->args;
    struct engine_check_options options = {
        .repair = args->repair, .report = on_report, .plan = on_plan};
    struct engine_check_result result = {0};
    struct cs_store *store = NULL;
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code;

    if (args->read_data && !args->read_data[0])
        options.read_data = 1;
    else if (args->read_data &&
             units_parse_percent("--read-data", args->read_data, &options.read_data, &err))
        return fail_error(&err);
    code = args->repair ? repository_open_damaged(&store, &cli->options, args->accept_rollback)
                        : repository_open_silently(&store, &cli->options, args->accept_rollback);
    if (!code && args->repair)
        code = repair_log(store);
    if (code) {
        cs_close(store);
        return code;
    }
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    if (engine_check(store, &options, &result, &err))
        code = fail_error(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (!code) {
        /* The store has reported an older state among the errors; this is what to do about it. */
        if (cs_rollback_warning(store))
            message_info("byre check --accept-rollback takes the repository as it is now");
        if (!cli->options.json && args->repair)
            print_repair(&result);
        if (cli->options.json)
            print_json(&result, args->repair, seconds);
        else
            print_text(&result, cli->options.quiet, seconds);
        if (result.remaining && !args->repair)
            message_info("byre check --repair gives up what is lost and keeps all else; the next "
                         "backup brings back what its source still has");
        if (result.remaining || result.damaged_count || cs_rollback_warning(store))
            code = EXIT_CODE_DAMAGE;
    }
    engine_check_result_clear(&result);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"read-data", 0, OPTION_OPTIONAL, offsetof(struct check_args, read_data), "PERCENT",
     "read all stored bytes, or some of them", NULL},
    {"repair", 0, OPTION_FLAG, offsetof(struct check_args, repair), NULL,
     "repair log and index, and give up what is lost", NULL},
    {"accept-rollback", 0, OPTION_FLAG, offsetof(struct check_args, accept_rollback), NULL,
     "take an older state as it is", NULL},
    {0},
};

const struct command cmd_check = {
    .name = "check",
    .usage = "",
    .summary = "verifies the repository",
    .specs = specs,
    .args_size = sizeof(struct check_args),
    .run = run,
};
