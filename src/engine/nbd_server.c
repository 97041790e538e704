/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starts qemu-nbd on a socket that it inherits, as systemd would: byre is
 * connected before the program runs, and the socket's name is gone by then, so
 * that nobody waits, nobody else comes in, and nothing is left behind.
 */
#include "engine/nbd_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/program.h"
#include "engine/scratch.h"

enum { FIRST_PASSED = 3, PID_DIGITS = 10, SAID_MAX = 1024 };

/* A socket that listens, and a connection to it; nobody else can have one. */
static int make_sockets(int *listening, int *connected, struct error *err)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char *folder = NULL;
    int rc = scratch_make("/tmp", "byre-nbd", &folder, err);
    if (rc < 0)
        return rc;
    *listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", folder);
    if (n < 0 || (size_t)n >= sizeof name.sun_path)
        rc = error_set(err, ERROR_IO, "%s: is too long a name for a socket", folder);
    else if (*listening < 0 || *connected < 0 ||
             bind(*listening, (struct sockaddr *)&name, sizeof name) < 0 ||
             listen(*listening, 1) < 0 ||
             connect(*connected, (struct sockaddr *)&name, sizeof name) < 0)
        rc = error_sys(err, errno, "%s: making a socket", name.sun_path);
    int gone = scratch_remove(folder, rc == 0 ? err : NULL);
    free(folder);
    return rc < 0 ? rc : gone;
}

/* What is done between fork and exec, where not much is allowed. ${pid}: the digits of LISTEN_PID
 * in ${env}. Returns errno. */
static int become(char *const *argv, char *const *env, char *pid, int listening, int said,
                  pid_t parent)
{
    long number = getpid();
    for (unsigned i = PID_DIGITS; i-- > 0; number /= 10)
        pid[i] = (char)('0' + number % 10);
    if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return errno;
    if (getppid() != parent) /* it was killed before it could be noticed */
        return ESRCH;
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    /* dup2 of a descriptor to itself would leave it to be closed */
    listening = fcntl(listening, F_DUPFD_CLOEXEC, FIRST_PASSED + 1);
    said = fcntl(said, F_DUPFD_CLOEXEC, FIRST_PASSED + 1);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(said, STDOUT_FILENO) < 0 ||
        dup2(said, STDERR_FILENO) < 0 || dup2(listening, FIRST_PASSED) < 0)
        return errno;
    execvpe(argv[0], argv, env);
    return errno;
}

/* Sets ${*sys} to why it could not be run, 0: it runs. */
static int spawn(struct nbd_server *server, char *const *argv, char *const *env, char *pid,
                 int listening, int said, int *sys, struct error *err)
{
    pid_t parent = getpid();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_sys(err, errno, "%s: making a pipe", argv[0]);
    server->pid = fork();
    if (server->pid == 0) {
        *sys = become(argv, env, pid, listening, said, parent);
        if (write(ends[1], sys, sizeof *sys) < 0)
            *sys = errno; /* it is not told then, and the connection fails */
        for (;;)          /* a copy of byre has nothing to clean up */
            kill(getpid(), SIGKILL);
    }
    *sys = server->pid < 0 ? errno : 0;
    close(ends[1]);
    if (server->pid < 0)
        server->pid = 0;
    ssize_t got = 0;
    do /* the other end is closed by a successful exec */
        got = server->pid > 0 ? read(ends[0], sys, sizeof *sys) : 0;
    while (got < 0 && errno == EINTR);
    close(ends[0]);
    return 0;
}

int nbd_server_start(struct nbd_server *server, const char *path, const char *format, int *fd,
                     struct error *err)
{
    char locale[] = "LC_ALL=C", fds[] = "LISTEN_FDS=1";
    char pid[] = "LISTEN_PID=0000000000";
    char *const more[] = {locale, fds, pid, NULL};
    char *words = NULL, *file = strdup(path);
    char program[] = "qemu-nbd", read_only[] = "--read-only";
    char **env = program_environment(more);
    int listening = -1, said[2] = {-1, -1}, sys = 0, rc = 0;
    *server = (struct nbd_server){.said = -1};
    *fd = -1;
    if (asprintf(&words, "--format=%s", format) < 0)
        words = NULL;
    if (words == NULL || file == NULL || env == NULL) {
        rc = error_no_memory(err);
        goto out;
    }
    rc = make_sockets(&listening, fd, err);
    /* it must not wait for somebody to listen */
    if (rc == 0 && pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)
        rc = error_sys(err, errno, "%s: making a pipe", program);
    if (rc < 0)
        goto out;
    server->said = said[0];
    char *const argv[] = {program, read_only, words, file, NULL};
    rc = spawn(server, argv, env, pid + sizeof pid - 1 - PID_DIGITS, listening, said[1], &sys, err);
    if (rc == 0 && sys == ENOENT)
        rc = error_set(err, ERROR_NOT_FOUND,
                       "there is no qemu-nbd here (the package qemu-utils has it)");
    else if (rc == 0 && sys != 0)
        rc = error_sys(err, sys, "cannot run %s", program);
out:
    if (listening >= 0)
        close(listening);
    if (said[1] >= 0)
        close(said[1]);
    if (rc < 0) {
        nbd_server_stop(server);
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    free(env);
    free(file);
    free(words);
    return rc;
}

static void end(struct nbd_server *server, int signal)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, signal);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    server->pid = 0;
}

int nbd_server_explain(struct nbd_server *server, struct error *err)
{
    char text[SAID_MAX];
    size_t used = 0;
    if (server->said < 0 || err->code == ERROR_INTERRUPTED)
        return err->code;
    end(server, SIGTERM);
    for (ssize_t got; used < sizeof text - 1; used += (size_t)got) {
        got = read(server->said, text + used, sizeof text - 1 - used);
        if (got <= 0)
            break;
    }
    text[used] = 0;
    for (char *c = text; *c != 0; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = *c == '\n' ? ' ' : '?';
    while (used > 0 && text[used - 1] == ' ')
        text[--used] = 0;
    if (used > 0) {
        error_add(err, "; ");
        error_add(err, text);
    }
    return err->code;
}

void nbd_server_stop(struct nbd_server *server)
{
    end(server, SIGKILL);
    if (server->said >= 0)
        close(server->said);
    server->said = -1;
}
