/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Positioned reads and writes that finish what they begin, and the test for
 * zeros. Owns no descriptor, keeps no position.
 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Linux moves at most 0x7ffff000 bytes a call; a round number below that. */
#define MAX_TRANSFER ((size_t)1 << 30)

static int check_range(const char *name, uint64_t offset, size_t len, struct error *err)
{
    uint64_t end;

    if (__builtin_add_overflow(offset, len, &end) || end > INT64_MAX)
        return error_set(err, ERROR_CORRUPT, "%s: offset %" PRIu64 " is beyond any file", name,
                         offset);
    return 0;
}

int io_read_some(int fd, const char *name, uint64_t offset, void *buf, size_t len, size_t *got,
                 struct error *err)
{
    size_t done = 0;
    int rc;

    *got = 0;
    if ((rc = check_range(name, offset, len, err)) < 0)
        return rc;
    while (done < len) {
        size_t want = len - done < MAX_TRANSFER ? len - done : MAX_TRANSFER;
        ssize_t n = pread(fd, (uint8_t *)buf + done, want, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_sys(err, errno, "%s: cannot read %zu bytes at %" PRIu64, name, want,
                             offset + done);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return 0;
}

int io_read(int fd, const char *name, uint64_t offset, void *buf, size_t len, struct error *err)
{
    size_t got;
    int rc;

    if ((rc = io_read_some(fd, name, offset, buf, len, &got, err)) < 0)
        return rc;
    if (got < len)
        return error_set(err, ERROR_CORRUPT,
                         "%s: ends at %" PRIu64 ", within the %zu bytes at %" PRIu64, name,
                         offset + got, len, offset);
    return 0;
}

int io_write(int fd, const char *name, uint64_t offset, const void *buf, size_t len,
             struct error *err)
{
    size_t done = 0;
    int rc;

    if ((rc = check_range(name, offset, len, err)) < 0)
        return rc;
    while (done < len) {
        size_t want = len - done < MAX_TRANSFER ? len - done : MAX_TRANSFER;
        ssize_t n = pwrite(fd, (const uint8_t *)buf + done, want, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_sys(err, errno, "%s: cannot write %zu bytes at %" PRIu64, name, want,
                             offset + done);
        if (n == 0) /* a device that is full answers so */
            return error_sys(err, ENOSPC, "%s: cannot write %zu bytes at %" PRIu64, name, want,
                             offset + done);
        done += (size_t)n;
    }
    return 0;
}

int io_writev(int fd, const char *name, uint64_t offset, struct iovec *iov, size_t n,
              struct error *err)
{
    size_t left = 0;
    int rc;

    for (size_t i = 0; i < n; i++)
        left += iov[i].iov_len;
    if ((rc = check_range(name, offset, left, err)) < 0)
        return rc;
    while (left > 0) {
        ssize_t done = pwritev(fd, iov, n < IOV_MAX ? (int)n : IOV_MAX, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) /* a device that is full answers 0 */
            return error_sys(err, done < 0 ? errno : ENOSPC,
                             "%s: cannot write %zu bytes at %" PRIu64, name, left, offset);
        offset += (uint64_t)done;
        left -= (size_t)done;
        for (; n > 0 && (size_t)done >= iov->iov_len; iov++, n--)
            done -= (ssize_t)iov->iov_len;
        if (done > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

int io_open_direct(int fd)
{
    char path[32];

    if (sysconf(_SC_PAGESIZE) > IO_DIRECT_ALIGN)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

int io_next_data(int fd, const char *name, uint64_t from, uint64_t end, uint64_t *begin,
                 uint64_t *stop, struct error *err)
{
    off_t data, hole;

    *begin = *stop = end;
    data = lseek(fd, (off_t)from, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return 0;
    if (data < 0 && errno == EINVAL) { /* no such question here */
        *begin = from;
        return 0;
    }
    if (data < 0)
        return error_sys(err, errno, "%s: cannot look for data at %" PRIu64, name, from);
    if ((uint64_t)data >= end)
        return 0;
    hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0)
        return error_sys(err, errno, "%s: cannot look for a hole at %" PRIu64, name,
                         (uint64_t)data);
    *begin = (uint64_t)data;
    if ((uint64_t)hole < end)
        *stop = (uint64_t)hole;
    return 0;
}

int io_sync(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 || fsync(fd) < 0)
        rc = error_sys(err, errno, "%s: flushing it", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

int io_sync_folder_of(const char *path, struct error *err)
{
    char *folder = strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    int rc;

    if (folder == NULL)
        return error_no_memory(err);
    if (slash)
        slash[slash == folder] = '\0';
    rc = io_sync(slash ? folder : ".", err);
    free(folder);
    return rc;
}

int io_is_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    uint8_t head = 0;
    size_t n = len < 16 ? len : 16;

    for (size_t i = 0; i < n; i++)
        head |= p[i];
    if (head)
        return 0;
    /* The first 16 are zero; equal to themselves moved by 16 bytes, all are. */
    return len <= 16 || memcmp(p, p + 16, len - 16) == 0;
}
