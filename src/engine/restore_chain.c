/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chains as they were, below a folder: all files are written under temporary
 * names, and get their final ones together at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/blob.h"
#include "engine/path.h"
#include "engine/restore.h"

static int seal_data_file(struct restore *r, struct restore_plan *plan, struct error *err)
{
    struct target_attributes attributes = restore_attributes(&plan->layer->qcow2.data_file->file);
    int rc = target_seal(&plan->data, &attributes, err);
    return rc < 0 ? rc : restore_report_file(r, plan->data.path, &plan->layer->id, 0, err);
}

static int write_and_verify(struct restore *r, struct restore_plan *plan,
                            const struct target *target, uint64_t *written, struct error *err)
{
    struct restore_names names = restore_plan_names(plan);
    int rc = restore_layer(r, plan->layer, &names, target, written, err);
    return rc == 0 && r->options->verify ? restore_verify_layer(r, plan->layer, &names, target, err)
                                         : rc;
}

/* A layer whose file was of a format that only others write. */
static int write_converted(struct restore *r, struct restore_plan *plan,
                           const struct restore_format *format, uint64_t *written,
                           struct error *err)
{
    const struct record_layer *layer = plan->layer;
    struct restore_conversion c;
    char *path = path_join(r->options->to, layer->file.placed_path);
    if (path == NULL)
        return error_no_memory(err);
    int rc = restore_conversion_begin(&c, r, format, &plan->target, path, layer->virtual_size, err);
    free(path);
    if (rc == 0)
        rc = write_and_verify(r, plan, &c.raw, written, err);
    if (rc == 0)
        rc = restore_conversion_finish(&c, r, err);
    restore_conversion_clear(&c);
    return rc;
}

/* What a layer lost when it was backed up: it must not pass for what it was. */
static void tell_losses(const struct restore *r, const struct record_layer *layer)
{
    const struct record_content *content = layer->content;
    const char *path = layer->file.placed_path;
    for (size_t i = 0; content != NULL && i < content->loss_count; i++)
        restore_warn(r, "%s: %s", path, content->losses[i]);
    if (content != NULL && restore_format_of_layer(layer) == NULL && !restore_was_export(layer))
        restore_warn(r, "%s: becomes a raw file, for a %s cannot be written", path,
                     content->format);
}

static int write_layer(struct restore *r, struct restore_plan *plan, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    const struct record_data_file *data = layer->qcow2.data_file;
    const struct restore_format *format = restore_format_of_layer(layer);
    uint64_t written = 0;
    tell_losses(r, layer);
    int rc = format != NULL ? write_converted(r, plan, format, &written, err)
                            : write_and_verify(r, plan, &plan->target, &written, err);
    struct target_attributes attributes = restore_layer_attributes(layer);
    if (rc == 0)
        rc = restore_step(r, "flushing", 0, err);
    if (rc == 0)
        rc = target_seal(&plan->target, &attributes, err);
    if (rc == 0)
        rc = restore_report_file(r, plan->target.path, &layer->id, written, err);
    if (rc == 0 && data != NULL)
        rc = seal_data_file(r, plan, err);
    return rc;
}

static int write_side_file(struct restore *r, struct restore_plan *plan, struct error *err)
{
    int rc =
        blob_read_file(r->store, &plan->side->blob, plan->target.fd, plan->target.path, 0, err);
    struct target_attributes attributes = {
        .mode = plan->side->mode,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    if (rc == 0)
        rc = target_seal(&plan->target, &attributes, err);
    if (rc == 0)
        rc = restore_report_file(r, plan->target.path, NULL, plan->side->blob.bytes, err);
    return rc;
}

/* Lets all files appear; where one cannot, those that have are taken away again. */
static int place_all(struct restore_plan *plans, size_t n, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = plans[i].data.path != NULL ? target_place(&plans[i].data, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = target_place(&plans[i].target, err);
    for (size_t i = 0; rc < 0 && i < n; i++) {
        target_unplace(&plans[i].target);
        target_unplace(&plans[i].data);
    }
    return rc;
}

/* Looks at one target of a plan, or opens it; a layer that is converted opens its own. */
static int one_target(struct restore *r, const char *folder, const char *name,
                      struct target *target, bool open, struct error *err)
{
    char *below = folder != NULL ? path_join(r->options->to, folder) : strdup(r->options->to);
    char *path = below != NULL ? path_join(below, name) : NULL;
    int rc;
    if (path == NULL)
        rc = error_no_memory(err);
    else
        rc = open ? target_open(target, path, r->options->force, err)
                  : target_check(path, r->options->force, err);
    free(below);
    free(path);
    return rc;
}

/* Every target is looked at before the first is written. */
static int open_targets(struct restore *r, struct restore_plan *plans, size_t n, struct error *err)
{
    int rc = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; rc == 0 && i < n; i++) {
            struct restore_plan *plan = &plans[i];
            const struct record_layer *layer = plan->layer;
            if (plan->side != NULL)
                rc = one_target(r, RESTORE_SIDE_FOLDER, plan->side->name, &plan->target, pass > 0,
                                err);
            if (rc == 0 && layer != NULL && (pass == 0 || restore_format_of_layer(layer) == NULL))
                rc = one_target(r, NULL, layer->file.placed_path, &plan->target, pass > 0, err);
            if (rc == 0 && layer != NULL && layer->qcow2.data_file != NULL)
                rc = one_target(r, NULL, layer->qcow2.data_file->file.placed_path, &plan->data,
                                pass > 0, err);
        }
    return rc;
}

int restore_chains(struct restore *r, size_t image, struct error *err)
{
    struct restore_plan *plans = NULL;
    size_t count = 0;
    int rc = restore_plans_make(r, image, &plans, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (plans[i].layer != NULL && restore_format_of_layer(plans[i].layer) != NULL)
            r->bytes_total += plans[i].layer->bytes_allocated; /* read once more by others */
    if (rc == 0)
        rc = open_targets(r, plans, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        restore_begin_file(r, i + 1, count);
        rc = plans[i].layer != NULL ? write_layer(r, &plans[i], err)
                                    : write_side_file(r, &plans[i], err);
    }
    if (rc == 0)
        rc = place_all(plans, count, err);
    restore_plans_free(plans, count);
    return rc;
}
