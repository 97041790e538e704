/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A unix socket with a buffer that grows up to a limit, and deadlines. What the
 * lines mean is qmp.c's and agent.c's.
 */
#include "live/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_ROOM =
        65536, /* bytes; and so much is taken at once, lest many short lines lie in a row */
    CONNECT_AGAIN = 20, /* milliseconds */
    ANY = -1,           /* no mark: every line counts */
};

struct wire {
    char *path;
    int fd;
    pid_t peer;
    bool gone;
    size_t limit;
    char *buffer;
    size_t room, used;
    size_t seen; /* so many bytes at its begin hold no end of line */
};

int64_t wire_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* As poll takes it. */
static int remaining(int64_t deadline)
{
    int64_t left = deadline - wire_clock();
    if (left < 0)
        return 0;
    return left > 1000000 ? 1000000 : (int)left;
}

/* Whether ${fd} became ready for ${events}, or has an error to tell, by ${deadline}. */
static bool wait_for(int fd, short events, int64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int n = poll(&p, 1, remaining(deadline));
        if (n > 0)
            return true;
        if ((n == 0 || errno != EINTR) && wire_clock() >= deadline)
            return false;
    }
}

static int gone(struct wire *w, struct error *err)
{
    w->gone = true;
    return error_set(err, ERROR_NOT_FOUND, "%s: the other side has closed the connection", w->path);
}

static int failed(struct wire *w, const char *what, struct error *err)
{
    int sys = errno;
    if (sys == EPIPE || sys == ECONNRESET)
        return gone(w, err);
    w->gone = true;
    return error_sys(err, sys, "%s: %s", w->path, what);
}

/* A full queue in front of a socket cannot be polled: it is tried again. */
static int connect_by(struct wire *w, const struct sockaddr_un *address, int64_t deadline,
                      struct error *err)
{
    while (connect(w->fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        int sys = errno;
        if (sys == ENOENT || sys == ECONNREFUSED)
            return error_set(err, ERROR_NOT_FOUND, "%s: %s", w->path,
                             sys == ENOENT ? "there is no such socket" : "nobody listens there");
        if (sys != EAGAIN && sys != EINTR)
            return error_sys(err, sys, "%s: cannot connect", w->path);
        if (wire_clock() >= deadline)
            return error_set(err, ERROR_IN_USE, "%s: other clients are waiting there", w->path);
        poll(NULL, 0, CONNECT_AGAIN);
    }
    return 0;
}

int wire_open(struct wire **out, const char *path, size_t limit, int64_t deadline,
              struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    struct wire *w = NULL;
    int rc = 0;
    *out = NULL;
    if (*path == 0 || strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_USAGE, "%s: the path of a socket has 1 to %zu bytes", path,
                         sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_no_memory(err);
    *w = (struct wire){.fd = -1, .limit = limit, .path = strdup(path)};
    if (w->path == NULL) {
        rc = error_no_memory(err);
        goto out;
    }
    w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0) {
        rc = error_sys(err, errno, "%s: making a socket", path);
        goto out;
    }
    rc = connect_by(w, &address, deadline, err);
    if (rc == 0 && getsockopt(w->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        w->peer = peer.pid;
out:
    if (rc < 0)
        wire_close(w);
    else
        *out = w;
    return rc;
}

const char *wire_path(const struct wire *w)
{
    return w->path;
}

int wire_fd(const struct wire *w)
{
    return w->fd;
}

pid_t wire_peer(const struct wire *w)
{
    return w->peer;
}

bool wire_is_gone(const struct wire *w)
{
    return w->gone;
}

static int send_all(struct wire *w, const char *next, size_t len, int64_t deadline,
                    struct error *err)
{
    if (w->gone)
        return gone(w, err);
    while (len > 0) {
        ssize_t n = send(w->fd, next, len, MSG_NOSIGNAL);
        if (n >= 0) {
            next += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for(w->fd, POLLOUT, deadline)) {
                w->gone = true;
                return error_set(err, ERROR_IO, "%s: nobody takes what is sent there", w->path);
            }
        } else if (errno != EINTR) {
            return failed(w, "sending", err);
        }
    }
    return 0;
}

/* ${before} is a text of at most one byte. */
static int send_line(struct wire *w, const char *before, const json_t *object, int64_t deadline,
                     struct error *err)
{
    char *line = NULL;
    char *text = json_dumps(object, JSON_COMPACT);
    int len = text == NULL ? -1 : asprintf(&line, "%s%s\n", before, text);
    free(text);
    if (len < 0)
        return error_no_memory(err);
    int rc = send_all(w, line, (size_t)len, deadline, err);
    free(line);
    return rc;
}

int wire_send(struct wire *w, const json_t *object, int64_t deadline, struct error *err)
{
    return send_line(w, "", object, deadline, err);
}

int wire_send_marked(struct wire *w, uint8_t mark, const json_t *object, int64_t deadline,
                     struct error *err)
{
    const char before[] = {(char)mark, 0};
    return send_line(w, before, object, deadline, err);
}

static int grow(struct wire *w, struct error *err)
{
    size_t room = w->room == 0 ? FIRST_ROOM : 2 * w->room;
    if (room > w->limit)
        room = w->limit;
    if (room <= w->used) {
        w->gone = true;
        return error_set(err, ERROR_CORRUPT, "%s: a line of more than %zu bytes came", w->path,
                         w->limit);
    }
    char *buffer = realloc(w->buffer, room);
    if (buffer == NULL)
        return error_no_memory(err);
    w->buffer = buffer;
    w->room = room;
    return 0;
}

/* Takes more of what came. ${*more} is false where nothing did by ${deadline}. */
static int fill(struct wire *w, int64_t deadline, bool *more, struct error *err)
{
    *more = false;
    if (w->gone)
        return gone(w, err);
    if (w->used == w->room) {
        int rc = grow(w, err);
        if (rc < 0)
            return rc;
    }
    for (;;) {
        size_t room = w->room - w->used;
        ssize_t n = recv(w->fd, w->buffer + w->used, room > FIRST_ROOM ? FIRST_ROOM : room, 0);
        if (n > 0) {
            w->used += (size_t)n;
            *more = true;
            return 0;
        }
        if (n == 0)
            return gone(w, err);
        if (errno == EAGAIN) {
            if (!wait_for(w->fd, POLLIN, deadline))
                return 0;
        } else if (errno != EINTR) {
            return failed(w, "receiving", err);
        }
    }
}

static void drop(struct wire *w, size_t bytes)
{
    w->used -= bytes;
    if (w->used > 0)
        memmove(w->buffer, w->buffer + bytes, w->used);
    w->seen = 0;
}

static bool is_blank(const char *line, size_t len)
{
    while (len > 0 && (*line == ' ' || *line == '\t' || *line == '\r')) {
        line++;
        len--;
    }
    return len == 0;
}

/* Takes the first line, of ${len} bytes, from the buffer, and makes JSON of it; of an empty one
 * nothing, and neither of one without ${mark}, unless that is ANY. */
static int take_line(struct wire *w, size_t len, int mark, json_t **object, struct error *err)
{
    json_error_t why;
    const char *at = mark == ANY ? NULL : memrchr(w->buffer, mark, len);
    size_t skip = at == NULL ? 0 : (size_t)(at - w->buffer) + 1;
    bool wanted = (mark == ANY || at != NULL) && !is_blank(w->buffer + skip, len - skip);
    json_t *value =
        wanted ? json_loadb(w->buffer + skip, len - skip, JSON_REJECT_DUPLICATES, &why) : NULL;
    drop(w, len + 1);
    if (!wanted)
        return 0;
    if (value == NULL && json_error_code(&why) == json_error_out_of_memory)
        return error_no_memory(err);
    if (!json_is_object(value)) {
        json_decref(value);
        return error_set(err, ERROR_CORRUPT, "%s: what came is no JSON object in one line",
                         w->path);
    }
    *object = value;
    return 0;
}

static int receive(struct wire *w, int mark, int64_t deadline, json_t **object, struct error *err)
{
    bool more = true;
    int rc = 0;
    *object = NULL;
    while (rc == 0 && *object == NULL && more) {
        char *end =
            w->used == w->seen ? NULL : memchr(w->buffer + w->seen, '\n', w->used - w->seen);
        if (end != NULL) {
            rc = take_line(w, (size_t)(end - w->buffer), mark, object, err);
            more = wire_clock() < deadline; /* what is passed over may have no end */
        } else {
            w->seen = w->used;
            rc = fill(w, deadline, &more, err);
        }
    }
    return rc;
}

int wire_receive(struct wire *w, int64_t deadline, json_t **object, struct error *err)
{
    return receive(w, ANY, deadline, object, err);
}

int wire_receive_marked(struct wire *w, uint8_t mark, int64_t deadline, json_t **object,
                        struct error *err)
{
    return receive(w, mark, deadline, object, err);
}

void wire_close(struct wire *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        close(w->fd);
    free(w->buffer);
    free(w->path);
    free(w);
}
