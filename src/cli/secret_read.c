/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads secrets straight into the one buffer that is wiped later: no stdio,
 * whose buffers would keep a copy.
 */
#include "cli/secret_read.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/prompt.h"
#include "cli/signals.h"

/* Reads ${fd} up to its end or until the buffer is full; up to a line's end where ${line}. */
static int fill(struct secret *secret, int fd, bool line, const char *from, struct error *err)
{
    secret->len = 0;
    while (secret->len < sizeof secret->data) {
        uint8_t *at = secret->data + secret->len;
        ssize_t got = read(fd, at, sizeof secret->data - secret->len);

        if (got < 0 && errno == EINTR) {
            if (signals_seen())
                return error_set(err, ERROR_INTERRUPTED, "interrupted");
            continue;
        }
        if (got < 0)
            return error_sys(err, errno, "%s: reading", from);
        if (got == 0)
            break;
        secret->len += (size_t)got;
        if (line && memchr(at, '\n', (size_t)got))
            break;
    }
    return 0;
}

int secret_read_first_line(struct secret *secret, const char *from, struct error *err)
{
    const uint8_t *end = memchr(secret->data, '\n', secret->len);
    size_t len = secret->len;

    if (end) {
        len = (size_t)(end - secret->data);
        if (len && secret->data[len - 1] == '\r')
            len--;
    }
    explicit_bzero(secret->data + len, sizeof secret->data - len);
    secret->len = len;
    if (len == 0)
        return error_set(err, ERROR_USAGE, "%s: the passphrase is empty", from);
    if (len > CS_KEY_FILE_MAX)
        return error_set(err, ERROR_USAGE, "%s: the passphrase is longer than %d bytes", from,
                         CS_KEY_FILE_MAX);
    return 0;
}

static int open_file(const char *path, const char *what, int *fd, struct error *err)
{
    struct stat st;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0)
        return error_sys(err, errno, "%s %s: opening", what, path);
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
        message_advice("%s %s can be read by everybody on this machine", what, path);
    return 0;
}

int secret_read_file(struct secret *secret, const char *path, struct error *err)
{
    int fd = -1;
    int rc = open_file(path, "password file", &fd, err);

    if (rc)
        return rc;
    secret->kind = CS_SLOT_PASSPHRASE;
    rc = fill(secret, fd, true, path, err);
    close(fd);
    return rc ? rc : secret_read_first_line(secret, path, err);
}

int secret_read_key_file(struct secret *secret, const char *path, struct error *err)
{
    int fd = -1;
    int rc = open_file(path, "key file", &fd, err);

    if (rc)
        return rc;
    secret->kind = CS_SLOT_KEY_FILE;
    rc = fill(secret, fd, false, path, err);
    close(fd);
    if (rc)
        return rc;
    if (secret->len < CS_KEY_FILE_MIN || secret->len > CS_KEY_FILE_MAX)
        return error_set(err, ERROR_USAGE, "%s: a key file has %d to %d bytes, this one has %s",
                         path, CS_KEY_FILE_MIN, CS_KEY_FILE_MAX,
                         secret->len < CS_KEY_FILE_MIN ? "fewer" : "more");
    return 0;
}

/* Starts ${command} with its stdout going to ${*fd}. */
static int start(const char *command, pid_t *pid, int *fd, struct error *err)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int ends[2];
    int sys;

    if (pipe2(ends, O_CLOEXEC))
        return error_sys(err, errno, "password command: making a pipe");
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    sys = posix_spawn(pid, "/bin/sh", &actions, &attributes, (char *const *)argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (sys) {
        close(ends[0]);
        return error_sys(err, sys, "password command: starting /bin/sh");
    }
    *fd = ends[0];
    return 0;
}

/* Reads what else comes, so that the command need not fail for a closed pipe. */
static void drain(int fd)
{
    char buf[512];
    ssize_t got;

    while ((got = read(fd, buf, sizeof buf)) > 0 || (got < 0 && errno == EINTR)) {
        if (signals_seen())
            break;
    }
    explicit_bzero(buf, sizeof buf);
}

int secret_read_command(struct secret *secret, const char *command, struct error *err)
{
    pid_t pid = 0;
    int status = 0;
    int fd = -1;
    int rc = start(command, &pid, &fd, err);

    if (rc)
        return rc;
    secret->kind = CS_SLOT_PASSPHRASE;
    rc = fill(secret, fd, false, "password command", err);
    if (!rc)
        drain(fd);
    close(fd);
    if (signals_seen())
        kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        if (signals_seen())
            kill(pid, SIGTERM);
    }
    if (signals_seen())
        return error_set(err, ERROR_INTERRUPTED, "interrupted");
    if (rc)
        return rc;
    if (WIFSIGNALED(status))
        return error_set(err, ERROR_IO, "password command: ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status))
        return error_set(err, ERROR_IO, "password command: failed with status %d",
                         WEXITSTATUS(status));
    return secret_read_first_line(secret, "password command", err);
}

int secret_read_text(struct secret *secret, const char *text, struct error *err)
{
    size_t len = strlen(text);

    secret->kind = CS_SLOT_PASSPHRASE;
    if (len == 0)
        return error_set(err, ERROR_USAGE, "the passphrase is empty");
    if (len > CS_KEY_FILE_MAX)
        return error_set(err, ERROR_USAGE, "the passphrase is longer than %d bytes",
                         CS_KEY_FILE_MAX);
    memcpy(secret->data, text, len);
    secret->len = len;
    return 0;
}

int secret_read_terminal(struct secret *secret, const char *question, struct error *err)
{
    int rc;

    secret->kind = CS_SLOT_PASSPHRASE;
    rc = prompt_secret(question, (char *)secret->data, sizeof secret->data, &secret->len, err);
    if (rc)
        return rc;
    if (secret->len == 0)
        return error_set(err, ERROR_USAGE, "the passphrase is empty");
    return 0;
}
