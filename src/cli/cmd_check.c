/* SPDX-License-Identifier: BSD-2-Clause */
/* byre check: verifies the repository, and that what archives need is there. */
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/signals.h"
#include "cli/units.h"

struct check_args {
    const char *read_data;
    bool accept_rollback;
    bool repair;
};

static void on_report(void *arg, const char *message)
{
    (void)arg;
    message_error(EXIT_CODE_DAMAGE, "%s", message);
}

static void print_json(const struct engine_check_result *result, double seconds)
{
    json_t *json = json_pack("{s:s}", "message_type", "summary");
    json_t *damaged = json_array();

    for (size_t i = 0; i < result->damaged_count; i++)
        json_array_append_new(damaged, output_id(&result->damaged[i]));
    json_object_set_new(json, "errors", output_size(result->errors));
    json_object_set_new(json, "packs_checked", output_size(result->packs_checked));
    json_object_set_new(json, "bytes_checked", output_size(result->bytes_checked));
    json_object_set_new(json, "damaged_archives", damaged);
    json_object_set_new(json, "data_unopened", json_boolean(result->data_unopened));
    json_object_set_new(json, "seconds", output_seconds(seconds));
    output_json(stdout, json);
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

static void on_repair(void *arg, const char *message)
{
    (void)arg;
    message_info("%s", message);
}

static int repair_log(struct cs_store *store)
{
    struct engine_repair_log_options options = {
        .report = on_repair,
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
    struct engine_check_options options = {.report = on_report};
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
        if (cli->options.json)
            print_json(&result, seconds);
        else
            print_text(&result, cli->options.quiet, seconds);
        if (result.errors || result.damaged_count || cs_rollback_warning(store))
            code = EXIT_CODE_DAMAGE;
    }
    engine_check_result_clear(&result);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"read-data", 0, OPTION_OPTIONAL, offsetof(struct check_args, read_data), "PERCENT",
     "read all stored bytes, or some of them", NULL},
    {"accept-rollback", 0, OPTION_FLAG, offsetof(struct check_args, accept_rollback), NULL,
     "take an older state as it is", NULL},
    {"repair", 0, OPTION_FLAG, offsetof(struct check_args, repair), NULL,
     "repair a damaged log first", NULL},
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
