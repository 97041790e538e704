/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams that may be full, or empty, for long, so that a signal that wants us to
 * stop is always seen: a pipe is opened a second time for large writes that do not
 * block; else one of at most PIPE_BUF does not once poll says that there is room,
 * nor does a read once it says that there is something.
 */
#include "engine/fd_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MILLISECONDS = 250, PIPE_SIZE = 1 << 20 /* bytes */ };

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* A description of our own, for the flags of the one that was lent may be others' too. */
struct fd_stream fd_stream_open(int fd, const char *name)
{
    struct stat st;
    struct fd_stream stream = {.fd = fd, .other_fd = -1, .name = name};
    char path[32];
    bool known = fstat(fd, &st) == 0;
    stream.regular = known && S_ISREG(st.st_mode);
    if (known && S_ISFIFO(st.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        stream.other_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (stream.other_fd >= 0)
        fcntl(stream.other_fd, F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns, where it may be */
    return stream;
}

void fd_stream_close(struct fd_stream *stream)
{
    if (stream->other_fd >= 0)
        close(stream->other_fd);
    stream->other_fd = -1;
}

int fd_stream_write(const struct fd_stream *stream, const void *buf, size_t len,
                    int (*idle)(void *arg, struct error *err), void *arg, struct error *err)
{
    bool whole = stream->regular || stream->other_fd >= 0;
    int fd = stream->other_fd >= 0 ? stream->other_fd : stream->fd;
    int rc = 0;
    for (size_t done = 0; rc == 0 && done < len;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        size_t n = whole || len - done < PIPE_BUF ? len - done : PIPE_BUF;
        int ready = stream->regular ? 1 : poll(&p, 1, POLL_MILLISECONDS);
        ssize_t written = ready > 0 ? write(fd, (const char *)buf + done, n) : 0;
        if (written > 0)
            done += (size_t)written;
        else if ((ready < 0 || written < 0) && errno != EINTR && errno != EAGAIN)
            rc = error_sys(err, errno, "%s", stream->name);
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
