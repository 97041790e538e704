/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line from the terminal without echo. A signal that comes meanwhile is only
 * noted, so that the terminal can be put right before it takes effect; after a
 * stop and continue the question is asked again.
 */
#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
enum { CAUGHT = sizeof caught / sizeof caught[0] };

static volatile sig_atomic_t noted;

static void note(int signal_number)
{
    noted = signal_number;
}

static void say(int fd, const char *text)
{
    /* A terminal that takes no output will give no answer either. */
    if (write(fd, text, strlen(text)) < 0)
        return;
}

/* Reads up to the end of the line. What does not fit is read and dropped, and ${*len} is then
 * ${size}. */
static int read_line(int fd, char *buf, size_t size, size_t *len, struct error *err)
{
    *len = 0;
    for (;;) {
        char c = '\0';
        ssize_t got = read(fd, &c, 1);

        if (got < 0)
            return errno == EINTR ? ERROR_INTERRUPTED
                                  : error_sys(err, errno, "reading from the terminal");
        if (got == 0 || c == '\n')
            return 0;
        if (*len < size)
            buf[(*len)++] = c;
    }
}

/* One try; ERROR_INTERRUPTED with ${noted} set where a signal ended it. */
static int ask(int fd, const char *question, char *buf, size_t size, size_t *len, struct error *err)
{
    struct termios shown;
    struct termios hidden;
    struct sigaction action;
    struct sigaction before[CAUGHT];
    int rc;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = note;
    noted = 0;
    for (size_t i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &action, &before[i]);
    if (tcgetattr(fd, &shown)) {
        rc = error_sys(err, errno, "asking the terminal for its settings");
        goto out;
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    if (tcsetattr(fd, TCSAFLUSH, &hidden)) {
        rc = errno == EINTR ? ERROR_INTERRUPTED
                            : error_sys(err, errno, "turning off the terminal's echo");
        goto out;
    }
    say(fd, question);
    rc = read_line(fd, buf, size, len, err);
    say(fd, "\n");
    while (tcsetattr(fd, TCSAFLUSH, &shown) && errno == EINTR && noted != SIGTTOU)
        ;
out:
    for (size_t i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    return rc;
}

int prompt_secret(const char *question, char *buf, size_t size, size_t *len, struct error *err)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    bool stopped;
    int rc;

    if (fd < 0)
        return error_set(err, ERROR_NOT_FOUND, "there is no terminal");
    do {
        rc = ask(fd, question, buf, size, len, err);
        stopped = noted == SIGTSTP || noted == SIGTTIN || noted == SIGTTOU;
        if (noted)
            raise(noted);
    } while (rc == ERROR_INTERRUPTED && stopped);
    close(fd);
    if (noted && !stopped)
        rc = ERROR_INTERRUPTED;
    if (rc == ERROR_INTERRUPTED)
        return error_set(err, ERROR_INTERRUPTED, "interrupted");
    if (!rc && *len == size)
        return error_set(err, ERROR_USAGE, "the line is longer than %zu bytes", size - 1);
    return rc;
}
