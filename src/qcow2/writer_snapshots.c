/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of internal snapshots: entries as they were, with new L1 offsets.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "qcow2/writer_internal.h"

static int check_snapshots(const struct qcow2_writer *w, const struct qcow2_snapshot *snapshots,
                           uint32_t n, size_t *len, struct error *err)
{
    *len = 0;
    if (!w->placed || w->snapshots_written || n == 0 || n != w->nb_views - 1)
        return writer_wrong_order(w, "the snapshot table does not come in its order", err);
    for (uint32_t i = 0; i < n; i++) {
        *len += qcow2_snapshot_size(&snapshots[i]);
        if (snapshots[i].l1_size != w->views[i + 1].l1_size || *len > QCOW2_MAX_SNAPSHOT_TABLE)
            return error_set(err, ERROR_CORRUPT,
                             "%s: snapshot %" PRIu32 " with an L1 of %" PRIu32
                             " entries, in a table of %zu bytes, cannot be written",
                             w->target.name, i, snapshots[i].l1_size, *len);
    }
    return 0;
}

int qcow2_writer_snapshots(struct qcow2_writer *w, const struct qcow2_snapshot *snapshots,
                           uint32_t n, struct error *err)
{
    uint64_t clusters, host;
    uint8_t *table = NULL;
    size_t len, at = 0;
    int rc;

    if ((rc = check_snapshots(w, snapshots, n, &len, err)) < 0)
        return rc;
    clusters = writer_clusters(w, len);
    table = calloc(clusters, w->cluster_size);
    if (table == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        qcow2_snapshot_encode(table + at, &snapshots[i], w->views[i + 1].l1_offset);
        at += qcow2_snapshot_size(&snapshots[i]);
    }
    if ((rc = writer_place_metadata(w, clusters, &host, err)) < 0 ||
        (rc = writer_write(w, host, table, clusters * w->cluster_size, err)) < 0)
        goto out;
    w->header.nb_snapshots = n;
    w->header.snapshots_offset = host;
    w->snapshots_written = true;
out:
    free(table);
    return rc;
}
