/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host side of what is written: taking and counting of clusters, bytes and
 * holes, sizes and syncs. What goes where is decided elsewhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/io.h"
#include "qcow2/writer_internal.h"

enum { HOLE_SIZE = 4096 }; /* bytes; what file systems can leave out, at a multiple of it */

uint64_t writer_clusters(const struct qcow2_writer *w, uint64_t bytes)
{
    return bytes / w->cluster_size + (bytes % w->cluster_size != 0);
}

int writer_append_cluster(struct qcow2_writer *w, uint32_t n, uint64_t *host, struct error *err)
{
    uint64_t cluster;
    int rc;

    if ((rc = hostmap_append(&w->map, 1, HOSTMAP_FIXED, &cluster, err)) < 0)
        return error_wrap(err, "%s", w->target.name);
    *host = cluster << w->header.cluster_bits;
    return writer_count(w, *host, w->cluster_size, n, err);
}

int writer_place_metadata(struct qcow2_writer *w, uint64_t clusters, uint64_t *host,
                          struct error *err)
{
    uint64_t first;
    int rc;

    if ((rc = hostmap_fill(&w->map, clusters, &first, err)) < 0)
        return error_wrap(err, "%s", w->target.name);
    *host = first << w->header.cluster_bits;
    return writer_count(w, *host, clusters << w->header.cluster_bits, 1, err);
}

int writer_count(struct qcow2_writer *w, uint64_t host, uint64_t len, uint32_t n, struct error *err)
{
    uint32_t bits = w->header.cluster_bits;
    int rc;

    if (n == 0)
        return 0;
    for (uint64_t c = host >> bits; c <= (host + len - 1) >> bits; c++)
        if ((rc = refcounts_add(&w->counts, c, n, err)) < 0)
            return error_wrap(err, "%s", w->target.name);
    return 0;
}

bool writer_countable(const struct qcow2_writer *w, uint64_t host, uint64_t len, uint64_t n)
{
    uint32_t bits = w->header.cluster_bits;

    for (uint64_t c = host >> bits; c <= (host + len - 1) >> bits; c++)
        if (n > w->counts.max - refcounts_get(&w->counts, c))
            return false;
    return true;
}

int writer_write(struct qcow2_writer *w, uint64_t offset, const void *buf, size_t len,
                 struct error *err)
{
    int rc = io_write(w->target.fd, w->target.name, offset, buf, len, err);

    if (rc == 0)
        w->report.bytes_written += len;
    return rc;
}

static int write_bytes(struct qcow2_writer *w, uint64_t host, const uint8_t *data, size_t len,
                       struct error *err)
{
    int rc;

    if (!w->external)
        return writer_write(w, host, data, len, err);
    rc = io_write(w->target.data_fd, w->target.data_name, host, data, len, err);
    if (rc == 0)
        w->report.bytes_written += len;
    return rc;
}

/* A device may hold anything, so it gets the zeros, too. */
int writer_write_data(struct qcow2_writer *w, uint64_t host, const uint8_t *data, size_t len,
                      struct error *err)
{
    bool device = w->external ? w->target.data_is_device : w->target.is_device;
    size_t start = 0, at = 0; /* what is in between is not written yet */
    int rc;

    if (w->external && len > w->data_size - host)
        len = (size_t)(w->data_size - host);
    while (at < len && !device) {
        size_t n = HOLE_SIZE - (host + at) % HOLE_SIZE;

        if (n == HOLE_SIZE && len - at >= n && io_is_zero(data + at, n)) {
            if (at > start &&
                (rc = write_bytes(w, host + start, data + start, at - start, err)) < 0)
                return rc;
            start = at + n;
        }
        at += n;
    }
    return len > start ? write_bytes(w, host + start, data + start, len - start, err) : 0;
}

static int check_device(int fd, const char *name, uint64_t need, struct error *err)
{
    off_t have = lseek(fd, 0, SEEK_END);

    if (have < 0)
        return error_sys(err, errno, "%s: cannot find its size", name);
    if ((uint64_t)have < need)
        return error_set(err, ERROR_NO_SPACE,
                         "%s: %" PRIu64 " bytes are needed, but it has only %" PRIu64, name, need,
                         (uint64_t)have);
    return 0;
}

int writer_check_space(const struct qcow2_writer *w, struct error *err)
{
    const struct qcow2_target *t = &w->target;
    int rc;

    if (t->is_device &&
        (rc = check_device(t->fd, t->name, w->map.end << w->header.cluster_bits, err)) < 0)
        return rc;
    if (w->external && t->data_is_device)
        return check_device(t->data_fd, t->data_name, w->data_size, err);
    return 0;
}

static int set_size(int fd, const char *name, uint64_t size, struct error *err)
{
    if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0)
        return error_sys(err, size > INT64_MAX ? EFBIG : errno,
                         "%s: cannot extend to %" PRIu64 " bytes", name, size);
    return 0;
}

int writer_set_sizes(struct qcow2_writer *w, struct error *err)
{
    const struct qcow2_target *t = &w->target;
    int rc;

    if ((rc = writer_check_space(w, err)) < 0)
        return rc;
    w->report.file_size = w->map.end << w->header.cluster_bits;
    if (!t->is_device && (rc = set_size(t->fd, t->name, w->report.file_size, err)) < 0)
        return rc;
    if (w->external && !t->data_is_device)
        return set_size(t->data_fd, t->data_name, w->data_size, err);
    return 0;
}

int writer_sync(struct qcow2_writer *w, struct error *err)
{
    if (w->external && fsync(w->target.data_fd) < 0)
        return error_sys(err, errno, "%s: cannot sync", w->target.data_name);
    if (fsync(w->target.fd) < 0)
        return error_sys(err, errno, "%s: cannot sync", w->target.name);
    return 0;
}
