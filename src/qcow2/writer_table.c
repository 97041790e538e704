/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L2 tables: which views share one, known by a digest of the entries that were
 * reserved, and their bytes on the way to the file. Where they go, the layouts
 * say; what entries refer to is written by others before.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum { TABLES_MIN_ROOM = 64 };

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* One block of MurmurHash3_x64_128: 128 bits, against accidents and not against attackers, who
 * would gain a table of their own in an archive of their own. */
static void digest_add(uint64_t digest[2], uint64_t a, uint64_t b)
{
    const uint64_t c1 = UINT64_C(0x87c37b91114253d5), c2 = UINT64_C(0x4cf5ad432745937f);

    digest[0] ^= rotate(a * c1, 31) * c2;
    digest[0] = (rotate(digest[0], 27) + digest[1]) * 5 + 0x52dce729;
    digest[1] ^= rotate(b * c2, 33) * c1;
    digest[1] = (rotate(digest[1], 31) + digest[0]) * 5 + 0x38495ab5;
}

static uint32_t *bucket_of(const struct qcow2_writer *w, const uint64_t digest[2])
{
    uint64_t hash = (digest[0] ^ digest[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    return &w->buckets[hash & (w->nb_buckets - 1)];
}

static void link_table(struct qcow2_writer *w, uint32_t id)
{
    struct writer_table *table = &w->tables[id - 1];
    uint32_t *head = bucket_of(w, table->digest);

    table->next = *head;
    *head = id;
}

/* Room for one table more, and as many buckets as there is room for tables. */
static int grow(struct qcow2_writer *w, struct error *err)
{
    uint32_t room = w->tables_room ? w->tables_room * 2 : TABLES_MIN_ROOM;
    struct writer_table *tables = NULL;
    uint32_t *buckets = NULL;

    if (w->nb_tables < w->tables_room)
        return 0;
    tables = reallocarray(w->tables, room, sizeof *tables);
    if (tables == NULL)
        return error_no_memory(err);
    w->tables = tables;
    w->tables_room = room;
    if (w->nb_views == 1)
        return 0;
    buckets = calloc(room, sizeof *buckets);
    if (buckets == NULL)
        return error_no_memory(err);
    free(w->buckets);
    w->buckets = buckets;
    w->nb_buckets = room;
    for (uint32_t id = 1; id <= w->nb_tables; id++)
        link_table(w, id);
    return 0;
}

int writer_table_add(struct qcow2_writer *w, uint32_t view, uint64_t index, struct error *err)
{
    int rc;

    if ((rc = grow(w, err)) < 0)
        return rc;
    w->tables[w->nb_tables++] = (struct writer_table){
        .digest = {w->views[view].digest[0], w->views[view].digest[1]},
        .views = 1,
        .owner = view,
        .active = view == 0,
    };
    w->views[view].l1[index] = w->nb_tables;
    if (w->nb_views > 1)
        link_table(w, w->nb_tables);
    return 0;
}

int writer_table_place(struct qcow2_writer *w, uint32_t id, struct error *err)
{
    struct writer_table *table = &w->tables[id - 1];
    uint64_t host;
    int rc;

    if ((rc = writer_place_metadata(w, 1, &host, err)) < 0)
        return error_wrap(err, "L2 table");
    table->cluster = (uint32_t)(host >> w->header.cluster_bits);
    return writer_count(w, host, w->cluster_size, table->views - 1, err);
}

/* Whether a table like that which passed by is there already; then ${view} uses it, too. */
static bool share(struct qcow2_writer *w, uint32_t view)
{
    struct writer_view *v = &w->views[view];

    if (w->nb_buckets == 0)
        return false;
    for (uint32_t id = *bucket_of(w, v->digest); id != 0; id = w->tables[id - 1].next) {
        struct writer_table *table = &w->tables[id - 1];

        if (memcmp(table->digest, v->digest, sizeof table->digest) != 0 ||
            table->views >= w->counts.max)
            continue;
        table->views++;
        table->active |= view == 0;
        v->l1[v->index] = id;
        return true;
    }
    return false;
}

static int claim_streams(struct qcow2_writer *w, const struct span_list *list, struct error *err)
{
    int rc;

    for (size_t i = 0; i < list->n; i++) {
        const struct span *s = &list->items[i];

        if ((rc = spans_claim(&w->streams, s->start, s->end - s->start, err)) < 0)
            return rc;
    }
    return 0;
}

int writer_table_end(struct qcow2_writer *w, uint32_t view, struct error *err)
{
    struct writer_view *v = &w->views[view];
    uint64_t index = v->index;
    int rc = 0;

    if (index == UINT64_MAX)
        return 0;
    if (w->placed) {
        const struct writer_table *table = &w->tables[v->l1[index] - 1];

        if (memcmp(table->digest, v->digest, sizeof v->digest) != 0)
            rc = writer_wrong_order(w, "a region has other entries than were reserved", err);
    } else if (!share(w, view)) {
        rc = writer_table_add(w, view, index, err);
        if (rc == 0)
            rc = claim_streams(w, &v->streams, err);
    }
    free(v->streams.items);
    v->streams = (struct span_list){0};
    v->index = UINT64_MAX;
    return rc;
}

int writer_table_pass(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                      const struct qcow2_entry *entry, struct error *err)
{
    struct writer_view *v = &w->views[view];
    uint64_t index = cluster / w->table_entries;
    uint64_t at = cluster % w->table_entries;
    int rc;

    if (index != v->index) {
        if ((rc = writer_table_end(w, view, err)) < 0)
            return rc;
        v->index = index;
        v->digest[0] = index;
        v->digest[1] = 0;
    }
    digest_add(v->digest, at << 40 | (uint64_t)entry->class << 32 | entry->length, entry->host);
    if (w->extended)
        digest_add(v->digest, entry->sub_alloc, entry->sub_zero);
    return 0;
}

struct writer_table *writer_table_of(const struct qcow2_writer *w, uint32_t view, uint64_t cluster)
{
    return &w->tables[w->views[view].l1[cluster / w->table_entries] - 1];
}

/* The first time all of it: a device may hold anything there. */
int writer_table_flush(struct qcow2_writer *w, struct error *err)
{
    struct writer_buffer *b = &w->buffer;
    size_t size = qcow2_entry_size(&w->header);
    struct writer_table *table = NULL;
    uint64_t offset;

    if (b->table == 0)
        return 0;
    table = &w->tables[b->table - 1];
    b->table = 0;
    offset = (uint64_t)table->cluster << w->header.cluster_bits;
    if (!table->touched) {
        table->touched = true;
        return writer_write(w, offset, b->buf, w->cluster_size, err);
    }
    return writer_write(w, offset + b->from * size, b->buf + b->from * size,
                        (b->to - b->from) * size, err);
}

int writer_table_put(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                     const struct qcow2_entry *entry, struct error *err)
{
    struct writer_buffer *b = &w->buffer;
    uint32_t id = w->views[view].l1[cluster / w->table_entries];
    uint64_t at = cluster % w->table_entries;
    bool copied =
        w->tables[id - 1].active &&
        (w->external || refcounts_get(&w->counts, entry->host >> w->header.cluster_bits) == 1);
    int rc;

    if (id != b->table) {
        if ((rc = writer_table_flush(w, err)) < 0)
            return rc;
        memset(b->buf, 0, w->cluster_size);
        b->table = id;
        b->from = at;
    }
    b->to = at + 1;
    rc = qcow2_entry_encode(b->buf + at * qcow2_entry_size(&w->header), &w->header, entry, copied,
                            err);
    return rc < 0 ? error_wrap(err, "%s: guest cluster %" PRIu64, w->target.name, cluster) : 0;
}

void writer_tables_clear(struct qcow2_writer *w)
{
    for (uint32_t i = 0; w->views != NULL && i < w->nb_views; i++) {
        free(w->views[i].l1);
        free(w->views[i].streams.items);
    }
    free(w->views);
    free(w->tables);
    free(w->buckets);
    free(w->buffer.buf);
}
