/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Few and large writes from many parts. Which bytes go where is not known
 * here, nor when they have to be durable.
 */
#include "engine/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/io.h"

enum {
    HOLE = 4096,            /* bytes; what file systems can leave out, at a multiple of it */
    DIRECT = 64 << 10,      /* bytes worth to be waited for instead of copied */
    WRITE_BACK = 128 << 10, /* bytes worth to be written back at once */
};

static int compare_parts(const void *a, const void *b)
{
    const struct gather_part *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Parts that lie end to end in the file, to ${fd}. */
static int write_parts(const struct gather_file *file, int fd, const struct gather_part *parts,
                       size_t n, struct error *err)
{
    struct iovec iov[GATHER_PARTS];
    for (size_t i = 0; i < n; i++)
        iov[i] = (struct iovec){.iov_base = (void *)parts[i].data, .iov_len = parts[i].len};
    return io_writev(fd, file->name, parts[0].offset, iov, n, err);
}

static int write_group(const struct gather_file *file, const struct gather_part *parts, size_t n,
                       struct error *err)
{
    size_t len = 0;
    bool aligned = true;
    for (size_t i = 0; i < n; i++) {
        len += parts[i].len;
        aligned = aligned && parts[i].offset % IO_DIRECT_ALIGN == 0 &&
                  (uintptr_t)parts[i].data % IO_DIRECT_ALIGN == 0 &&
                  parts[i].len % IO_DIRECT_ALIGN == 0;
    }
    if (file->direct_fd >= 0 && aligned && len >= DIRECT) {
        struct error refused;
        int rc = write_parts(file, file->direct_fd, parts, n, &refused);
        if (rc < 0 && refused.sys != EINVAL && err != NULL)
            *err = refused;
        if (rc == 0 || refused.sys != EINVAL)
            return rc;
    }
    int rc = write_parts(file, file->fd, parts, n, err);
    /* so that the flush at the end, when nobody has work, finds little to do; it tells errors */
    if (rc == 0 && len >= WRITE_BACK)
        sync_file_range(file->fd, (off_t)parts[0].offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
    return rc;
}

int gather_flush(struct gather *g, struct error *err)
{
    int rc = 0;
    qsort(g->parts, g->count, sizeof *g->parts, compare_parts);
    for (size_t first = 0, next; rc == 0 && first < g->count; first = next) {
        next = first + 1;
        while (next < g->count &&
               g->parts[next].offset == g->parts[next - 1].offset + g->parts[next - 1].len)
            next++;
        rc = write_group(g->file, g->parts + first, next - first, err);
    }
    g->count = 0;
    return rc;
}

static int add(struct gather *g, uint64_t offset, const uint8_t *data, size_t len,
               struct error *err)
{
    struct gather_part *last = g->count > 0 ? &g->parts[g->count - 1] : NULL;
    int rc = 0;
    g->written += len;
    if (last != NULL && last->offset + last->len == offset && last->data + last->len == data) {
        last->len += len;
        return 0;
    }
    if (g->count == GATHER_PARTS)
        rc = gather_flush(g, err);
    if (rc == 0)
        g->parts[g->count++] = (struct gather_part){.offset = offset, .data = data, .len = len};
    return rc;
}

int gather_add(struct gather *g, uint64_t offset, const uint8_t *data, size_t len,
               struct error *err)
{
    size_t start = 0, at = 0; /* what is in between is not added yet */
    int rc = 0;
    while (rc == 0 && g->file->holes && at < len) {
        size_t n = HOLE - (offset + at) % HOLE;
        if (n == HOLE && len - at >= n && io_is_zero(data + at, n)) {
            if (at > start)
                rc = add(g, offset + start, data + start, at - start, err);
            start = at + n;
        }
        at += n;
    }
    return rc == 0 && len > start ? add(g, offset + start, data + start, len - start, err) : rc;
}
