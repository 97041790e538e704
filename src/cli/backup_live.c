/* SPDX-License-Identifier: BSD-2-Clause */
/* Ties a machine that is held still to the backup of its disks. */
#include "cli/backup_live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/directories.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/signals.h"

static int find_state_dir(const struct global_options *global, char **path, struct error *err)
{
    int rc = directories_state(global->state_dir, path, err);

    if (!rc && !*path)
        rc = error_set(err, ERROR_USAGE, "there is no folder for the state: give --state-dir");
    return rc;
}

/* The journal's key files and overlays are named to others, who run elsewhere. */
static int find_absolute_state_dir(const struct global_options *global, char **path,
                                   struct error *err)
{
    char *given = NULL;
    int rc = find_state_dir(global, &given, err);

    if (!rc && given[0] != '/') {
        char *folder = realpath(".", NULL);

        if (!folder || asprintf(path, "%s/%s", folder, given) < 0) {
            *path = NULL;
            rc = error_no_memory(err);
        }
        free(folder);
        free(given);
        return rc;
    }
    *path = given;
    return rc;
}

int backup_live_check(const struct backup_live_args *args, const struct global_options *global,
                      const struct option_list *operands)
{
    struct error err = {0};
    const char *machine = args->domain ? args->domain : args->qmp;
    char *state_dir = NULL;
    int code = 0;

    if (!machine && !operands->count)
        return fail_usage("backup needs IMAGE..., --domain or --qmp");
    if (args->qmp && args->domain)
        return fail_usage("--domain and --qmp each name a machine: one of them");
    if (machine && operands->count)
        return fail_usage("%s names the machine, whose disks are backed up: no IMAGE besides",
                          args->domain ? "--domain" : "--qmp");
    if (args->connect && !args->domain)
        return fail_usage("--connect is for --domain");
    if (args->domain && (args->agent || args->content || args->scratch_dir))
        return fail_usage("%s is for --qmp: %s",
                          args->agent     ? "--agent"
                          : args->content ? "--content"
                                          : "--scratch-dir",
                          args->agent ? "libvirt knows where the agent is"
                                      : "libvirt's machines are not read over NBD");
    if (!machine && (args->disks.count || args->quiesce || args->agent || args->overlay_dir ||
                     args->content || args->scratch_dir))
        return fail_usage("%s is for a running machine: with --domain or --qmp only",
                          args->disks.count   ? "--disk"
                          : args->quiesce     ? "--quiesce"
                          : args->agent       ? "--agent"
                          : args->content     ? "--content"
                          : args->scratch_dir ? "--scratch-dir"
                                              : "--overlay-dir");
    if (args->scratch_dir && !args->content)
        return fail_usage("--scratch-dir is of use with --content only");
    if (!operands->count)
        return 0;
    if (directories_state(global->state_dir, &state_dir, &err))
        return fail_error(&err);
    for (size_t i = 0; !code && i < operands->count; i++) {
        if (!live_is_overlay(state_dir, operands->items[i]))
            continue;
        error_set(&err, ERROR_USAGE,
                  "%s: is the temporary overlay of a live backup, and no disk (byre live status)",
                  operands->items[i]);
        code = fail_error_of_sources(&err);
    }
    free(state_dir);
    return code;
}

static bool has_overlay_beside(const char *image)
{
    char *name = NULL;
    bool has = asprintf(&name, "%s" LIVE_OVERLAY_SUFFIX, image) >= 0 && access(name, F_OK) == 0;

    free(name);
    return has;
}

size_t backup_live_stale(const struct global_options *global, const struct option_list *operands)
{
    char *state_dir = NULL;
    size_t stale = 0;

    if (!operands->count || directories_state(global->state_dir, &state_dir, NULL) || !state_dir)
        return 0;
    for (size_t i = 0; i < operands->count; i++) {
        if (has_overlay_beside(operands->items[i]) || !live_is_base(state_dir, operands->items[i]))
            continue;
        message_warning("%s: the temporary overlay of a live backup has newer writes, which are "
                        "not part of this backup; byre live status says what to do",
                        operands->items[i]);
        stale++;
    }
    free(state_dir);
    return stale;
}

static void on_warning(void *arg, const char *message)
{
    (void)arg;
    message_warning("%s", message);
}

static void on_danger(void *arg)
{
    (void)arg;
    signals_stop();
}

static int add_side_files(struct backup_live *b, struct engine_backup_options *options,
                          struct error *err)
{
    size_t count = 0;
    const char *const *files = live_side_files(b->live, &count);

    if (!count)
        return 0;
    b->with = calloc(options->with_count + count, sizeof *b->with);
    if (!b->with)
        return error_no_memory(err);
    for (size_t i = 0; i < options->with_count; i++)
        b->with[i] = options->with[i];
    for (size_t i = 0; i < count; i++)
        b->with[options->with_count + i] = files[i];
    options->with = b->with;
    options->with_count += count;
    return 0;
}

static int confirm(void *arg, struct error *err)
{
    return live_confirm(arg, err);
}

int backup_live_begin(struct backup_live *b, const struct global_options *global,
                      const struct cs_store *store, struct engine_backup_options *options,
                      struct error *err)
{
    const struct engine_listener *l = &options->listener;
    int rc = find_absolute_state_dir(global, &b->state_dir, err);

    if (rc)
        return rc;
    engine_bitmap_name(store, b->bitmap);
    struct live_options live = {
        .qmp = b->args->qmp,
        .domain = b->args->domain,
        .connect = b->args->connect,
        .disks = b->args->disks.items,
        .disk_count = b->args->disks.count,
        .quiesce = b->args->quiesce,
        .agent = b->args->agent,
        .overlay_dir = b->args->overlay_dir,
        .content = b->args->content,
        .scratch_dir = b->args->scratch_dir,
        .state_dir = b->state_dir,
        .bitmap = b->bitmap,
        .bitmap_prefix = (size_t)(strrchr(b->bitmap, '-') + 1 - b->bitmap),
        .listener = {.warning = on_warning,
                     .note = l->note,
                     .progress = l->progress,
                     .stop = on_danger,
                     .arg = l->arg,
                     .cancel = l->cancel},
    };
    rc = live_freeze(&b->live, &live, err);
    if (rc)
        return rc;
    options->images = live_images(b->live);
    options->image_count = live_image_count(b->live);
    if (!options->name && live_name(b->live) && !engine_check_name(live_name(b->live), NULL))
        options->name = live_name(b->live);
    if (live_is_off(b->live))
        return add_side_files(b, options, err);
    options->confirm = confirm;
    options->confirm_arg = b->live;
    options->recorded_as = live_recorded_as(b->live);
    options->bitmap_names = live_bitmap_names(b->live);
    options->bitmap = false;
    options->bitmap_name = live_has_bitmaps(b->live) ? b->bitmap : NULL;
    options->frozen_base = true;
    options->running = true;
    return add_side_files(b, options, err);
}

int backup_live_end(struct backup_live *b, int *rc, struct live_result *result, struct error *err)
{
    struct error why = {0};
    int code = 0;

    free(b->with);
    if (!b->live) {
        free(b->state_dir);
        return 0;
    }
    if (live_finish(b->live, !*rc, result, &why)) {
        message_warning("the machine is not back on all of its disks: %s; byre live status says "
                        "where it is, and what to do",
                        why.message);
        code = EXIT_CODE_PARTIAL;
    }
    if (result->partial)
        code = EXIT_CODE_PARTIAL;
    if (*rc == ERROR_INTERRUPTED && result->trouble[0])
        *rc =
            error_set(err, ERROR_NO_SPACE, "given up, for the machine's sake: %s", result->trouble);
    else if (!*rc && result->trouble[0])
        message_warning("%s", result->trouble);
    free(b->state_dir);
    return code;
}
