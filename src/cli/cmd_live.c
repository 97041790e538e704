/* SPDX-License-Identifier: BSD-2-Clause */
/* byre live: what broken backups of running machines left, and putting it right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/directories.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/text.h"
#include "live/live.h"

struct recover_args {
    const char *secret_file;
    bool discard_overlay;
};

/* ---- status ---- */

struct printing {
    bool json;
    json_t *machines;
    size_t count;
};

static void format_time(int64_t seconds, char text[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
        text[0] = 0;
}

static json_t *optional(const char *text)
{
    return text ? output_string(text) : json_null();
}

static json_t *disk_json(const struct live_report_disk *disk)
{
    json_t *commands = json_array();

    for (size_t i = 0; i < disk->command_count; i++)
        json_array_append_new(commands, output_string(disk->commands[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "device", output_string(disk->device), "base",
                     output_string(disk->base), "overlay", output_string(disk->overlay), "state",
                     output_string(disk->state), "commands", commands);
}

static void add_json(struct printing *p, const struct live_report *report)
{
    json_t *disks = json_array();
    char started[32];

    format_time(report->started, started);
    for (size_t i = 0; i < report->disk_count; i++)
        json_array_append_new(disks, disk_json(&report->disks[i]));
    json_array_append_new(p->machines,
                          json_pack("{s:o, s:o, s:o, s:o, s:s, s:I, s:b, s:b, s:b, s:o, s:o}",
                                    "journal", output_string(report->journal), "problem",
                                    optional(report->problem), "machine", optional(report->machine),
                                    "phase", optional(report->phase), "started", started, "byre",
                                    (json_int_t)report->byre, "running", report->running, "alive",
                                    report->alive, "guest_frozen", report->guest_frozen, "disks",
                                    disks, "last_command", optional(report->last_command)));
}

/* What others wrote is in it, so a terminal must not be steered by it. */
static void print_line(const char *before, const char *line)
{
    char *copy = strdup(line);

    if (copy)
        printf("%s%s\n", before, text_clean(copy));
    free(copy);
}

static void print_text(const struct live_report *report)
{
    char started[32];

    format_time(report->started, started);
    print_line(report->running ? "being backed up: " : "a broken backup of ",
               report->machine ? report->machine : report->journal);
    if (report->phase)
        printf("  since %s, phase %s, by process %lld, which %s\n", started, report->phase,
               (long long)report->byre, report->running ? "is at work" : "is gone");
    if (report->running)
        return;
    if (report->problem)
        print_line("  problem: ", report->problem);
    else
        printf("  the machine %s\n", report->alive ? "is running" : "is not running");
    if (report->guest_frozen)
        printf("  the guest's file systems may be frozen\n");
    for (size_t i = 0; i < report->disk_count; i++) {
        const struct live_report_disk *disk = &report->disks[i];

        print_line("  disk ", disk->device);
        print_line("    base    ", disk->base);
        print_line("    overlay ", disk->overlay);
        print_line("    ", disk->state);
        for (size_t k = 0; k < disk->command_count; k++)
            print_line("      $ ", disk->commands[k]);
    }
    if (report->last_command)
        print_line("  put right by byre live recover, or by the commands above and then\n      $ ",
                   report->last_command);
}

static void report_each(void *arg, const struct live_report *report)
{
    struct printing *p = arg;

    p->count++;
    if (p->json)
        add_json(p, report);
    else
        print_text(report);
}

static int state_folder(const struct cli *cli, char **path)
{
    struct error err = {0};

    if (directories_state(cli->options.state_dir, path, &err))
        return fail_error(&err);
    return *path ? 0 : fail_usage("there is no folder for the state: give --state-dir");
}

static int run_status(const struct cli *cli)
{
    struct printing printing = {.json = cli->options.json, .machines = json_array()};
    struct error err = {0};
    char *state_dir = NULL;
    size_t broken = 0;
    int code = state_folder(cli, &state_dir);

    if (!code && live_status(state_dir, report_each, &printing, &broken, &err))
        code = fail_error(&err);
    if (!code && broken)
        code = EXIT_CODE_PARTIAL;
    if (printing.json && code != EXIT_CODE_FAILED)
        output_json(stdout, json_pack("{s:s, s:I, s:O}", "message_type", "summary", "broken",
                                      (json_int_t)broken, "machines", printing.machines));
    else if (!code && !printing.count && !cli->options.quiet)
        printf("nothing is left behind\n");
    json_decref(printing.machines);
    free(state_dir);
    return code;
}

static const struct command live_status_command = {
    .name = "status",
    .usage = "",
    .summary = "what broken live backups left behind, and the commands that put it right",
    .run = run_status,
};

/* ---- recover ---- */

static int run_recover(const struct cli *cli)
{
    const struct recover_args *args = cli->args;
    struct engine_listener engine = listener_for(NULL);
    struct live_recover_options options = {
        .secret_file = args->secret_file,
        .discard_overlay = args->discard_overlay,
        .listener = {.warning = engine.warning, .note = engine.note, .cancel = engine.cancel},
    };
    struct error err = {0};
    char *state_dir = NULL;
    size_t done = 0;
    size_t failed = 0;
    int code = state_folder(cli, &state_dir);

    options.state_dir = state_dir;
    if (!code && live_recover(&options, &done, &failed, &err))
        code = fail_error(&err);
    else if (!code && failed)
        code = EXIT_CODE_FAILED;
    if (!code || failed) {
        if (cli->options.json)
            output_json(stdout, json_pack("{s:s, s:I, s:I}", "message_type", "summary", "recovered",
                                          (json_int_t)done, "failed", (json_int_t)failed));
        else if (!cli->options.quiet)
            printf(done || failed ? "%zu put right, %zu not\n" : "nothing is left behind\n", done,
                   failed);
    }
    free(state_dir);
    return code;
}

static const struct option_spec recover_specs[] = {
    {"secret-file", 0, OPTION_VALUE, offsetof(struct recover_args, secret_file), "FILE",
     "the secret of an encrypted disk", NULL},
    {"discard-overlay", 0, OPTION_FLAG, offsetof(struct recover_args, discard_overlay), NULL,
     "where both were written to, give up what only the overlay has", NULL},
    {0},
};

static const struct command live_recover_command = {
    .name = "recover",
    .usage = "",
    .summary = "has the machines of broken live backups go on with their disks as before",
    .specs = recover_specs,
    .args_size = sizeof(struct recover_args),
    .run = run_recover,
};

static const struct command *const live_commands[] = {&live_status_command, &live_recover_command,
                                                      NULL};

const struct command cmd_live = {
    .name = "live",
    .usage = "COMMAND",
    .summary = "what a broken backup of a running machine left behind",
    .commands = live_commands,
};
