/* SPDX-License-Identifier: BSD-2-Clause */
/* Overlays come to a machine by QMP, take the place of its disks in one transaction, and go. */
#include "live/machine_qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/overlay.h"

static void secret_name(size_t i, char name[40])
{
    snprintf(name, 40, "byre-live-%zu-key", i);
}

/* The key goes over the socket: the machine may be another user's, who cannot read the file. */
static int add_secret(struct machine_qmp *mq, const struct journal_disk *d, size_t i,
                      struct error *err)
{
    char name[40], key[OVERLAY_KEY + 1];
    int rc = overlay_read_key(d->key_file, key, err);
    if (rc < 0)
        return rc;
    secret_name(i, name);
    rc = qmp_call(mq->q, "object-add",
                  json_pack("{s:s, s:s, s:s}", "qom-type", "secret", "id", name, "data", key), NULL,
                  err);
    explicit_bzero(key, sizeof key);
    return rc;
}

/* It is cached as the base is, or the guest's flushes would mean less. */
static int add_node(struct machine_qmp *mq, const struct graph *g, const struct journal_disk *d,
                    size_t i, struct error *err)
{
    size_t base = graph_find(g, d->node);
    char name[40];
    if (base == GRAPH_NONE)
        return error_set(err, ERROR_NOT_FOUND, "node %s is not there any more", d->node);
    int direct = g->nodes[base].direct, no_flush = g->nodes[base].no_flush;
    json_t *node =
        json_pack("{s:s, s:s, s:n, s:s, s:{s:b, s:b}, s:{s:s, s:s, s:s, s:{s:b, s:b}}}", "driver",
                  "qcow2", "node-name", d->overlay_node, "backing", "discard", "unmap", "cache",
                  "direct", direct, "no-flush", no_flush, "file", "driver", "file", "filename",
                  d->overlay, "discard", "unmap", "cache", "direct", direct, "no-flush", no_flush);
    secret_name(i, name);
    if (node != NULL && d->key_file != NULL)
        json_object_set_new(node, "encrypt",
                            json_pack("{s:s, s:s}", "format", "luks", "key-secret", name));
    return node == NULL ? error_no_memory(err) : qmp_call(mq->q, "blockdev-add", node, NULL, err);
}

/* What an earlier backup could not take back; what is in use stays. */
static void drop_leftovers(struct machine_qmp *mq, const struct journal_disk *d, size_t i)
{
    char name[40];
    secret_name(i, name);
    qmp_call(mq->q, "blockdev-del", json_pack("{s:s}", "node-name", d->overlay_node), NULL, NULL);
    qmp_call(mq->q, "object-del", json_pack("{s:s}", "id", name), NULL, NULL);
}

int machine_qmp_prepare(struct machine *m, struct journal *j, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct graph g = {0};
    int rc = graph_read(&g, mq->q, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        if (j->disks[i].mode == JOURNAL_CONTENT)
            continue;
        drop_leftovers(mq, &j->disks[i], i);
        if (j->disks[i].key_file != NULL)
            rc = add_secret(mq, &j->disks[i], i, err);
        if (rc == 0)
            rc = add_node(mq, &g, &j->disks[i], i, err);
        if (rc < 0)
            error_wrap(err, "disk %s: the machine cannot open %s", j->disks[i].device,
                       j->disks[i].overlay);
    }
    graph_clear(&g);
    return rc == 0 ? machine_qmp_fleece_prepare(mq, j, err) : rc;
}

int machine_qmp_forget(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct qmp_place place;
    char name[40];
    int rc = machine_qmp_dismiss(m, i, err);
    if (rc == 0)
        rc = qmp_place_find(m, j, i, &place, err);
    if (rc == 0 && place.overlay[0] != 0)
        rc = qmp_call(mq->q, "blockdev-del", json_pack("{s:s}", "node-name", place.overlay), NULL,
                      err);
    if (rc == 0 && j->disks[i].key_file != NULL) {
        secret_name(i, name);
        qmp_call(mq->q, "object-del", json_pack("{s:s}", "id", name), NULL, NULL);
    }
    return rc;
}

void machine_qmp_unprepare(struct machine *m, struct journal *j)
{
    machine_qmp_fleece_end(m, j, false, NULL);
    for (size_t i = 0; i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY)
            machine_qmp_forget(m, j, i, NULL);
}

/* ---- the switch ---- */

/* A bitmap is no finer than what others would make by default, nor more than a few million bits. */
uint64_t machine_qmp_granularity(uint64_t size)
{
    uint64_t bytes = 65536;
    while (size / bytes > 1U << 24)
        bytes *= 2;
    return bytes;
}

static int transact(struct machine_qmp *mq, const struct journal *j, struct error *err)
{
    json_t *actions = json_array();
    for (size_t i = 0; i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY && j->disks[i].bitmap != NULL)
            json_array_append_new(
                actions,
                json_pack("{s:s, s:{s:s, s:s, s:b, s:I}}", "type", "block-dirty-bitmap-add", "data",
                          "node", j->disks[i].node, "name", j->disks[i].bitmap, "persistent", 1,
                          "granularity", (json_int_t)machine_qmp_granularity(j->disks[i].size)));
    for (size_t i = 0; i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY)
            json_array_append_new(
                actions, json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot", "data",
                                   "node", j->disks[i].node, "overlay", j->disks[i].overlay_node));
    machine_qmp_fleece_actions(j, actions);
    return qmp_call(mq->q, "transaction", json_pack("{s:o}", "actions", actions), NULL, err);
}

/* QEMU does not say that it could not open a base again for reading only. */
int machine_qmp_check_bases(struct machine *m, struct journal *j, struct error *err)
{
    struct graph g = {0};
    int rc = graph_read(&g, QMP_OF(m)->q, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        size_t node = graph_find(&g, j->disks[i].node);
        if (j->disks[i].mode == JOURNAL_CONTENT)
            continue;
        if (node == GRAPH_NONE || !g.nodes[node].read_only)
            rc = error_set(err, ERROR_IN_USE,
                           "disk %s: the machine writes to the overlay, but QEMU did not let go of "
                           "%s, maybe because it may not open it again",
                           j->disks[i].device, j->disks[i].base);
    }
    graph_clear(&g);
    return rc;
}

int machine_qmp_switch_over(struct machine *m, struct journal *j, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    bool bitmaps = false;
    int rc = transact(mq, j, err);
    for (size_t i = 0; i < j->disk_count; i++)
        bitmaps |= j->disks[i].bitmap != NULL;
    if (rc == 0 || qmp_is_gone(mq->q) || !bitmaps)
        return rc;
    /* better without, than no backup */
    for (size_t i = 0; i < j->disk_count; i++) {
        free(j->disks[i].bitmap);
        j->disks[i].bitmap = NULL;
    }
    return transact(mq, j, err);
}

/* ---- bitmaps ---- */

static bool is_old(const json_t *bitmap, const char *prefix, const char *keep)
{
    const char *name = json_string_value(json_object_get(bitmap, "name"));
    return name != NULL && strncmp(name, prefix, strlen(prefix)) == 0 &&
           (keep == NULL || strcmp(name, keep) != 0);
}

int machine_qmp_drop_bitmaps(struct machine *m, struct journal *j, size_t i, const char *prefix,
                             const char *keep, size_t *left, struct error *err)
{
    struct machine_qmp *mq = QMP_OF(m);
    struct graph g = {0};
    size_t k;
    json_t *bitmap;
    *left = 0;
    int rc = graph_read(&g, mq->q, err);
    size_t node = rc == 0 ? graph_find(&g, j->disks[i].node) : GRAPH_NONE;
    if (node != GRAPH_NONE)
        json_array_foreach (g.nodes[node].bitmaps, k, bitmap)
            if (is_old(bitmap, prefix, keep) &&
                qmp_call(mq->q, "block-dirty-bitmap-remove",
                         json_pack("{s:s, s:O}", "node", j->disks[i].node, "name",
                                   json_object_get(bitmap, "name")),
                         NULL, err) < 0)
                ++*left;
    graph_clear(&g);
    return *left > 0 ? ERROR_IO : rc;
}
