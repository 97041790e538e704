/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The difference of two disks as a qcow2. Ranges come in ascending order while
 * the trees are compared; the clusters that they touch are collected for one
 * region, and this is read and written when the first of another comes.
 */
#include "engine/export_overlay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "engine/scatter.h"
#include "qcow2/writer.h"

struct overlay {
    struct exporter *e;
    const struct manifest_file *file;
    struct flat_image *flat; /* the disk as it is now */
    struct qcow2_writer *writer;
    struct scatter *reader; /* to buf */
    uint8_t *buf;           /* a region */
    uint32_t region_size;
    unsigned bits; /* of a cluster */
    size_t per_region;
    struct qcow2_entry *entries; /* of the region at hand, as the next two */
    bool *compressed;            /* was so where it was backed up */
    bool *differs;
    bool any;
    uint64_t region;
    uint64_t old_size; /* bytes */
    uint64_t compared; /* bytes that progress was told of */
    int rc;            /* of what ranges led to, with its error */
    struct error err;
};

static int on_read(void *arg, uint64_t bytes, struct error *err)
{
    struct overlay *o = arg;
    (void)bytes;
    return restore_step(&o->e->r, o->file->name, 0, err);
}

/* The region at hand into buf; ${*empty}: it is zeros, and buf is left alone. */
static int read_region(struct overlay *o, bool *empty, struct error *err)
{
    uint64_t before = scatter_put_bytes(o->reader);
    int rc = flat_describe(o->flat, o->region, o->reader, 0, o->compressed, o->bits, err);
    *empty = scatter_put_bytes(o->reader) == before;
    if (rc < 0 || *empty)
        return rc;
    memset(o->buf, 0, o->region_size);
    return scatter_flush(o->reader, err);
}

static int flush(struct overlay *o, struct error *err)
{
    uint64_t first = o->region * o->per_region;
    uint64_t clusters = (flat_size(o->flat) + ((uint64_t)1 << o->bits) - 1) >> o->bits;
    size_t n = clusters - first < o->per_region ? (size_t)(clusters - first) : o->per_region;
    size_t size = (size_t)1 << o->bits;
    bool empty = false;
    if (!o->any)
        return 0;
    o->any = false;
    int rc = read_region(o, &empty, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        o->entries[i] = (struct qcow2_entry){.class = QCOW2_UNALLOCATED};
        if (!o->differs[i])
            continue;
        if (!empty && !io_is_zero(o->buf + i * size, size))
            o->entries[i].class = o->compressed[i] ? QCOW2_COMPRESSED : QCOW2_DATA;
        else if ((first + i) * size < o->old_size)
            o->entries[i].class = QCOW2_ZERO;
    }
    if (rc == 0)
        rc = qcow2_writer_region(o->writer, 0, first, o->entries, n, o->buf, err);
    memset(o->differs, 0, o->per_region * sizeof *o->differs);
    return rc == 0 ? restore_step(&o->e->r, o->file->name, 0, err) : rc;
}

static int add_range(struct overlay *o, uint64_t offset, uint64_t length)
{
    uint64_t clusters = (flat_size(o->flat) + ((uint64_t)1 << o->bits) - 1) >> o->bits;
    uint64_t first = offset >> o->bits, end = ((offset + length - 1) >> o->bits) + 1;
    if (end > clusters) /* the disk was longer */
        end = clusters;
    int rc = 0;
    for (uint64_t c = first; rc == 0 && c < end; c++) {
        if (c / o->per_region != o->region) {
            rc = flush(o, &o->err);
            o->region = c / o->per_region;
        }
        o->differs[c % o->per_region] = true;
        o->any = true;
    }
    return rc;
}

static bool on_range(void *arg, const struct engine_diff_image *image, uint64_t offset,
                     uint64_t length, enum engine_diff_kind kind)
{
    struct overlay *o = arg;
    (void)image;
    (void)kind;
    o->rc = add_range(o, offset, length);
    return o->rc == 0;
}

static void on_compared(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct overlay *o = arg;
    (void)total;
    if (done > o->compared)
        (void)restore_step(&o->e->r, what, done - o->compared, NULL);
    o->compared = done;
}

static int begin(struct overlay *o, const struct target *spool, struct error *err)
{
    struct qcow2_header header;
    const struct qcow2_target target = {.fd = spool->fd, .name = spool->path};
    const struct scatter_target memory = {.memory = o->buf, .progress = on_read, .arg = o};
    if (strlen(o->file->backing_file) > QCOW2_MAX_BACKING_NAME)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: the name of its backing file has more than %d bytes", o->file->name,
                         QCOW2_MAX_BACKING_NAME);
    restore_flat_header(o->flat, &header);
    if (header.version < 3) { /* which knows no zero clusters */
        header.version = 3;
        header.header_length = 112;
    }
    snprintf(header.backing_file, sizeof header.backing_file, "%s", o->file->backing_file);
    snprintf(header.backing_format, sizeof header.backing_format, "%s", o->file->backing_format);
    int rc = scatter_new(&o->reader, o->e->r.fetch, &memory, err);
    return rc == 0 ? qcow2_writer_begin_compact(&o->writer, &target, &header, err) : rc;
}

static int allocate(struct overlay *o, struct error *err)
{
    struct qcow2_header header;
    restore_flat_header(o->flat, &header);
    o->bits = header.cluster_bits;
    o->region_size = cs_region_size(o->e->r.store);
    o->per_region = o->region_size >> o->bits;
    o->buf = calloc(1, o->region_size);
    o->entries = calloc(o->per_region, sizeof *o->entries);
    o->compressed = calloc(o->per_region, sizeof *o->compressed);
    o->differs = calloc(o->per_region, sizeof *o->differs);
    return o->buf == NULL || o->entries == NULL || o->compressed == NULL || o->differs == NULL
               ? error_no_memory(err)
               : 0;
}

static int compare(struct overlay *o, const struct record_archive *old,
                   const struct diff_pair *pair, struct error *err)
{
    struct engine_diff_image image;
    const struct engine_diff_options options = {
        .range = on_range,
        .arg = o,
        .listener = {.progress = on_compared, .arg = o, .cancel = o->e->options->listener.cancel},
    };
    int rc = diff_images(o->e->r.store, old, &o->e->r.archive, pair, &options, &image, err);
    if (o->rc < 0) { /* that is why it was stopped */
        *err = o->err;
        return o->rc;
    }
    return rc == 0 ? flush(o, err) : rc;
}

int export_overlay(struct exporter *e, const struct record_archive *old,
                   const struct diff_pair *pair, const struct manifest_file *file,
                   const struct target *spool, struct error *err)
{
    struct overlay o = {
        .e = e,
        .file = file,
        .old_size = old->layers[pair->a->layers[0]].virtual_size,
    };
    int rc = flat_open(&o.flat, e->r.store, &e->r.archive, pair->b, 0, err);
    if (rc == 0)
        rc = allocate(&o, err);
    if (rc == 0)
        rc = begin(&o, spool, err);
    if (rc == 0)
        rc = compare(&o, old, pair, err);
    if (rc == 0)
        rc = qcow2_writer_finish(o.writer, NULL, err);
    qcow2_writer_free(o.writer);
    scatter_free(o.reader);
    flat_close(o.flat);
    free(o.buf);
    free(o.entries);
    free(o.compressed);
    free(o.differs);
    return rc;
}

int export_whole(struct exporter *e, const struct record_image *image, const struct target *spool,
                 struct error *err)
{
    struct flat_image *flat = NULL;
    uint64_t written = 0;
    int rc = flat_open(&flat, e->r.store, &e->r.archive, image, 0, err);
    if (rc == 0)
        rc = restore_flat_qcow2(&e->r, flat, spool, &written, err);
    flat_close(flat);
    return rc;
}
