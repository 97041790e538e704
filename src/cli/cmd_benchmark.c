/* SPDX-License-Identifier: BSD-2-Clause */
/* byre benchmark: how fast this machine is at what byre does. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/output.h"
#include "cli/units.h"
#include "engine/upkeep.h"

enum { COMPRESSION_MIN = 1, COMPRESSION_MAX = 19, THREADS_MAX = 1024 };

struct benchmark_args {
    const char *dir;
    const char *compression;
};

struct lines { /* what is told goes out as it comes, or is gathered */
    bool json;
    json_t *primitives;
    json_t *runs;
};

static void report(void *arg, const struct engine_benchmark_line *line)
{
    struct lines *lines = arg;
    double rate = line->seconds > 0 ? (double)line->bytes / line->seconds : 0;
    char text[UNITS_TEXT];

    if (lines->json) {
        json_t *json = json_pack("{s:s}", "name", line->name);

        json_object_set_new(json, "bytes", output_size(line->bytes));
        json_object_set_new(json, "seconds", output_seconds(line->seconds));
        json_object_set_new(json, "bytes_per_second", output_size((uint64_t)rate));
        json_array_append_new(line->primitive ? lines->primitives : lines->runs, json);
    } else {
        printf("%-20s %12s/s", line->name, units_size((uint64_t)rate, text));
        if (!line->primitive)
            printf("  %s in %.2f s", units_size(line->bytes, text), line->seconds);
        putchar('\n');
        fflush(stdout);
    }
}

static const char *default_folder(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/var/tmp";
}

static int run(const struct cli *cli)
{
    const struct benchmark_args *args = cli->args;
    struct lines lines = {.json = cli->options.json};
    struct engine_benchmark_options options = {
        .folder = args->dir ? args->dir : default_folder(),
        .image = cli->operands.count ? cli->operands.items[0] : NULL,
        .report = report,
        .arg = &lines,
    };
    struct engine_benchmark_result result = {0};
    struct progress progress;
    struct error err = {0};
    long level = 0;
    long threads = 0;
    double seconds;
    int code = 0;

    if ((args->compression && option_number("--compression", args->compression, COMPRESSION_MIN,
                                            COMPRESSION_MAX, &level, &err)) ||
        (cli->options.threads &&
         option_number("--threads", cli->options.threads, 1, THREADS_MAX, &threads, &err)))
        return fail_error(&err);
    options.compression_level = (int)level;
    options.threads = (unsigned)threads;
    if (lines.json) {
        lines.primitives = json_array();
        lines.runs = json_array();
    }
    progress_begin(&progress, &cli->options, stdout);
    options.listener = listener_for(&progress);
    options.listener.progress = NULL;
    if (engine_benchmark(&options, &result, &err))
        code = fail_error(&err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (lines.json && !code) {
        json_t *json = json_pack("{s:s, s:O, s:O}", "message_type", "summary", "primitives",
                                 lines.primitives, "runs", lines.runs);

        json_object_set_new(json, "id_hash", json_string(cs_id_hash_name(result.id_hash)));
        json_object_set_new(json, "share", output_seconds(result.share));
        json_object_set_new(json, "seconds", output_seconds(seconds));
        output_json(stdout, json);
    } else if (!code) {
        printf(
            "the first backup went at %.2f of the speed of its primitives alone, with ids by %s\n",
            result.share, cs_id_hash_name(result.id_hash));
    }
    json_decref(lines.primitives);
    json_decref(lines.runs);
    return code;
}

#define ARG(member) offsetof(struct benchmark_args, member)

static const struct option_spec specs[] = {
    {"dir", 0, OPTION_VALUE, ARG(dir), "DIR",
     "where a repository is made and removed again (default: TMPDIR, or /var/tmp)", NULL},
    {"compression", 0, OPTION_VALUE, ARG(compression), "LEVEL", "zstd's, 1 to 19 (default: 3)",
     NULL},
    {0},
};

const struct command cmd_benchmark = {
    .name = "benchmark",
    .usage = "[IMAGE]",
    .summary = "measures how fast this machine is at what byre does",
    .description =
        "First the primitives by themselves, on 128 MiB from all over IMAGE, then backups and a\n"
        "restore of it with a repository of their own; without IMAGE, of 512 MiB of which half "
        "can\n"
        "be compressed. It takes up to twice the size of IMAGE on the disk meanwhile.\n",
    .specs = specs,
    .args_size = sizeof(struct benchmark_args),
    .operands_max = 1,
    .run = run,
};
