/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the devices and exports of a QEMU down to the nodes that hold a disk's
 * format: filters are passed by, whatever byre could not read as a file is
 * refused, before anything is touched.
 */
#include "live/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"

static const char content_hint[] = "; --content reads such a disk through the machine";

static bool is_one_of(const char *driver, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(driver, *list) == 0)
            return true;
    return false;
}

static bool is_job_filter(const char *driver)
{
    static const char *const filters[] = {"mirror_top", "commit_top", "copy-before-write",
                                          "backup-top", NULL};
    return is_one_of(driver, filters);
}

static bool is_filter(const char *driver)
{
    static const char *const filters[] = {"throttle",    "copy-on-read", "compress",
                                          "preallocate", "blkdebug",     NULL};
    return is_one_of(driver, filters) || is_job_filter(driver);
}

static size_t below_filter(const struct graph *g, size_t node)
{
    size_t below = graph_child(g, node, "file");
    return below != GRAPH_NONE ? below : graph_child(g, node, "backing");
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

/* ---- names ---- */

static const json_t *find_device(const struct graph *g, size_t top)
{
    size_t i;
    json_t *item;
    json_array_foreach (g->devices, i, item)
        if (strcmp(text(json_object_get(item, "inserted"), "node-name"), g->nodes[top].name) == 0)
            return item;
    return NULL;
}

static size_t device_rank(const struct graph *g, size_t top)
{
    const json_t *device = find_device(g, top);
    for (size_t i = 0; device != NULL && i < json_array_size(g->devices); i++)
        if (json_array_get(g->devices, i) == device)
            return i;
    return SIZE_MAX;
}

/* The id in "/machine/peripheral/ID/virtio-backend", or in what is the id itself; and its length.
 */
static const char *device_id(const char *qdev, size_t *len)
{
    static const char folder[] = "/machine/peripheral/";
    if (strncmp(qdev, folder, sizeof folder - 1) == 0)
        qdev += sizeof folder - 1;
    *len = qdev[0] == '/' ? 0 : strcspn(qdev, "/");
    return qdev;
}

static bool is_id(const char *qdev, const char *name)
{
    size_t len;
    const char *id = device_id(qdev, &len);
    return len > 0 && strlen(name) == len && memcmp(id, name, len) == 0;
}

static char *device_name(const struct graph *g, size_t top)
{
    const json_t *device = find_device(g, top);
    size_t len = 0, i;
    const char *id = device_id(text(device, "qdev"), &len);
    json_t *item;
    if (len > 0)
        return strndup(id, len);
    if (text(device, "device")[0] != 0)
        return strdup(text(device, "device"));
    json_array_foreach (g->exports, i, item)
        if (strcmp(text(item, "node-name"), g->nodes[top].name) == 0)
            return strdup(text(item, "id"));
    return strdup(g->nodes[top].name);
}

/* Whether people may mean by ${name} the disk with ${node} below ${top}. */
static bool is_meant(const struct graph *g, size_t top, size_t node, const char *name)
{
    const json_t *device = find_device(g, top);
    size_t i;
    json_t *item;
    size_t file = node != GRAPH_NONE ? graph_child(g, node, "file") : GRAPH_NONE;
    if (strcmp(g->nodes[top].name, name) == 0 ||
        (node != GRAPH_NONE &&
         (strcmp(g->nodes[node].name, name) == 0 || strcmp(g->nodes[node].file, name) == 0)) ||
        (file != GRAPH_NONE && strcmp(g->nodes[file].file, name) == 0))
        return true;
    if (device != NULL &&
        (strcmp(text(device, "device"), name) == 0 || strcmp(text(device, "qdev"), name) == 0 ||
         is_id(text(device, "qdev"), name)))
        return true;
    json_array_foreach (g->exports, i, item)
        if (strcmp(text(item, "node-name"), g->nodes[top].name) == 0 &&
            strcmp(text(item, "id"), name) == 0)
            return true;
    return false;
}

static bool is_asked_for(const struct live_options *o, const struct graph *g, size_t top,
                         size_t node, bool *named)
{
    *named = false;
    for (size_t i = 0; i < o->disk_count; i++)
        if (strcmp(o->disks[i], "all") == 0)
            return true;
    for (size_t i = 0; !*named && i < o->disk_count; i++)
        *named = is_meant(g, top, node, o->disks[i]);
    return o->disk_count == 0 || *named;
}

/* ---- what can be frozen ---- */

/* The node with the format below ${top}; else what is in the way. */
static size_t format_node(const struct graph *g, size_t top)
{
    for (size_t steps = 0; steps < g->node_count && is_filter(g->nodes[top].driver); steps++) {
        size_t below = below_filter(g, top);
        if (below == GRAPH_NONE)
            break;
        top = below;
    }
    return top;
}

static bool is_used_by_job(const struct graph *g, size_t node)
{
    for (size_t i = 0; graph_parent(g, node, i) != GRAPH_NONE; i++)
        if (g->nodes[graph_parent(g, node, i)].is_job)
            return true;
    return is_job_filter(g->nodes[node].driver);
}

/* On the way from ${top} down to ${node}. */
static bool has_job(const struct graph *g, size_t top, size_t node)
{
    for (size_t steps = 0; steps < g->node_count && top != GRAPH_NONE; steps++) {
        if (is_used_by_job(g, top))
            return true;
        if (top == node)
            break;
        top = below_filter(g, top);
    }
    return false;
}

static bool has_fuse(const struct graph *g, size_t top)
{
    size_t i;
    json_t *item;
    json_array_foreach (g->exports, i, item)
        if (strcmp(text(item, "node-name"), g->nodes[top].name) == 0 &&
            strcmp(text(item, "type"), "fuse") == 0)
            return true;
    return false;
}

/* Whether the name says more of the disk than the file does, say a slice of it. A chain that was
 * put together node by node is in it, too: whether it is that of the files, machine_qmp_plan.c
 * sees. */
static bool is_more_than_file(const struct graph_node *n)
{
    const char *key;
    json_t *value;
    bool more = false;
    if (strncmp(n->file, "json:", 5) != 0)
        return false;
    json_t *name = json_loads(n->file + 5, 0, NULL);
    json_object_foreach (name, key, value)
        more |= strcmp(key, "driver") != 0 && strcmp(key, "file") != 0 &&
                strcmp(key, "backing") != 0 && strncmp(key, "encrypt.", 8) != 0;
    more |= !json_is_object(name);
    json_decref(name);
    return more;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Whether anything that ${node} consists of is encrypted. */
static bool is_encrypted(const struct graph *g, size_t node)
{
    bool *below = calloc(g->node_count, sizeof *below), found = below == NULL, more = true;
    if (below != NULL)
        below[node] = true;
    while (!found && more) {
        more = false;
        for (size_t i = 0; i < g->edge_count; i++)
            if (below[g->edges[i].parent] && !below[g->edges[i].child])
                more = below[g->edges[i].child] = true;
        for (size_t i = 0; i < g->node_count; i++)
            found |= below[i] && g->nodes[i].encrypted;
    }
    free(below);
    return found || g->nodes[node].encrypted;
}

/* ${*content}: it can be read through the machine. */
static int refuse(const struct graph *g, size_t top, size_t node, bool *content, struct error *err)
{
    const struct graph_node *n = &g->nodes[node];
    size_t file = graph_child(g, node, "file");
    char *device = device_name(g, top);
    char reason[512] = "";
    const char *hint = "";
    if (has_job(g, top, node)) {
        snprintf(reason, sizeof reason, "a job is running on it (query-block-jobs)");
    } else if (strcmp(n->driver, "qcow2") != 0 && strcmp(n->driver, "raw") != 0) {
        snprintf(reason, sizeof reason, "node %.64s is neither qcow2 nor raw but %.32s", n->name,
                 n->driver);
        hint = content_hint;
    } else if (file == GRAPH_NONE || (strcmp(g->nodes[file].driver, "file") != 0 &&
                                      strcmp(g->nodes[file].driver, "host_device") != 0)) {
        snprintf(reason, sizeof reason,
                 "node %.64s is no file or block device of this host but %.32s", n->name,
                 file == GRAPH_NONE ? "nothing" : g->nodes[file].driver);
        hint = content_hint;
    } else if (is_more_than_file(n) || strncmp(g->nodes[file].file, "json:", 5) == 0) {
        snprintf(reason, sizeof reason, "node %.64s is more than a file by its name: %.256s",
                 n->name, n->file);
        hint = content_hint;
    } else if (strncmp(g->nodes[file].file, "/dev/fdset/", 11) == 0) {
        snprintf(reason, sizeof reason,
                 "node %.64s was handed over as a descriptor, without a name", n->name);
        hint = content_hint;
    } else if (ends_with(g->nodes[file].file, LIVE_OVERLAY_SUFFIX)) {
        snprintf(reason, sizeof reason,
                 "%.256s is itself the temporary overlay of a live backup: byre live status says "
                 "what to do",
                 g->nodes[file].file);
    } else if (has_fuse(g, top)) {
        snprintf(reason, sizeof reason,
                 "it has an export of type fuse, which would make the way back impossible");
        hint = content_hint;
    }
    *content = hint == content_hint;
    int rc = reason[0] == 0 ? 0
                            : error_set(err, ERROR_UNSUPPORTED, "disk %s cannot be frozen: %s%s",
                                        device != NULL ? device : n->name, reason, hint);
    free(device);
    return rc;
}

/* ---- all of them ---- */

static int add(struct plan *plan, const struct graph *g, size_t top, size_t node, bool content,
               struct error *err)
{
    struct plan_disk *disks = NULL;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->disks[i].node == node)
            return 0;
    disks = realloc(plan->disks, (plan->count + 1) * sizeof *disks);
    if (disks == NULL)
        return error_no_memory(err);
    plan->disks = disks;
    disks[plan->count] = (struct plan_disk){.node = node,
                                            .file = graph_child(g, node, "file"),
                                            .device = device_name(g, top),
                                            .rank = device_rank(g, top),
                                            .content = content};
    return disks[plan->count++].device == NULL ? error_no_memory(err) : 0;
}

static int consider(struct plan *plan, const struct graph *g, const struct live_options *o,
                    size_t top, struct error *err)
{
    size_t node = format_node(g, top);
    bool named = false;
    if (!is_asked_for(o, g, top, node, &named))
        return 0;
    if (!g->nodes[node].read_only) {
        bool content = false;
        int rc = refuse(g, top, node, &content, err);
        if (rc < 0 && content && is_encrypted(g, node)) {
            error_add(err, ", but no encrypted one, for its scratch file would not be");
            content = false;
        }
        return rc < 0 && !(content && o->content) ? rc : add(plan, g, top, node, content, err);
    }
    char *device = device_name(g, top);
    int rc = 0;
    if (named)
        rc = error_set(err, ERROR_UNSUPPORTED,
                       "disk %s is read-only, so that there is nothing to freeze: back up its file "
                       "%s the ordinary way",
                       device != NULL ? device : "", g->nodes[node].file);
    else
        say(o->listener.note, o->listener.arg, "%s is read-only, and left out",
            device != NULL ? device : g->nodes[node].name);
    free(device);
    return rc;
}

/* Whether ${node} is what a device or an export uses; with neither of them in the whole machine,
 * what nothing uses. */
static bool is_top(const struct graph *g, size_t node)
{
    size_t parents = 0;
    if (!g->nodes[node].is_block)
        return false;
    for (; graph_parent(g, node, parents) != GRAPH_NONE; parents++) {
        const struct graph_node *p = &g->nodes[graph_parent(g, node, parents)];
        if (!p->is_block && !p->is_job)
            return true;
    }
    return parents == 0 && json_array_size(g->devices) == 0;
}

static int check_names(const struct graph *g, const struct live_options *o, struct error *err)
{
    for (size_t i = 0; i < o->disk_count; i++) {
        bool found = strcmp(o->disks[i], "all") == 0;
        for (size_t k = 0; !found && k < g->node_count; k++)
            found = is_top(g, k) && is_meant(g, k, format_node(g, k), o->disks[i]);
        if (!found)
            return error_set(err, ERROR_NOT_FOUND,
                             "the machine has no disk %s (a device's id, a node's name, or a file)",
                             o->disks[i]);
    }
    return 0;
}

/* The first one gives the archive its name, and must be the first one each time. */
static int by_rank(const void *a, const void *b)
{
    const struct plan_disk *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return strcmp(x->device, y->device);
}

int plan_disks(struct plan *plan, const struct graph *g, const struct live_options *o,
               struct error *err)
{
    *plan = (struct plan){0};
    int rc = check_names(g, o, err);
    for (size_t i = 0; rc == 0 && i < g->node_count; i++)
        if (is_top(g, i))
            rc = consider(plan, g, o, i, err);
    if (rc == 0 && plan->count == 0)
        rc = error_set(err, ERROR_NOT_FOUND, "the machine has no disk that is written to");
    if (rc == 0)
        qsort(plan->disks, plan->count, sizeof *plan->disks, by_rank);
    return rc;
}

void plan_clear(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->disks[i].device);
    free(plan->disks);
    *plan = (struct plan){0};
}
