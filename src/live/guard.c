/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Forks a child that waits at a socket: a byte releases it, the end of it means
 * that byre is dead. What is to be done then is its caller's.
 */
#include "live/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/wire.h"

enum { RELEASED = 0, ACTED = 7 }; /* exit status of the child */

struct guard {
    pid_t pid;
    int fd; /* to the child */
};

static bool is_kept(int fd, const int *keep, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (keep[i] == fd)
            return true;
    return false;
}

/* Locks and pipes of byre must end with byre, not with its guard. */
static void close_others(int fd, const int *keep, size_t count)
{
    int last = fd;
    for (size_t i = 0; i < count; i++)
        if (keep[i] > last)
            last = keep[i];
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i <= STDERR_FILENO && null >= 0; i++)
        if (i != fd && !is_kept(i, keep, count))
            dup2(null, i);
    for (int i = STDERR_FILENO + 1; i < last; i++)
        if (i != fd && !is_kept(i, keep, count))
            close(i);
    close_range((unsigned)last + 1, ~0U, 0);
}

/* Whether byre has said that all is well; false: it died, or the time is up. */
static bool wait_for_release(int fd, unsigned seconds)
{
    int64_t deadline = wire_clock() + seconds * 1000LL;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - wire_clock();
        if (seconds > 0 && left <= 0)
            return false;
        int n = poll(&p, 1, seconds == 0 ? -1 : (int)(left > 60000 ? 60000 : left));
        char byte = 0;
        if (n > 0)
            return read(fd, &byte, 1) == 1;
    }
}

static _Noreturn void run(int fd, unsigned seconds, const int *keep, size_t count,
                          void (*last)(void *arg), void *arg)
{
    setsid();
    prctl(PR_SET_NAME, "byre-guard");
    close_others(fd, keep, count);
    send(fd, "", 1, MSG_NOSIGNAL);
    if (wait_for_release(fd, seconds))
        _exit(RELEASED);
    last(arg);
    _exit(ACTED);
}

/* The child has all signals blocked, for good: what stops byre must not stop it. */
static pid_t start(int fds[2], unsigned seconds, const int *keep, size_t count,
                   void (*last)(void *arg), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[1]);
        run(fds[0], seconds, keep, count, last, arg);
    }
    int sys = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = sys;
    return pid;
}

/* Until then a signal to byre's group would reach the child, too. */
static bool wait_until_ready(int fd)
{
    char byte;
    ssize_t n;
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

int guard_start(struct guard **out, unsigned seconds, const int *keep, size_t count,
                void (*last)(void *arg), void *arg, struct error *err)
{
    int fds[2] = {-1, -1};
    *out = NULL;
    struct guard *g = calloc(1, sizeof *g);
    if (g == NULL)
        return error_no_memory(err);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        free(g);
        return error_sys(err, errno, "making a socket to a guard");
    }
    g->pid = start(fds, seconds, keep, count, last, arg);
    g->fd = fds[1];
    int sys = errno;
    close(fds[0]);
    if (g->pid < 0) {
        close(fds[1]);
        free(g);
        return error_sys(err, sys, "starting a guard");
    }
    if (!wait_until_ready(g->fd)) {
        guard_release(g);
        return error_set(err, ERROR_IO, "starting a guard: it has ended at once");
    }
    *out = g;
    return 0;
}

bool guard_release(struct guard *g)
{
    int status = 0;
    char byte = 0;
    if (g == NULL)
        return false;
    while (send(g->fd, &byte, 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
    close(g->fd);
    while (waitpid(g->pid, &status, 0) < 0 && errno == EINTR)
        ;
    free(g);
    return WIFEXITED(status) && WEXITSTATUS(status) == ACTED;
}
