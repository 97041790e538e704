/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs qemu-img: no shell, nothing on its stdin, a bounded part of what it says
 * as the message. Knows which words make a bitmap; what bitmaps are for, and
 * which names they have, is own_bitmap.c's.
 */
#include "engine/qemu_img.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TICK = 20, GRACE = 5000, OUTPUT_MAX = 4096 }; /* milliseconds; bytes */

struct child {
    pid_t pid;
    int fd; /* what it says comes here; -1: it has closed that */
    char output[OUTPUT_MAX];
    size_t used;
};

/* QEMU takes a colon before the first slash for a protocol, and a dash for an option. */
static char *absolute(const char *path)
{
    char *folder = NULL, *whole = NULL;
    if (path[0] == '/')
        return strdup(path);
    folder = getcwd(NULL, 0);
    if (folder == NULL || asprintf(&whole, "%s/%s", folder, path) < 0)
        whole = NULL;
    free(folder);
    return whole;
}

/* The environment, its strings lent, but for the locale, and for secrets, which are not qemu-img's.
 */
static char **make_environment(void)
{
    static char locale[] = "LC_ALL=C";
    size_t n = 0, used = 0;
    while (environ[n] != NULL)
        n++;
    char **env = calloc(n + 2, sizeof *env);
    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LC_ALL=", 7) != 0 && strncmp(environ[i], "BYRE_", 5) != 0)
            env[used++] = environ[i];
    env[used] = locale;
    return env;
}

/* In a process group of its own: a Ctrl-C at the terminal is byre's, and must not kill it halfway.
 */
static int start(struct child *child, const char *const *argv, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char **env = make_environment();
    int ends[2];

    if (env == NULL)
        return error_no_memory(err);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        free(env);
        return error_sys(err, errno, "qemu-img: making a pipe");
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int sys = posix_spawnp(&child->pid, argv[0], &actions, &attributes, (char *const *)argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    close(ends[1]);
    child->fd = ends[0];
    if (sys == 0)
        return 0;
    close(ends[0]);
    if (sys == ENOENT)
        return error_set(
            err, ERROR_NOT_FOUND,
            "there is no qemu-img here, which bitmaps need (the package qemu-utils has it)");
    return error_sys(err, sys, "cannot run qemu-img");
}

/* Takes what has come, waiting up to ${timeout} milliseconds. What is too much is dropped. */
static void listen_to(struct child *child, int timeout)
{
    char excess[512];
    struct pollfd p = {.fd = child->fd, .events = POLLIN};
    if (poll(&p, 1, timeout) <= 0)
        return;
    size_t room = sizeof child->output - 1 - child->used;
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

/*
 * Waits for its end. One that is killed leaves all bitmaps of the image, those of others too,
 * marked as in use, which is the end of them: so it has some time for what takes milliseconds.
 */
static int await(struct child *child, const volatile int *cancel, bool *stopped, int *status,
                 struct error *err)
{
    int64_t deadline = 0;
    pid_t got;
    *stopped = false;
    while ((got = waitpid(child->pid, status, WNOHANG)) == 0) {
        listen_to(child, TICK);
        if (cancel == NULL || !*cancel)
            continue;
        if (deadline == 0)
            deadline = milliseconds() + GRACE;
        if (milliseconds() < deadline || *stopped)
            continue;
        kill(-child->pid, SIGKILL);
        *stopped = true;
    }
    if (got < 0)
        return error_sys(err, errno, "qemu-img: waiting for its end");
    for (size_t before = child->used + 1; child->fd >= 0 && before != child->used;) {
        before = child->used;
        listen_to(child, 0);
    }
    return 0;
}

/* The last line that is qemu-img's own, else the last one; without its name. */
static const char *last_line(char *output)
{
    static const char name[] = "qemu-img: ";
    const char *last = NULL, *own = NULL;
    char *rest = output;
    for (char *line = strtok_r(output, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        for (char *p = line; *p != 0; p++) /* it goes to a terminal */
            if ((unsigned char)*p < ' ' || *p == 0x7f)
                *p = '?';
        last = line;
        if (strncmp(line, name, sizeof name - 1) == 0)
            own = line + sizeof name - 1;
    }
    return own != NULL ? own : last != NULL ? last : "it does not say why";
}

static int judge(struct child *child, int status, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return error_set(err, ERROR_IO, "qemu-img was ended by signal %d", WTERMSIG(status));
    child->output[child->used] = 0;
    const char *message = last_line(child->output);
    const char *lock = strstr(message, "Failed to get ");
    bool in_use = lock != NULL && strstr(lock, " lock") != NULL;
    return error_set(err, in_use ? ERROR_IN_USE : ERROR_IO, "qemu-img: %s", message);
}

static int run(const char *const *argv, const volatile int *cancel, struct error *err)
{
    struct child child = {.fd = -1};
    bool stopped = false;
    int status = 0;
    if (cancel != NULL && *cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    int rc = start(&child, argv, err);
    if (rc < 0)
        return rc;
    rc = await(&child, cancel, &stopped, &status, err);
    if (child.fd >= 0)
        close(child.fd);
    if (rc == 0 && stopped)
        rc = error_set(err, ERROR_INTERRUPTED, "stopped");
    return rc < 0 ? rc : judge(&child, status, err);
}

int qemu_img_bitmap_add(const char *path, const char *name, uint64_t granularity,
                        const volatile int *cancel, struct error *err)
{
    char bytes[24];
    char *file = absolute(path);
    const char *const argv[] = {"qemu-img", "bitmap", "--add", "-f", "qcow2",
                                "-g",       bytes,    file,    name, NULL};
    if (file == NULL)
        return error_sys(err, errno, "%s: making its name absolute", path);
    snprintf(bytes, sizeof bytes, "%" PRIu64, granularity);
    int rc = run(argv, cancel, err);
    free(file);
    return rc;
}

int qemu_img_bitmap_remove(const char *path, const char *name, const volatile int *cancel,
                           struct error *err)
{
    char *file = absolute(path);
    const char *const argv[] = {"qemu-img", "bitmap", "--remove", "-f", "qcow2", file, name, NULL};
    if (file == NULL)
        return error_sys(err, errno, "%s: making its name absolute", path);
    int rc = run(argv, cancel, err);
    free(file);
    return rc;
}
