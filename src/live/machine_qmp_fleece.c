/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Content mode by QMP: a backup job without a copy of its own (sync none) has
 * what the guest overwrites copied to a scratch node first, whose backing is the
 * disk; the scratch node is exported. The way back looks at what is there, and
 * may begin anywhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live/fleece.h"
#include "live/machine_qmp.h"
#include "live/wire.h"

enum { TICK = 50, LIMIT = 60000 }; /* milliseconds */

static bool is_content(const struct journal_disk *d)
{
    return d->mode == JOURNAL_CONTENT;
}

/* The item of ${list} whose ${key} is ${value}; NULL: none. */
static const json_t *find(const json_t *list, const char *key, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *text = json_string_value(json_object_get(item, key));
        if (text != NULL && strcmp(text, value) == 0)
            return item;
    }
    return NULL;
}

/* ---- there ---- */

static int start_server(struct machine_qmp *mq, const struct journal_disk *d, struct error *err)
{
    char *path = fleece_socket(d);
    int rc = path == NULL ? error_no_memory(err)
                          : qmp_call(mq->q, "nbd-server-start",
                                     json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "unix", "data",
                                               "path", path),
                                     NULL, err);
    free(path);
    if (rc < 0 && err != NULL && strstr(err->message, "already running") != NULL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the machine runs an NBD server already, and QEMU has only one: content "
                         "mode needs it for itself");
    return rc;
}

/* What is in it no power cut needs to leave there. */
static int add_node(struct machine_qmp *mq, const struct journal_disk *d, struct error *err)
{
    json_t *node =
        json_pack("{s:s, s:s, s:s, s:{s:b}, s:{s:s, s:s, s:{s:b}}}", "driver", "qcow2", "node-name",
                  d->overlay_node, "backing", d->node, "cache", "no-flush", 1, "file", "driver",
                  "file", "filename", d->overlay, "cache", "no-flush", 1);
    return node == NULL ? error_no_memory(err) : qmp_call(mq->q, "blockdev-add", node, NULL, err);
}

int machine_qmp_fleece_prepare(struct machine_qmp *mq, const struct journal *j, struct error *err)
{
    size_t first = fleece_first(j);
    int rc = first < j->disk_count ? start_server(mq, &j->disks[first], err) : 0;
    for (size_t i = first; rc == 0 && i < j->disk_count; i++) {
        if (!is_content(&j->disks[i]))
            continue;
        rc = add_node(mq, &j->disks[i], err);
        if (rc < 0)
            error_wrap(err, "disk %s: the machine cannot open %s", j->disks[i].device,
                       j->disks[i].overlay);
    }
    return rc;
}

/* Calls ${each} with every name in the list of the disk's earlier bitmaps. */
static void each_old(const struct journal_disk *d, json_t *actions,
                     void (*each)(const struct journal_disk *d, const char *name, json_t *actions))
{
    char *names = d->bitmap != NULL && d->old_bitmaps != NULL ? strdup(d->old_bitmaps) : NULL;
    char *rest = NULL;
    for (char *name = names != NULL ? strtok_r(names, " ", &rest) : NULL; name != NULL;
         name = strtok_r(NULL, " ", &rest))
        each(d, name, actions);
    free(names);
}

static json_t *bitmap_action(const char *type, const struct journal_disk *d, const char *name)
{
    return json_pack("{s:s, s:{s:s, s:s}}", "type", type, "data", "node", d->node, "name", name);
}

static void add_disable(const struct journal_disk *d, const char *name, json_t *actions)
{
    json_array_append_new(actions, bitmap_action("block-dirty-bitmap-disable", d, name));
}

void machine_qmp_fleece_actions(const struct journal *j, json_t *actions)
{
    for (size_t i = 0; i < j->disk_count; i++) {
        const struct journal_disk *d = &j->disks[i];
        char name[32];
        qmp_job_name(i, name);
        if (!is_content(d))
            continue;
        if (d->bitmap != NULL)
            json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:b, s:I}}", "type",
                                                     "block-dirty-bitmap-add", "data", "node",
                                                     d->node, "name", d->bitmap, "persistent",
                                                     d->bitmap_stays, "granularity",
                                                     (json_int_t)machine_qmp_granularity(d->size)));
        each_old(d, actions, add_disable);
        json_array_append_new(actions,
                              json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "type", "blockdev-backup",
                                        "data", "job-id", name, "device", d->node, "target",
                                        d->overlay_node, "sync", "none"));
    }
}

static void add_exported(const struct journal_disk *d, const char *name, json_t *list)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "node", d->node, "name", name));
}

int machine_qmp_fleece_begin(struct machine *m, struct journal *j, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        const struct journal_disk *d = &j->disks[i];
        if (!is_content(d))
            continue;
        json_t *bitmaps = json_array();
        each_old(d, bitmaps, add_exported);
        rc = qmp_call(QMP_OF(m)->q, "block-export-add",
                      json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "type", "nbd", "id",
                                d->overlay_node, "node-name", d->overlay_node, "name",
                                d->overlay_node, "writable", 0, "bitmaps", bitmaps),
                      NULL, err);
        if (rc < 0)
            error_wrap(err, "disk %s", d->device);
    }
    return rc;
}

/* ---- back ---- */

/* Waits until the ${key} ${id} is not in what ${query} returns any more. */
static int wait_until_gone(struct machine_qmp *mq, const char *query, const char *key,
                           const char *id, struct error *err)
{
    int64_t deadline = wire_clock() + LIMIT;
    for (;;) {
        json_t *list = NULL, *event = NULL;
        int rc = qmp_call(mq->q, query, NULL, &list, err);
        bool there = rc == 0 && find(list, key, id) != NULL;
        json_decref(list);
        if (rc < 0 || !there)
            return rc;
        if (wire_clock() > deadline)
            return error_set(err, ERROR_IO, "%s does not end (%s)", id, query);
        rc = qmp_next_event(mq->q, TICK, &event, err);
        json_decref(event);
        if (rc < 0)
            return rc;
    }
}

static int end_export(struct machine_qmp *mq, const struct graph *g, const struct journal_disk *d,
                      struct error *err)
{
    if (find(g->exports, "id", d->overlay_node) == NULL)
        return 0;
    int rc = qmp_call(mq->q, "block-export-del",
                      json_pack("{s:s, s:s}", "id", d->overlay_node, "mode", "hard"), NULL, err);
    return rc < 0 ? rc : wait_until_gone(mq, "query-block-exports", "id", d->overlay_node, err);
}

static int end_job(struct machine_qmp *mq, size_t i, struct error *err)
{
    json_t *jobs = NULL;
    char name[32];
    qmp_job_name(i, name);
    int rc = qmp_call(mq->q, "query-jobs", NULL, &jobs, err);
    bool there = rc == 0 && find(jobs, "id", name) != NULL;
    json_decref(jobs);
    if (there)
        rc = qmp_call(mq->q, "job-cancel", json_pack("{s:s}", "id", name), NULL, err);
    return rc < 0 || !there ? rc : wait_until_gone(mq, "query-jobs", "id", name, err);
}

static const json_t *bitmaps_of(const struct graph *g, const struct journal_disk *d)
{
    size_t node = graph_find(g, d->node);
    return node != GRAPH_NONE ? g->nodes[node].bitmaps : NULL;
}

/* What was written since it was disabled is in the new one only. QEMU 7.2 crashes where one that is
 * not there is to be enabled; where it is to be merged to, and this comes first, it says so. */
static void add_revival(const struct journal_disk *d, const char *name, json_t *actions)
{
    json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:[s]}}", "type",
                                             "block-dirty-bitmap-merge", "data", "node", d->node,
                                             "target", name, "bitmaps", d->bitmap));
    json_array_append_new(actions, bitmap_action("block-dirty-bitmap-enable", d, name));
}

/* Whether ${name} is in ${list}, which has spaces between. */
static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ' '), at += at != NULL)
        if (strncmp(at, name, n) == 0 && (at[n] == ' ' || at[n] == 0))
            return true;
    return false;
}

static void drop(struct machine_qmp *mq, const struct journal_disk *d, const char *name)
{
    qmp_call(mq->q, "block-dirty-bitmap-remove",
             json_pack("{s:s, s:s}", "node", d->node, "name", name), NULL, NULL);
}

/* Has the earlier bitmaps tell what changed since their archives, as if nothing had been. Where
 * that cannot be they must not stay as they are: no bitmap means that all is read. */
static int revive(struct machine_qmp *mq, const struct graph *g, const struct journal_disk *d,
                  struct error *err)
{
    const json_t *there = bitmaps_of(g, d);
    size_t i;
    json_t *bitmap;
    if (d->bitmap == NULL || find(there, "name", d->bitmap) == NULL)
        return 0;
    json_t *actions = json_array();
    each_old(d, actions, add_revival);
    json_array_append_new(actions, bitmap_action("block-dirty-bitmap-remove", d, d->bitmap));
    int rc = qmp_call(mq->q, "transaction", json_pack("{s:o}", "actions", actions), NULL, err);
    if (rc == 0 || qmp_is_gone(mq->q))
        return rc;
    json_array_foreach (there, i, bitmap) {
        const char *name = json_string_value(json_object_get(bitmap, "name"));
        if (name != NULL && is_listed(d->old_bitmaps, name))
            drop(mq, d, name);
    }
    drop(mq, d, d->bitmap);
    return 0;
}

static int end_node(struct machine_qmp *mq, const struct graph *g, const struct journal_disk *d,
                    struct error *err)
{
    if (graph_find(g, d->overlay_node) == GRAPH_NONE)
        return 0;
    return qmp_call(mq->q, "blockdev-del", json_pack("{s:s}", "node-name", d->overlay_node), NULL,
                    err);
}

/* Its socket lies where nobody else makes one, so it is byre's server that has it. */
static int stop_server(struct machine_qmp *mq, const struct journal_disk *d, struct error *err)
{
    char *path = fleece_socket(d);
    int rc = path == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && access(path, F_OK) == 0) {
        rc = qmp_call(mq->q, "nbd-server-stop", NULL, NULL, err);
        if (rc < 0 && !qmp_is_gone(mq->q) && unlink(path) == 0)
            rc = 0; /* of another process, that was the machine before */
    }
    free(path);
    return rc;
}

int machine_qmp_fleece_end(struct machine *m, struct journal *j, bool archived, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    size_t first = fleece_first(j);
    struct graph g = {0};
    int rc = first < j->disk_count ? graph_read(&g, mq->q, err) : 0;
    for (size_t i = first; rc == 0 && i < j->disk_count; i++) {
        struct journal_disk *d = &j->disks[i];
        if (!is_content(d))
            continue;
        rc = end_export(mq, &g, d, err);
        if (rc == 0)
            rc = end_job(mq, i, err);
        if (rc == 0 && !archived)
            rc = revive(mq, &g, d, err);
        if (rc == 0)
            rc = end_node(mq, &g, d, err);
        if (rc < 0)
            error_wrap(err, "disk %s", d->device);
    }
    graph_clear(&g);
    return rc == 0 && first < j->disk_count ? stop_server(mq, &j->disks[first], err) : rc;
}

int machine_qmp_fleece_look(struct machine *m, const struct journal *j, size_t i,
                            enum machine_where *where, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct graph g = {0};
    json_t *jobs = NULL;
    char name[32];
    qmp_job_name(i, name);
    int rc = graph_read(&g, mq->q, err);
    if (rc == 0)
        rc = qmp_call(mq->q, "query-jobs", NULL, &jobs, err);
    *where = find(jobs, "id", name) != NULL                           ? MACHINE_ON_OVERLAY
             : graph_find(&g, j->disks[i].overlay_node) != GRAPH_NONE ? MACHINE_KNOWS
             : graph_find(&g, j->disks[i].node) != GRAPH_NONE         ? MACHINE_ON_BASE
                                                                      : MACHINE_ELSEWHERE;
    json_decref(jobs);
    graph_clear(&g);
    return rc;
}

char *machine_qmp_fleece_trouble(const json_t *event)
{
    static const char *const ends[] = {"BLOCK_JOB_CANCELLED", "BLOCK_JOB_COMPLETED",
                                       "BLOCK_JOB_ERROR"};
    const char *name = json_string_value(json_object_get(event, "event"));
    const json_t *data = json_object_get(event, "data");
    const char *job = json_string_value(json_object_get(data, "device"));
    const char *why = json_string_value(json_object_get(data, "error"));
    char *text = NULL;
    if (name == NULL || job == NULL || strncmp(job, "byre-live-", 10) != 0)
        return NULL;
    for (size_t i = 0; text == NULL && i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(name, ends[i]) == 0 &&
            asprintf(&text, "job %s of the machine, which keeps what is overwritten, has ended%s%s",
                     job, why != NULL ? ": " : "", why != NULL ? why : "") < 0)
            return NULL;
    return text;
}

/* ---- by hand ---- */

static json_t *command(const char *name, const char *key, const char *value)
{
    return json_pack("{s:s, s:{s:s}}", "execute", name, "arguments", key, value);
}

void machine_qmp_fleece_commands(const struct journal *j, size_t i, enum machine_where where,
                                 void (*say)(void *arg, const char *line), void *arg)
{
    const struct journal_disk *d = &j->disks[i];
    char name[32];
    json_t *commands[5];
    size_t n = 0;
    qmp_job_name(i, name);
    if (where == MACHINE_ON_OVERLAY) {
        commands[n++] = json_pack("{s:s, s:{s:s, s:s}}", "execute", "block-export-del", "arguments",
                                  "id", d->overlay_node, "mode", "hard");
        commands[n++] = command("job-cancel", "id", name);
    }
    if (d->bitmap != NULL && j->phase != JOURNAL_ARCHIVED && where != MACHINE_ELSEWHERE) {
        json_t *actions = json_array();
        each_old(d, actions, add_revival);
        json_array_append_new(actions, bitmap_action("block-dirty-bitmap-remove", d, d->bitmap));
        commands[n++] =
            json_pack("{s:s, s:{s:o}}", "execute", "transaction", "arguments", "actions", actions);
    }
    if (where == MACHINE_ON_OVERLAY || where == MACHINE_KNOWS)
        commands[n++] = command("blockdev-del", "node-name", d->overlay_node);
    if (n > 0 && i == fleece_first(j))
        commands[n++] = json_pack("{s:s}", "execute", "nbd-server-stop");
    if (n > 0)
        machine_qmp_say(j, say, arg, commands, n);
    while (n > 0)
        json_decref(commands[--n]);
}
