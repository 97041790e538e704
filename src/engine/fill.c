/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a worker of the store reads of a source for a region: plain bytes where
 * they lie, compressed clusters by decoding them. Which of them are wanted, the
 * store knows.
 */
#include "engine/fill.h"

#include <stdlib.h>
#include <string.h>

#include "qcow2/codec.h"

struct stream {
    uint32_t offset; /* of the cluster, in the region */
    struct qcow2_entry entry;
};

struct fill {
    struct reads reads;
    const uint8_t *data; /* the region's */
    const struct qcow2_image *image;
    struct stream *streams;
    size_t stream_count;
    size_t stream_room;
    struct qcow2_codec *codec;
    uint8_t *cluster; /* as decoded: */
    size_t decoded;   /* this stream; stream_count: none */
};

int fill_new(struct fill **out, const struct cs_region *region, struct reads *reads,
             struct error *err)
{
    struct fill *f = calloc(1, sizeof *f);
    *out = f;
    if (f == NULL)
        return error_no_memory(err);
    f->reads = *reads;
    f->data = region->data;
    *reads = (struct reads){0};
    return 0;
}

int fill_add_stream(struct fill *f, const struct qcow2_image *image, uint32_t offset,
                    const struct qcow2_entry *entry, struct error *err)
{
    if (f->stream_count == f->stream_room) {
        size_t room = f->stream_room > 0 ? 2 * f->stream_room : 16;
        struct stream *streams = reallocarray(f->streams, room, sizeof *streams);
        if (streams == NULL)
            return error_no_memory(err);
        f->streams = streams;
        f->stream_room = room;
    }
    f->image = image;
    f->streams[f->stream_count++] = (struct stream){.offset = offset, .entry = *entry};
    return 0;
}

void fill_cancel(struct fill *f)
{
    if (f == NULL)
        return;
    reads_drop(&f->reads);
    reads_clear(&f->reads);
    qcow2_codec_free(f->codec);
    free(f->streams);
    free(f->cluster);
    free(f);
}

/* Has stream ${i} decoded. */
static int decode(struct fill *f, size_t i, struct error *err)
{
    if (f->cluster != NULL && f->decoded == i)
        return 0;
    if (f->cluster == NULL) {
        f->cluster = malloc(qcow2_image_cluster_size(f->image));
        if (f->cluster == NULL)
            return error_no_memory(err);
    }
    f->decoded = f->stream_count;
    int rc = qcow2_image_read_stream(f->image, &f->reads, &f->codec, &f->streams[i].entry,
                                     f->cluster, err);
    if (rc == 0)
        f->decoded = i;
    return rc;
}

/* The first stream whose cluster does not end before ${offset}. */
static size_t find(const struct fill *f, uint32_t offset)
{
    size_t low = 0, high = f->stream_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (f->streams[mid].offset + qcow2_image_cluster_size(f->image) <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int bring(struct fill *f, uint32_t offset, uint32_t length, uint8_t *to, struct error *err)
{
    uint32_t end = offset + length;
    size_t i = f->stream_count > 0 ? find(f, offset) : 0;
    int rc = 0;
    for (uint32_t stop; rc == 0 && offset < end; to += stop - offset, offset = stop) {
        uint32_t begin = i < f->stream_count ? f->streams[i].offset : end;
        if (begin > offset) {
            stop = begin < end ? begin : end;
            rc = reads_bring(&f->reads, f->data + offset, stop - offset, to, err);
            continue;
        }
        stop = begin + (uint32_t)qcow2_image_cluster_size(f->image);
        if (stop > end)
            stop = end;
        rc = decode(f, i++, err);
        if (rc == 0)
            memcpy(to, f->cluster + (offset - begin), stop - offset);
    }
    return rc;
}

static int fill_read(void *arg, uint32_t offset, uint32_t length, uint8_t *to, struct cs_error *ce)
{
    struct error e = {0};
    int rc = bring(arg, offset, length, to, &e);
    return rc < 0 ? cs_fail(ce, rc == ERROR_NO_MEMORY ? CS_NO_MEMORY : CS_IO, "%s", e.message) : 0;
}

static void fill_done(void *arg)
{
    fill_cancel(arg);
}

void fill_later(struct fill **fill, struct cs_region *region)
{
    if ((*fill)->reads.count == 0 && (*fill)->stream_count == 0) {
        fill_cancel(*fill);
        *fill = NULL;
        return;
    }
    region->read = fill_read;
    region->done = fill_done;
    region->read_arg = *fill;
}
