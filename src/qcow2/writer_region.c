/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions as they come: entries to their L2 tables, data to its clusters,
 * compressed clusters to writer_stream.c. Every reference is counted before its
 * entry is made, so that COPIED is right.
 */
#include <inttypes.h>
#include <string.h>

#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum { SUBCLUSTERS = 32 };

int writer_check_order(const struct qcow2_writer *w, uint32_t view, uint64_t first, size_t n,
                       struct error *err)
{
    if (view >= w->nb_views)
        return error_set(err, ERROR_USAGE, "%s: view %" PRIu32 " was not announced", w->target.name,
                         view);
    if (first < w->views[view].next_cluster || n > UINT64_MAX - first)
        return error_set(err, ERROR_USAGE,
                         "%s: %zu clusters from %" PRIu64 " on come behind cluster %" PRIu64,
                         w->target.name, n, first, w->views[view].next_cluster);
    return 0;
}

static bool possible_subclusters(const struct qcow2_entry *e)
{
    switch (e->class) {
    case QCOW2_DATA:
        return (e->sub_alloc & e->sub_zero) == 0 && e->sub_zero != UINT32_MAX;
    case QCOW2_ZERO:
        return e->sub_alloc == 0 && e->sub_zero != 0;
    case QCOW2_ZERO_ALLOC:
        return e->sub_alloc == 0 && e->sub_zero == UINT32_MAX;
    case QCOW2_COMPRESSED:
    case QCOW2_UNALLOCATED:
        break;
    }
    return e->sub_alloc == 0 && e->sub_zero == 0;
}

int writer_check_entry(const struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err)
{
    if (cluster / w->table_entries >= w->views[view].l1_size)
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64 " is beyond the L1 table of %" PRIu32
                         " entries",
                         w->target.name, cluster, w->views[view].l1_size);
    if (w->extended && !possible_subclusters(entry))
        return error_set(
            err, ERROR_CORRUPT,
            "%s: guest cluster %" PRIu64 " of class %d cannot have subclusters 0x%08" PRIx32
            " allocated and 0x%08" PRIx32 " zero",
            w->target.name, cluster, (int)entry->class, entry->sub_alloc, entry->sub_zero);
    switch (entry->class) {
    case QCOW2_ZERO:
    case QCOW2_ZERO_ALLOC:
        if (w->header.version >= 3)
            return 0;
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64
                         " is a zero cluster, which version 2 does not have",
                         w->target.name, cluster);
    case QCOW2_DATA:
    case QCOW2_COMPRESSED:
        return 0;
    case QCOW2_UNALLOCATED:
        break;
    }
    return error_set(err, ERROR_CORRUPT, "%s: guest cluster %" PRIu64 " has unknown class %d",
                     w->target.name, cluster, (int)entry->class);
}

static int flush_run(struct qcow2_writer *w, struct writer_run *run, struct error *err)
{
    size_t len = run->len;

    run->len = 0;
    if (len == 0)
        return 0;
    if (w->scatter == NULL)
        return writer_write_data(w, run->host, w->data + run->at, len, err);
    if (w->external && len > w->data_size - run->host)
        len = (size_t)(w->data_size - run->host);
    return w->scatter->put(w->scatter->arg, run->at, len, run->host, err);
}

static int add_to_run(struct qcow2_writer *w, struct writer_run *run, uint64_t host, size_t at,
                      size_t len, struct error *err)
{
    int rc;

    if (run->len > 0 && run->host + run->len == host && run->at + run->len == at) {
        run->len += len;
        return 0;
    }
    if ((rc = flush_run(w, run, err)) < 0)
        return rc;
    *run = (struct writer_run){host, at, len};
    return 0;
}

int writer_run_add(struct qcow2_writer *w, struct writer_run *run, uint64_t host, size_t at,
                   struct error *err)
{
    return add_to_run(w, run, host, at, w->cluster_size, err);
}

/* Whether what ${entry} has of its host cluster is in the file already: all of it is marked. */
static bool is_written(const struct qcow2_writer *w, const struct qcow2_entry *entry)
{
    return w->layout->old_places && !w->external &&
           hostmap_marked(&w->map, entry->host >> w->header.cluster_bits);
}

/* Only what is allocated is the guest's; what else is in the cluster may be another view's. */
static int put_data(struct qcow2_writer *w, const struct qcow2_entry *entry, struct writer_run *run,
                    size_t at, struct error *err)
{
    uint32_t alloc = w->extended ? entry->sub_alloc : UINT32_MAX;
    size_t size = w->cluster_size / SUBCLUSTERS;
    int rc;

    if (is_written(w, entry))
        return 0;
    if (alloc == UINT32_MAX) {
        if (!w->external)
            hostmap_mark(&w->map, entry->host >> w->header.cluster_bits);
        return writer_run_add(w, run, entry->host, at, err);
    }
    for (size_t i = 0; i < SUBCLUSTERS; i++)
        if (alloc >> i & 1 &&
            (rc = add_to_run(w, run, entry->host + i * size, at + i * size, size, err)) < 0)
            return rc;
    return 0;
}

static int put_cluster(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                       const struct qcow2_entry *old, struct writer_run *run, size_t at,
                       struct error *err)
{
    struct qcow2_entry entry = *old;
    const struct writer_table *table = NULL;
    int rc;

    if ((rc = writer_check_entry(w, view, cluster, old, err)) < 0 ||
        (rc = w->layout->admit(w, view, cluster, old, err)) < 0)
        return rc;
    table = writer_table_of(w, view, cluster);
    if (table->owner != view)
        return 0;
    switch (entry.class) {
    case QCOW2_COMPRESSED:
        rc = writer_stream_put(w, &entry, table->views, run, at, err);
        break;
    case QCOW2_DATA:
        if ((rc = w->layout->cluster(w, old, &entry.host, err)) == 0)
            rc = put_data(w, &entry, run, at, err);
        break;
    case QCOW2_ZERO_ALLOC:
        rc = w->layout->cluster(w, old, &entry.host, err);
        break;
    case QCOW2_ZERO:
    case QCOW2_UNALLOCATED:
        entry.host = 0;
        break;
    }
    return rc < 0 ? rc : writer_table_put(w, view, cluster, &entry, err);
}

static int put_clusters(struct qcow2_writer *w, uint32_t view, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, struct error *err)
{
    struct writer_run run = {0};
    int rc;

    if ((rc = writer_check_order(w, view, first, n, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].class == QCOW2_UNALLOCATED)
            continue;
        if ((rc = writer_encode_ahead(w, view, first, entries, n, i, err)) < 0 ||
            (rc = put_cluster(w, view, first + i, &entries[i], &run, i * w->cluster_size, err)) < 0)
            return rc;
    }
    w->views[view].next_cluster = first + n;
    return flush_run(w, &run, err);
}

int qcow2_writer_region(struct qcow2_writer *w, uint32_t view, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, const uint8_t *data,
                        struct error *err)
{
    w->data = data;
    int rc = put_clusters(w, view, first, entries, n, err);
    w->data = NULL;
    writer_encode_end(w);
    return rc;
}

int qcow2_writer_scatter(struct qcow2_writer *w, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n,
                         const struct qcow2_scatter *scatter, struct error *err)
{
    w->scatter = scatter;
    int rc = put_clusters(w, view, first, entries, n, err);
    w->scatter = NULL;
    return rc;
}

void qcow2_writer_set_workers(struct qcow2_writer *w, const struct qcow2_workers *workers)
{
    w->workers = *workers;
}

void qcow2_writer_wanted(const struct qcow2_writer *w, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n, bool *wanted)
{
    const struct writer_view *v = view < w->nb_views ? &w->views[view] : NULL;

    for (size_t i = 0; i < n; i++) {
        const struct qcow2_entry *entry = &entries[i];
        uint64_t index = (first + i) / w->table_entries;

        wanted[i] = entry->class == QCOW2_DATA || entry->class == QCOW2_COMPRESSED;
        if (!wanted[i] || !w->layout->old_places || v == NULL || index >= v->l1_size ||
            v->l1[index] == 0)
            continue;
        if (writer_table_of(w, view, first + i)->owner != view)
            wanted[i] = false;
        else if (entry->class == QCOW2_COMPRESSED)
            wanted[i] = writer_stream_wanted(w, entry, n);
        else
            wanted[i] = !is_written(w, entry) && !(w->extended && entry->sub_alloc == 0);
    }
}
