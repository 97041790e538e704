/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams that may be full, or empty, for long. A write of at most PIPE_BUF does
 * not block once poll says that there is room, nor does a read once it says that
 * there is something, so that a signal that wants us to stop is always seen.
 */
#include "engine/fd_stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MILLISECONDS = 250 };

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int fd_stream_write(int fd, const char *name, const void *buf, size_t len,
                    int (*idle)(void *arg, struct error *err), void *arg, struct error *err)
{
    bool regular = is_regular(fd);
    int rc = 0;
    for (size_t done = 0; rc == 0 && done < len;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        size_t n = regular || len - done < PIPE_BUF ? len - done : PIPE_BUF;
        int ready = regular ? 1 : poll(&p, 1, POLL_MILLISECONDS);
        ssize_t written = ready > 0 ? write(fd, (const char *)buf + done, n) : 0;
        if (written > 0)
            done += (size_t)written;
        else if ((ready < 0 || written < 0) && errno != EINTR && errno != EAGAIN)
            rc = error_sys(err, errno, "%s", name);
        else
            rc = idle(arg, err);
    }
    return rc;
}

int fd_stream_read(int fd, const char *name, void *buf, size_t len, size_t *got,
                   int (*idle)(void *arg, struct error *err), void *arg, struct error *err)
{
    bool regular = is_regular(fd);
    int rc = 0;
    *got = 0;
    while (rc == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = regular ? 1 : poll(&p, 1, POLL_MILLISECONDS);
        ssize_t n = ready > 0 ? read(fd, buf, len) : -1;
        if (n >= 0) {
            *got = (size_t)n;
            return 0;
        }
        if (ready != 0 && errno != EINTR && errno != EAGAIN)
            return error_sys(err, errno, "%s", name);
        rc = idle(arg, err);
    }
    return rc;
}
