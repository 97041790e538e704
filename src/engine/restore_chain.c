/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chains as they were: which files there are, what they are called and call
 * each other. All are written under temporary names, and get their final ones
 * together at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/blob.h"
#include "engine/path.h"
#include "engine/restore.h"
#include "qcow2/backing_name.h"

static const char side_folder[] = "side-files";

struct plan { /* what becomes a file */
    const struct record_layer *layer;
    const struct record_side_file *side; /* or this */
    char *backing;                       /* the name to write */
    const char *backing_format;          /* lent; where the header has none, but needs one now */
    char *data_name;                     /* the same, of the data file */
    struct target target;
    struct target data; /* of the data file, where there is one */
};

static void plans_clear(struct plan *plans, size_t n)
{
    for (size_t i = 0; plans != NULL && i < n; i++) {
        target_clear(&plans[i].target);
        target_clear(&plans[i].data);
        free(plans[i].backing);
        free(plans[i].data_name);
    }
    free(plans);
}

/* The layer below ${at} in any of the archive's chains, or NULL. */
static const struct record_layer *layer_below(const struct record_archive *a, size_t at)
{
    for (size_t i = 0; i < a->image_count; i++)
        for (size_t k = 0; k + 1 < a->images[i].layer_count; k++)
            if (a->images[i].layers[k] == at)
                return &a->layers[a->images[i].layers[k + 1]];
    return NULL;
}

/*
 * What the file at ${from} calls the one at ${to}: ${old}, where that leads there, or is to be
 * kept; else its relative path. ${what} it is: for the message.
 */
static int choose_name(struct restore *r, const char *from, const char *old, const char *to,
                       const char *what, const char *const *placed, char **chosen,
                       struct error *err)
{
    *chosen = NULL;
    if (r->options->keep_backing_names ||
        path_leads_to(from, old, to, placed, r->archive.layer_count)) {
        *chosen = strdup(old);
        return *chosen == NULL ? error_no_memory(err) : 0;
    }
    char *name = path_between(from, to);
    bool colon = name != NULL && path_is_protocol(name);
    if (name != NULL && asprintf(chosen, "%s%s", colon ? "./" : "", name) < 0)
        *chosen = NULL;
    free(name);
    if (*chosen == NULL)
        return error_no_memory(err);
    restore_warn(r, "%s: its %s is now called %s (it was %s)", from, what, *chosen, old);
    return 0;
}

/* A name in JSON that is written as a path loses the format that it may have had in it. */
static void choose_format(const struct record_layer *layer, const struct record_layer *below,
                          struct plan *plan)
{
    struct backing_name old = {0};
    if (layer->backing_format != NULL || strcmp(plan->backing, layer->backing_file) == 0)
        return;
    if (backing_name_parse(&old, layer->backing_file, "", NULL) < 0 || old.format != BACKING_PROBED)
        plan->backing_format = below->is_qcow2 ? "qcow2" : "raw";
    backing_name_clear(&old);
}

/* Small clusters have little room for a header. */
static int check_room(struct restore *r, const struct plan *plan, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    const struct record_data_file *data = layer->qcow2.data_file;
    struct restore_names names = {
        .backing = plan->backing,
        .backing_format = plan->backing_format,
        .data_file = plan->data_name,
    };
    const char *changed = NULL;
    if (plan->data_name != NULL && data != NULL && strcmp(plan->data_name, data->name) != 0)
        changed = plan->data_name;
    if (plan->backing != NULL && layer->backing_file != NULL &&
        strcmp(plan->backing, layer->backing_file) != 0)
        changed = plan->backing;
    if (changed == NULL)
        return 0;
    int rc = restore_qcow2_check_names(r, layer, &names, err);
    if (rc != ERROR_NO_SPACE)
        return rc;
    return error_set(err, ERROR_NO_SPACE,
                     "%s: its header of %llu bytes has no room for the new name %s; "
                     "--keep-backing-names keeps the old one, and --flatten needs none",
                     layer->file.placed_path, 1ULL << layer->qcow2.cluster_bits, changed);
}

static int choose_names(struct restore *r, size_t at, const char *const *placed, struct plan *plan,
                        struct error *err)
{
    const struct record_layer *layer = &r->archive.layers[at];
    const struct record_layer *below = layer_below(&r->archive, at);
    const struct record_data_file *data = layer->qcow2.data_file;
    int rc = 0;
    if (layer->backing_file != NULL && below != NULL) {
        rc = choose_name(r, layer->file.placed_path, layer->backing_file, below->file.placed_path,
                         "backing file", placed, &plan->backing, err);
        if (rc == 0)
            choose_format(layer, below, plan);
    } else if (layer->backing_file != NULL) {
        plan->backing = strdup(layer->backing_file);
        if (plan->backing == NULL)
            return error_no_memory(err);
        restore_warn(r, "%s: its backing file %s is not part of the archive",
                     layer->file.placed_path, layer->backing_file);
    }
    if (rc == 0 && data != NULL)
        rc = choose_name(r, layer->file.placed_path, data->name, data->file.placed_path,
                         "data file", placed, &plan->data_name, err);
    return rc < 0 ? rc : check_room(r, plan, err);
}

static int seal_data_file(struct restore *r, struct plan *plan, struct error *err)
{
    struct target_attributes attributes = restore_attributes(&plan->layer->qcow2.data_file->file);
    int rc = target_seal(&plan->data, &attributes, err);
    return rc < 0 ? rc : restore_report_file(r, plan->data.path, &plan->layer->id, 0, err);
}

static int write_layer(struct restore *r, struct plan *plan, struct error *err)
{
    const struct record_layer *layer = plan->layer;
    const struct record_data_file *data = layer->qcow2.data_file;
    uint64_t written = 0;
    struct restore_names names = {
        .backing = plan->backing,
        .backing_format = plan->backing_format,
        .data_file = plan->data_name,
        .data_target = data != NULL ? &plan->data : NULL,
    };
    int rc = restore_layer(r, layer, &names, &plan->target, &written, err);
    if (rc == 0 && r->options->verify)
        rc = restore_verify_layer(r, layer, &names, &plan->target, err);
    struct target_attributes attributes = restore_attributes(&layer->file);
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

static int write_side_file(struct restore *r, struct plan *plan, struct error *err)
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
static int place_all(struct plan *plans, size_t n, struct error *err)
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

static bool is_needed(const struct record_archive *a, size_t image, size_t layer)
{
    if (image == a->image_count)
        return true;
    for (size_t i = 0; i < a->images[image].layer_count; i++)
        if (a->images[image].layers[i] == layer)
            return true;
    return false;
}

static int make_plans(struct restore *r, size_t image, struct plan *plans, size_t *count,
                      struct error *err)
{
    const struct record_archive *a = &r->archive;
    const char **placed = calloc(a->layer_count + 1, sizeof *placed);
    int rc = placed == NULL ? error_no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++)
        placed[i] = a->layers[i].file.placed_path;
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++) {
        if (!is_needed(a, image, i))
            continue;
        struct plan *plan = &plans[(*count)++];
        plan->layer = &a->layers[i];
        r->bytes_total += plan->layer->bytes_allocated;
        rc = choose_names(r, i, placed, plan, err);
    }
    for (size_t i = 0; rc == 0 && image == a->image_count && i < a->with_count; i++)
        plans[(*count)++].side = &a->with[i];
    free(placed);
    return rc;
}

/* Looks at one target of a plan, or opens it. */
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
static int open_targets(struct restore *r, struct plan *plans, size_t n, struct error *err)
{
    int rc = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; rc == 0 && i < n; i++) {
            struct plan *plan = &plans[i];
            const struct record_layer *layer = plan->layer;
            if (plan->side != NULL)
                rc = one_target(r, side_folder, plan->side->name, &plan->target, pass > 0, err);
            if (rc == 0 && layer != NULL)
                rc = one_target(r, NULL, layer->file.placed_path, &plan->target, pass > 0, err);
            if (rc == 0 && layer != NULL && layer->qcow2.data_file != NULL)
                rc = one_target(r, NULL, layer->qcow2.data_file->file.placed_path, &plan->data,
                                pass > 0, err);
        }
    return rc;
}

int restore_chains(struct restore *r, size_t image, struct error *err)
{
    size_t count = 0, most = r->archive.layer_count + r->archive.with_count;
    struct plan *plans = calloc(most + 1, sizeof *plans);
    if (plans == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < most; i++)
        plans[i].target.fd = plans[i].data.fd = -1;
    int rc = make_plans(r, image, plans, &count, err);
    if (rc == 0)
        rc = open_targets(r, plans, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        restore_begin_file(r, i + 1, count);
        rc = plans[i].layer != NULL ? write_layer(r, &plans[i], err)
                                    : write_side_file(r, &plans[i], err);
    }
    if (rc == 0)
        rc = place_all(plans, count, err);
    plans_clear(plans, most);
    return rc;
}
