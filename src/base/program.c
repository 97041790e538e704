/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starts a program without a shell, listens to it, and waits for its end. What
 * its exit status means is its caller's.
 */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TICK = 20, GRACE = 5000 }; /* milliseconds */

struct child {
    const struct program_options *options;
    const char *name;
    pid_t pid;
    int fd; /* what it says comes here; -1: it has closed that, or nobody listens */
    char *output;
    size_t used;
};

char **program_environment(char *const *more)
{
    static char locale[] = "LC_ALL=C";
    size_t n = 0, extra = 0, used = 0;
    while (environ[n] != NULL)
        n++;
    while (more != NULL && more[extra] != NULL)
        extra++;
    char **env = calloc(n + extra + 2, sizeof *env);
    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if ((more != NULL || strncmp(environ[i], "LC_ALL=", 7) != 0) &&
            strncmp(environ[i], "BYRE_", 5) != 0)
            env[used++] = environ[i];
    if (more == NULL)
        env[used++] = locale;
    for (size_t i = 0; i < extra; i++)
        env[used++] = more[i];
    return env;
}

/* SIGPIPE is ignored in byre, which others do not expect. */
static int spawn(struct child *child, int output, char *const *env)
{
    const struct program_options *options = child->options;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int sys = 0;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, options->out > 0 ? options->out : output,
                                     STDOUT_FILENO);
    if (options->capture)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (options->folder != NULL)
        sys = posix_spawn_file_actions_addchdir_np(&actions, options->folder);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    if (sys == 0)
        sys = posix_spawnp(&child->pid, child->name, &actions, &attributes,
                           (char *const *)options->argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return sys;
}

static int start(struct child *child, struct error *err)
{
    char **env = program_environment(child->options->environment);
    int ends[2] = {-1, STDERR_FILENO};
    if (env == NULL)
        return error_no_memory(err);
    if (child->options->capture && pipe2(ends, O_CLOEXEC) < 0) {
        free(env);
        return error_sys(err, errno, "%s: making a pipe", child->name);
    }
    int sys = spawn(child, ends[1], env);
    free(env);
    child->fd = ends[0];
    if (child->options->capture)
        close(ends[1]);
    if (sys == 0)
        return 0;
    if (child->fd >= 0)
        close(child->fd);
    return error_sys(err, sys, "cannot run %s", child->name);
}

/* Takes what has come, waiting up to ${timeout} milliseconds. What is too much is dropped. */
static void listen_to(struct child *child, int timeout)
{
    char excess[512];
    struct pollfd p = {.fd = child->fd, .events = POLLIN};
    if (poll(&p, 1, timeout) <= 0)
        return;
    size_t room = PROGRAM_OUTPUT - 1 - child->used;
    ssize_t got = room > 0 ? read(child->fd, child->output + child->used, room)
                           : read(child->fd, excess, sizeof excess);
    if (got > 0 && room > 0)
        child->used += (size_t)got;
    if (got == 0) {
        close(child->fd);
        child->fd = -1;
    }
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Until it has ended; its process id is kept, so that its group is nobody else's. */
static int wait_for_end(struct child *child, bool *stopped, struct error *err)
{
    const volatile int *cancel = child->options->cancel;
    int64_t deadline = 0;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 &&
            errno != EINTR)
            return error_sys(err, errno, "%s: waiting for its end", child->name);
        if (info.si_pid != 0)
            return 0;
        listen_to(child, TICK);
        if (child->options->tick != NULL)
            child->options->tick(child->options->arg);
        if (cancel == NULL || !__atomic_load_n(cancel, __ATOMIC_RELAXED))
            continue;
        if (deadline == 0) {
            deadline = milliseconds() + GRACE;
            if (child->options->terminate) {
                *stopped = true;
                kill(-child->pid, SIGTERM);
            }
        }
        if (milliseconds() < deadline)
            continue;
        *stopped = true;
        kill(-child->pid, SIGKILL);
    }
}

static void make_printable(char *text)
{
    for (char *p = text; *p != 0; p++)
        if (((unsigned char)*p < ' ' && *p != '\n') || *p == 0x7f)
            *p = '?';
}

int program_run(const struct program_options *options, struct program_result *result,
                struct error *err)
{
    struct child child = {
        .options = options, .name = options->argv[0], .fd = -1, .output = result->output};
    bool stopped = false;
    int status = 0;
    *result = (struct program_result){0};
    if (options->cancel != NULL && __atomic_load_n(options->cancel, __ATOMIC_RELAXED))
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    int rc = start(&child, err);
    if (rc < 0)
        return rc;
    rc = wait_for_end(&child, &stopped, err);
    if (options->terminate)
        kill(-child.pid, SIGKILL);
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    for (size_t before = child.used + 1; child.fd >= 0 && before != child.used;) {
        before = child.used;
        listen_to(&child, 0);
    }
    if (child.fd >= 0)
        close(child.fd);
    make_printable(result->output);
    result->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (rc == 0 && stopped)
        rc = error_set(err, ERROR_INTERRUPTED, "stopped");
    return rc;
}
