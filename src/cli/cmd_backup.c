/* SPDX-License-Identifier: BSD-2-Clause */
/* byre backup: images with their chains into one archive. */
#include <string.h>

#include "cli/backup_live.h"
#include "cli/backup_summary.h"
#include "cli/command.h"
#include "cli/compression.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/listener.h"
#include "cli/repository.h"

struct backup_args {
    const char *name;
    struct option_list tags;
    struct option_list with;
    bool only_top;
    bool full_read;
    bool trust_mtime;
    bool assume_stopped;
    bool frozen_base;
    bool force_corrupt;
    bool dry_run;
    bool bitmap;
    const char *bitmap_name;
    const char *input_format;
    const char *compression;
    struct backup_live_args live;
};

/* Of images, or of what ${live}, unless NULL, holds still. */
static int back_up(const struct cli *cli, struct cs_store *store,
                   struct engine_backup_options *options, struct backup_live *live)
{
    const struct backup_args *args = cli->args;
    struct engine_backup_result result = {0};
    struct live_result end = {0};
    struct progress progress;
    struct error err = {0};
    double seconds;
    int code = 0;
    int rc = 0;

    progress_begin(&progress, &cli->options, stdout);
    options->listener = listener_for(&progress);
    if (live)
        rc = backup_live_begin(live, &cli->options, store, options, &err);
    if (!rc)
        rc = engine_backup(store, options, &result, &err);
    if (live)
        code = backup_live_end(live, &rc, &end, &err);
    seconds = progress_seconds(&progress);
    progress_end(&progress);
    if (rc)
        return fail_error_of_sources(&err);
    backup_summary(&cli->options, &result, live ? &end : NULL, args->dry_run, seconds);
    return result.partial ? EXIT_CODE_PARTIAL : code;
}

static int run(const struct cli *cli)
{
    const struct backup_args *args = cli->args;
    struct engine_backup_options options = {
        .images = cli->operands.items,
        .image_count = cli->operands.count,
        .name = args->name,
        .tags = args->tags.items,
        .tag_count = args->tags.count,
        .with = args->with.items,
        .with_count = args->with.count,
        .only_top = args->only_top,
        .full_read = args->full_read,
        .trust_mtime = args->trust_mtime,
        .assume_stopped = args->assume_stopped,
        .frozen_base = args->frozen_base,
        .force_corrupt = args->force_corrupt,
        .dry_run = args->dry_run,
        .bitmap = args->bitmap,
        .bitmap_name = args->bitmap_name,
        .input_format = args->input_format,
    };
    const struct backup_live_args *live_args = &args->live;
    bool is_live = live_args->qmp || live_args->domain;
    struct backup_live live = {.args = live_args};
    struct cs_store *store = NULL;
    struct error err = {0};
    size_t stale;
    int code;

    if (compression_option("--compression", args->compression, &options.compression_level, &err) ||
        (args->name && engine_check_name(args->name, &err)))
        return fail_error(&err);
    if (args->bitmap && args->bitmap_name)
        return fail_usage("--bitmap adds a bitmap, --bitmap-name uses one that is there: not both");
    code = backup_live_check(&args->live, &cli->options, &cli->operands);
    if (code)
        return code;
    if (live_args->qmp && args->bitmap)
        return fail_usage("--bitmap is of no use with --qmp: there are bitmaps where there can be");
    if (is_live && (args->bitmap_name || args->dry_run))
        return fail_usage("%s is of no use with %s", args->dry_run ? "--dry-run" : "--bitmap-name",
                          live_args->qmp ? "--qmp" : "--domain");
    code = repository_open_silently(&store, &cli->options, false);
    if (code)
        return code;
    stale = args->frozen_base ? 0 : backup_live_stale(&cli->options, &cli->operands);
    code = back_up(cli, store, &options, is_live ? &live : NULL);
    if (!code && stale)
        code = EXIT_CODE_PARTIAL;
    cs_close(store);
    return code;
}

#define ARG(member) offsetof(struct backup_args, member)

static const struct option_spec specs[] = {
    {"name", 0, OPTION_VALUE, ARG(name), "NAME", "the archive's name (default: the first image's)",
     NULL},
    {"tag", 0, OPTION_LIST, ARG(tags), "TAG", "may be repeated", NULL},
    {"with", 0, OPTION_LIST, ARG(with), "FILE", "add a side file; may be repeated", NULL},
    {"only-top", 0, OPTION_FLAG, ARG(only_top), NULL, "leave backing layers out", NULL},
    {"full-read", 0, OPTION_FLAG, ARG(full_read), NULL,
     "trust no earlier backup: read and hash all", NULL},
    {"trust-mtime", 0, OPTION_FLAG, ARG(trust_mtime), NULL,
     "a moved ctime alone (chown, chmod) is no change", NULL},
    {"assume-stopped", 0, OPTION_FLAG, ARG(assume_stopped), NULL,
     "nothing writes to a block device now", NULL},
    {"frozen-base", 0, OPTION_FLAG, ARG(frozen_base), NULL,
     "an image may be in use as a backing file", NULL},
    {"force-corrupt", 0, OPTION_FLAG, ARG(force_corrupt), NULL,
     "take images that are marked corrupt", NULL},
    {"bitmap", 0, OPTION_FLAG, ARG(bitmap), NULL,
     "let qemu-img add a dirty bitmap for the next run", NULL},
    {"bitmap-name", 0, OPTION_VALUE, ARG(bitmap_name), "B",
     "the images have that bitmap (byre bitmap name)", NULL},
    {"input-format", 0, OPTION_VALUE, ARG(input_format), "raw|qcow2|vmdk|vpc|vhdx|vdi|qcow",
     "what the images are (default: told by name)", NULL},
    {"dry-run", 0, OPTION_FLAG, ARG(dry_run), NULL, "save nothing", NULL},
    COMPRESSION_OPTION(ARG(compression)),
    {"domain", 0, OPTION_VALUE, ARG(live.domain), "DOMAIN",
     "the disks of this domain of libvirt, running or not", NULL},
    {"connect", 0, OPTION_VALUE, ARG(live.connect), "URI", "of its libvirt", NULL},
    {"qmp", 0, OPTION_VALUE, ARG(live.qmp), "SOCKET",
     "the disks of the running machine with this monitor", NULL},
    {"disk", 0, OPTION_LIST, ARG(live.disks), "NODE|all", "only this one; may be repeated", NULL},
    {"quiesce", 0, OPTION_FLAG, ARG(live.quiesce), NULL,
     "have the guest's agent flush and freeze its file systems", NULL},
    {"agent", 0, OPTION_VALUE, ARG(live.agent), "SOCKET", "where that is (default: found)", NULL},
    {"overlay-dir", 0, OPTION_VALUE, ARG(live.overlay_dir), "DIR",
     "for what the machine writes meanwhile (default: beside)", NULL},
    {"content", 0, OPTION_FLAG, ARG(live.content), NULL,
     "read disks that are no files of this host through the machine", NULL},
    {"scratch-dir", 0, OPTION_VALUE, ARG(live.scratch_dir), "DIR",
     "for what the machine overwrites meanwhile, with --content", NULL},
    {0},
};

const struct command cmd_backup = {
    .name = "backup",
    .usage = "[IMAGE...]",
    .summary = "backs up disk images, each with its whole chain, as one archive",
    .specs = specs,
    .args_size = sizeof(struct backup_args),
    .description = "With --domain or --qmp the disks are those of a running machine, which goes on "
                   "running: it writes to\n"
                   "temporary overlays meanwhile. What a broken backup leaves: byre live status.\n",
    .operands_min = 0,
    .operands_max = COMMAND_ANY,
    .run = run,
};
