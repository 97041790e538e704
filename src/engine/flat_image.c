/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An image's layers as the one disk that the guest sees: for each region, the
 * top layer's runs first, and what they leave open from the layer below.
 */
#include "engine/flat_image.h"

#include <stdlib.h>
#include <string.h>

struct span { /* of a region, bytes */
    uint32_t begin, end;
};

struct spans {
    struct span *at;
    size_t count;
    size_t room;
};

struct flat_image {
    struct layer_view **views; /* the top first */
    size_t count;
    uint32_t region_size;
    uint64_t size;     /* virtual, bytes */
    struct spans open; /* what no layer has answered yet */
    struct spans next;
    struct flat_piece *pieces; /* what layers have answered */
    size_t piece_count;
    size_t piece_room;
};

int flat_open(struct flat_image **out, struct cs_store *store, const struct record_archive *archive,
              const struct record_image *image, size_t view, struct error *err)
{
    struct flat_image *f = calloc(1, sizeof *f);
    if (f == NULL)
        return error_no_memory(err);
    int rc = 0;
    f->region_size = cs_region_size(store);
    f->views = calloc(image->layer_count, sizeof *f->views);
    if (f->views == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < image->layer_count; i++) {
        const struct record_layer *layer = &archive->layers[image->layers[i]];
        rc = layer_view_open(&f->views[i], store, layer, i == 0 ? view : 0, err);
        if (rc < 0)
            break;
        f->count = i + 1;
        if (i == 0)
            f->size = view > 0 ? layer->qcow2.snapshots[view - 1].disk_size / 512 * 512
                               : layer->virtual_size;
    }
    if (rc < 0) {
        flat_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

void flat_close(struct flat_image *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->count; i++)
        layer_view_close(f->views[i]);
    free(f->views);
    free(f->open.at);
    free(f->next.at);
    free(f->pieces);
    free(f);
}

const struct record_layer *flat_top(const struct flat_image *f)
{
    return layer_view_layer(f->views[0]);
}

uint64_t flat_size(const struct flat_image *f)
{
    return f->size;
}

size_t flat_layer_count(const struct flat_image *f)
{
    return f->count;
}

struct layer_view *flat_layer(const struct flat_image *f, size_t i)
{
    return f->views[i];
}

uint64_t flat_layer_size(const struct flat_image *f, size_t i)
{
    return i == 0 ? f->size : layer_view_layer(f->views[i])->virtual_size;
}

int flat_next(struct flat_image *f, uint64_t from, uint64_t *region, bool *found, struct error *err)
{
    *found = false;
    for (size_t i = 0; i < f->count; i++) {
        uint64_t one = 0;
        bool any = false;
        int rc = layer_view_next(f->views[i], from, &one, &any, err);
        if (rc < 0)
            return rc;
        if (any && (!*found || one < *region))
            *region = one;
        *found |= any;
    }
    if (*found && *region >= (f->size + f->region_size - 1) / f->region_size)
        *found = false; /* VM state and the like lie behind the disk */
    return 0;
}

static int add_span(struct spans *s, uint32_t begin, uint32_t end, struct error *err)
{
    if (begin >= end)
        return 0;
    if (s->count == s->room) {
        size_t room = s->room > 0 ? s->room * 2 : 64;
        struct span *at = reallocarray(s->at, room, sizeof *at);
        if (at == NULL)
            return error_no_memory(err);
        s->at = at;
        s->room = room;
    }
    s->at[s->count++] = (struct span){begin, end};
    return 0;
}

/* The bytes of a region that lie before ${size}. */
static uint32_t cut_at(const struct flat_image *f, uint64_t region, uint64_t size)
{
    uint64_t base = region * f->region_size;
    if (size <= base)
        return 0;
    return size - base < f->region_size ? (uint32_t)(size - base) : f->region_size;
}

static void mark_compressed(const struct qcow2_entry *entries, size_t n, unsigned layer_bits,
                            const struct span *span, bool *compressed, unsigned bits)
{
    for (uint32_t at = span->begin; n > 0 && at < span->end;) {
        size_t entry = at >> layer_bits;
        uint32_t end = (uint32_t)(entry + 1) << layer_bits;
        if (end > span->end)
            end = span->end;
        if (entries[entry].class == QCOW2_COMPRESSED)
            for (size_t c = at >> bits; c <= (end - 1) >> bits; c++)
                compressed[c] = true;
        at = end;
    }
}

static int add_piece(struct flat_image *f, const struct flat_piece *piece, struct error *err)
{
    if (f->piece_count == f->piece_room) {
        size_t room = f->piece_room > 0 ? f->piece_room * 2 : 64;
        struct flat_piece *pieces = reallocarray(f->pieces, room, sizeof *pieces);
        if (pieces == NULL)
            return error_no_memory(err);
        f->pieces = pieces;
        f->piece_room = room;
    }
    f->pieces[f->piece_count++] = *piece;
    return 0;
}

/* What one layer answers of the open spans; the rest is open for the layer below. */
static int merge_layer(struct flat_image *f, size_t which, uint64_t region, struct error *err)
{
    const struct cs_run *runs = NULL;
    size_t run_count = 0, at = 0;
    uint32_t end = cut_at(f, region, flat_layer_size(f, which));
    int rc = layer_view_runs(f->views[which], region, &runs, &run_count, err);
    f->next.count = 0;
    for (size_t i = 0; rc == 0 && i < f->open.count; i++) {
        struct span open = f->open.at[i];
        if (open.end > end) /* past the end of a layer there are zeros, whatever lies below */
            open.end = end;
        while (at > 0 && (at == run_count || runs[at].offset > open.begin))
            at--;
        for (; rc == 0 && at < run_count && runs[at].offset < open.end; at++) {
            uint32_t run_end = runs[at].offset + runs[at].length;
            struct flat_piece both = {
                .begin = runs[at].offset > open.begin ? runs[at].offset : open.begin,
                .end = run_end < open.end ? run_end : open.end,
                .layer = which,
                .zero = runs[at].zero,
            };
            if (both.begin >= both.end)
                continue;
            rc = add_piece(f, &both, err);
            if (rc == 0)
                rc = add_span(&f->next, open.begin, both.begin, err);
            open.begin = both.end;
        }
        if (rc == 0)
            rc = add_span(&f->next, open.begin, open.end, err);
    }
    struct spans swap = f->open;
    f->open = f->next;
    f->next = swap;
    return rc;
}

int flat_pieces(struct flat_image *f, uint64_t region, const struct flat_piece **pieces,
                size_t *count, struct error *err)
{
    f->open.count = 0;
    f->piece_count = 0;
    int rc = add_span(&f->open, 0, cut_at(f, region, f->size), err);
    for (size_t i = 0; rc == 0 && i < f->count && f->open.count > 0; i++)
        rc = merge_layer(f, i, region, err);
    *pieces = f->pieces;
    *count = f->piece_count;
    return rc;
}

int flat_describe(struct flat_image *f, uint64_t region, struct scatter *scatter, uint64_t base,
                  bool *compressed, unsigned cluster_bits, struct error *err)
{
    const struct flat_piece *pieces = NULL;
    const struct qcow2_entry *entries = NULL;
    size_t count = 0, entry_count = 0, at_hand = SIZE_MAX; /* the layer that is being described */
    if (compressed != NULL)
        memset(compressed, 0, (f->region_size >> cluster_bits) * sizeof *compressed);
    int rc = flat_pieces(f, region, &pieces, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct layer_view *view = f->views[pieces[i].layer];
        const struct record_layer *layer = layer_view_layer(view);
        struct span span = {pieces[i].begin, pieces[i].end};
        if (pieces[i].zero)
            continue;
        if (at_hand != pieces[i].layer) {
            if (at_hand != SIZE_MAX)
                rc = scatter_end(scatter, err);
            at_hand = pieces[i].layer;
            entry_count = 0;
            scatter_begin(scatter, layer_view_content(view));
            if (rc == 0 && compressed != NULL && layer->is_qcow2)
                rc = layer_view_entries(view, region, &entries, &entry_count, err);
        }
        if (rc == 0)
            rc = scatter_put(scatter, span.begin, span.end - span.begin, base + span.begin, err);
        if (rc == 0 && compressed != NULL)
            mark_compressed(entries, entry_count, layer->qcow2.cluster_bits, &span, compressed,
                            cluster_bits);
    }
    return rc == 0 && at_hand != SIZE_MAX ? scatter_end(scatter, err) : rc;
}
