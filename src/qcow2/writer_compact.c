/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The compact layout: L1, then, in the order of the guest, each L2 table before
 * its clusters, with no gap anywhere. The refcounts come last.
 */
#include "qcow2/writer_internal.h"

static int admit(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                 const struct qcow2_entry *entry, struct error *err)
{
    uint64_t index = cluster / w->table_entries;
    int rc;

    (void)entry;
    if (w->views[view].l1[index] != 0)
        return 0;
    if ((rc = writer_table_add(w, view, index, err)) < 0)
        return rc;
    return writer_table_place(w, w->views[view].l1[index], err);
}

static int place_cluster(struct qcow2_writer *w, const struct qcow2_entry *entry, uint64_t *host,
                         struct error *err)
{
    (void)entry;
    return writer_append_cluster(w, 1, host, err);
}

static const struct writer_layout compact = {
    .admit = admit,
    .cluster = place_cluster,
};

int qcow2_writer_begin_compact(struct qcow2_writer **writer, const struct qcow2_target *target,
                               const struct qcow2_header *header, struct error *err)
{
    struct qcow2_writer *w = NULL;
    int rc;

    *writer = NULL;
    if ((rc = writer_new(&w, &compact, target, header, NULL, NULL, err)) < 0)
        return rc;
    if ((rc = writer_place_l1s(w, err)) < 0) {
        qcow2_writer_free(w);
        return rc;
    }
    w->placed = true;
    *writer = w;
    return 0;
}
