/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compressed clusters: the choice between the old place, the end of
 * the file and plain data, and the streams that several tables share. What is
 * decided of a stream holds for all tables that have it.
 */
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

/*
 * A stream whose old place is claimed more than once, by others that share it, or, in a damaged
 * image, by others that do not. The old places of twins never overlap: who comes first is one.
 */
struct twin {
    uint64_t start; /* the old place */
    uint64_t end;
    uint64_t host; /* the new one */
    uint32_t length;
};

/* Equal is what overlaps. */
static int compare_twins(const void *a, const void *b)
{
    const struct twin *x = a, *y = b;

    return (x->start >= y->end) - (x->end <= y->start);
}

static const struct twin *find_twin(const struct qcow2_writer *w, const struct qcow2_entry *e)
{
    struct twin key = {.start = e->host, .end = e->host + e->length};
    struct twin *const *found = tfind(&key, &w->twins, compare_twins);

    return found != NULL ? *found : NULL;
}

static bool same_place(const struct twin *twin, const struct qcow2_entry *e)
{
    return twin->start == e->host && twin->end == e->host + e->length;
}

static int add_twin(struct qcow2_writer *w, const struct qcow2_entry *old,
                    const struct qcow2_entry *now, struct error *err)
{
    struct twin *twin = malloc(sizeof *twin);

    if (twin == NULL)
        return error_no_memory(err);
    *twin = (struct twin){old->host, old->host + old->length, now->host, now->length};
    if (tsearch(twin, &w->twins, compare_twins) == NULL) {
        free(twin);
        return error_no_memory(err);
    }
    return 0;
}

void writer_streams_clear(struct qcow2_writer *w)
{
    tdestroy(w->twins, free);
    writer_encoder_clear(w);
    free(w->stream);
    free(w->pending.buf);
}

int writer_stream_flush(struct qcow2_writer *w, struct error *err)
{
    size_t len = w->pending.len;

    w->pending.len = 0;
    return len > 0 ? writer_write(w, w->pending.offset, w->pending.buf, len, err) : 0;
}

/* Streams are short and mostly lie end to end, so they are collected. */
static int write_stream(struct qcow2_writer *w, uint64_t host, const uint8_t *stream, size_t len,
                        struct error *err)
{
    struct writer_pending *p = &w->pending;
    int rc;

    if (p->offset + p->len != host || len > p->room - p->len) {
        if ((rc = writer_stream_flush(w, err)) < 0)
            return rc;
        p->offset = host;
    }
    memcpy(p->buf + p->len, stream, len);
    p->len += len;
    return 0;
}

/*
 * Finds room for a stream of ${len} bytes that is referenced ${n} times: behind the last one, in
 * its cluster and even into the next, as QEMU does, if the cluster's refcount can count that; else
 * in new clusters. Sets ${*host}, or sets it to 0 where a compressed entry could not address it.
 */
static int append_stream(struct qcow2_writer *w, uint32_t len, uint32_t n, uint64_t *host,
                         struct error *err)
{
    uint32_t bits = w->header.cluster_bits;
    uint64_t used = w->tail % w->cluster_size;
    uint64_t room = used > 0 && writer_countable(w, w->tail, 1, n) ? w->cluster_size - used : 0;
    bool at_end = w->map.end == (w->tail >> bits) + 1;
    uint64_t clusters, first;
    int rc;

    *host = 0;
    /* One longer than a cluster could touch too many sectors where it begins within one. */
    if (len > room && (!at_end || len >= w->cluster_size))
        room = 0;
    clusters = len > room ? writer_clusters(w, len - room) : 0;
    if ((w->map.end + clusters) << bits > qcow2_entry_compressed_limit(&w->header))
        return 0;
    if (clusters > 0) {
        if ((rc = hostmap_append(&w->map, clusters, HOSTMAP_STREAMS, &first, err)) < 0)
            return error_wrap(err, "%s", w->target.name);
        if (room == 0)
            w->tail = first << bits;
    }
    *host = w->tail;
    w->tail += len;
    return 0;
}

/* Whether a stream of ${len} bytes, referenced ${n} times, fits where ${entry} says. */
static bool fits_old_place(const struct qcow2_writer *w, const struct qcow2_entry *entry,
                           uint32_t len, uint32_t n)
{
    uint32_t bits = w->header.cluster_bits;

    if (len > entry->length)
        return false;
    for (uint64_t c = entry->host >> bits; c <= (entry->host + len - 1) >> bits; c++)
        if (hostmap_use(&w->map, c) != HOSTMAP_STREAMS)
            return false;
    return writer_countable(w, entry->host, len, n);
}

static int put_plain(struct qcow2_writer *w, struct qcow2_entry *entry, uint32_t views,
                     struct writer_run *run, size_t at, struct error *err)
{
    uint64_t host;
    int rc;

    if (w->header.crypt_method != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: no compressed cluster can be addressed behind %" PRIu64 " bytes",
                         w->target.name, qcow2_entry_compressed_limit(&w->header));
    if ((rc = writer_append_cluster(w, views, &host, err)) < 0)
        return rc;
    w->report.streams_plain++;
    *entry = (struct qcow2_entry){
        .class = QCOW2_DATA, .host = host, .sub_alloc = w->extended ? UINT32_MAX : 0};
    return writer_run_add(w, run, host, at, err);
}

int writer_stream_put(struct qcow2_writer *w, struct qcow2_entry *entry, uint32_t views,
                      struct writer_run *run, size_t at, struct error *err)
{
    struct qcow2_entry old = *entry;
    bool contested = w->layout->old_places && spans_contested(&w->streams, old.host, old.length);
    const struct twin *twin = contested ? find_twin(w, &old) : NULL;
    bool stays = w->layout->old_places && twin == NULL;
    const uint8_t *stream = NULL;
    uint64_t host = 0;
    size_t len;
    int rc;

    if (twin != NULL && same_place(twin, &old) &&
        writer_countable(w, twin->host, twin->length, views)) {
        entry->host = twin->host;
        entry->length = twin->length;
        return writer_count(w, twin->host, twin->length, views, err);
    }
    if ((rc = writer_encode(w, at, &stream, &len, err)) < 0)
        return rc;
    stays = stays && len > 0 && fits_old_place(w, &old, (uint32_t)len, views);
    if (stays)
        host = old.host;
    else if (len > 0 && (rc = append_stream(w, (uint32_t)len, views, &host, err)) < 0)
        return rc;
    /* Not for its twins: its COPIED bit is set before they come, so each gets its own. */
    if (host == 0)
        return put_plain(w, entry, views, run, at, err);

    if (!stays && w->layout->old_places)
        w->report.streams_moved++;
    *entry = (struct qcow2_entry){.class = QCOW2_COMPRESSED, .length = (uint32_t)len, .host = host};
    if ((rc = writer_count(w, host, len, views, err)) < 0 ||
        (contested && twin == NULL && (rc = add_twin(w, &old, entry, err)) < 0))
        return rc;
    return write_stream(w, host, stream, len, err);
}

bool writer_stream_wanted(const struct qcow2_writer *w, const struct qcow2_entry *entry,
                          size_t calls)
{
    const struct twin *twin = NULL;

    if (!spans_contested(&w->streams, entry->host, entry->length))
        return true;
    twin = find_twin(w, entry);
    return twin == NULL || !same_place(twin, entry) ||
           !writer_countable(w, twin->host, twin->length, (uint64_t)w->nb_views * (calls + 1));
}
