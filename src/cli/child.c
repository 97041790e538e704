/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts and ends other programs. What they are given and what they say is the caller's. */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child, between fork and exec. Returns errno. */
static int become(const struct child_options *options, pid_t parent)
{
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
        return errno;
    if (getppid() != parent) /* it was killed before it could be noticed */
        return ESRCH;
    signal(SIGPIPE, SIG_DFL);
    errno = 0;
    if (options->nice && nice(options->nice) < 0 && errno)
        return errno;
    if (options->ionice >= 0 && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, options->ionice) < 0)
        return errno;
    if (dup2(options->in, STDIN_FILENO) < 0 || dup2(options->out, STDOUT_FILENO) < 0 ||
        dup2(options->err, STDERR_FILENO) < 0)
        return errno;
    execve(options->path, options->argv, options->environment);
    return errno;
}

int child_start(struct child *child, const struct child_options *options, struct error *err)
{
    pid_t parent = getpid();
    int ends[2];
    int sys = 0;

    *child = (struct child){.fd = -1};
    if (pipe2(ends, O_CLOEXEC))
        return error_sys(err, errno, "%s: making a pipe", options->argv[0]);
    child->pid = fork();
    if (child->pid < 0) {
        sys = errno;
    } else if (child->pid == 0) {
        sys = become(options, parent);
        _exit(write(ends[1], &sys, sizeof sys) == sizeof sys ? 127 : 126);
    }
    close(ends[1]);
    /* The other end is closed by a successful exec. */
    if (child->pid > 0) {
        ssize_t got;

        do
            got = read(ends[0], &sys, sizeof sys);
        while (got < 0 && errno == EINTR);
        child->fd = got == 0 ? pidfd_open(child->pid, 0) : -1;
        if (got == 0 && child->fd < 0) {
            sys = errno;
            kill(child->pid, SIGKILL);
        }
        if (child->fd < 0)
            child_finish(child);
    }
    close(ends[0]);
    return sys ? error_sys(err, sys, "%s: starting it", options->argv[0]) : 0;
}

void child_tell(struct child *child, int signal, bool group)
{
    kill(group ? -child->pid : child->pid, signal);
    child->told = true;
}

int child_finish(struct child *child)
{
    int status = 0;

    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (child->fd >= 0)
        close(child->fd);
    child->fd = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
