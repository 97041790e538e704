/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hooks: what the administrator wants run around a job, by /bin/sh. What one
 * prints goes to stderr, since stdout is for results; what is known of the job
 * it finds on its stdin and in its environment. It has its time, and no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/exit_code.h"
#include "cli/job.h"
#include "cli/signals.h"
#include "cli/units.h"

enum { TICK = 100, GRACE = 10, DEFAULT_TIMEOUT = 600 }; /* milliseconds; seconds; seconds */

static int64_t now(void)
{
    struct timespec ts = {0};

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* The job's report as a file, from its begin; a hook need not read it. */
static int open_report(const struct job *job, int *fd, struct error *err)
{
    json_t *report = job_report(job, true);
    char *text = report ? json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    int rc = 0;

    json_decref(report);
    if (!text)
        return error_no_memory(err);
    *fd = memfd_create("byre-report", MFD_CLOEXEC);
    if (*fd < 0 || dprintf(*fd, "%s\n", text) < 0 || lseek(*fd, 0, SEEK_SET) < 0)
        rc = error_sys(err, errno, "keeping the report");
    free(text);
    return rc;
}

static int start(const struct job *job, enum conf_key hook, struct child *child, struct error *err)
{
    const char *const argv[] = {"/bin/sh", "-c", conf_text(job->conf, job->section, hook), NULL};
    struct words environment = {0};
    int in = -1;
    int rc = 0;

    if (hook == CONF_HOOK_BEFORE) {
        in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (in < 0)
            rc = error_sys(err, errno, "/dev/null: opening");
    } else {
        rc = open_report(job, &in, err);
    }
    if (!rc)
        rc = job_hook_environment(job, &environment, err);
    if (!rc) {
        const struct child_options options = {
            .path = argv[0],
            .argv = (char *const *)argv,
            .environment = environment.items,
            .in = in,
            .out = STDERR_FILENO,
            .err = STDERR_FILENO,
            .ionice = -1,
        };

        rc = child_start(child, &options, err);
    }
    if (in >= 0)
        close(in);
    words_clear(&environment);
    return rc;
}

/* Waits for its end, up to ${seconds}; a signal ends it, unless byre was stopped before: what is to
 * be put right in the end has to be. Returns its status; sets ${*late}. */
static int attend(struct child *child, unsigned seconds, bool *late)
{
    int stopped_before = signals_seen();
    int64_t deadline = now() + seconds;

    for (;;) {
        struct pollfd ended = {.fd = child->fd, .events = POLLIN};
        bool stop = signals_seen() && !stopped_before;

        if (poll(&ended, 1, TICK) > 0)
            return child_finish(child);
        if (!child->told && (stop || now() >= deadline)) {
            *late = !stop;
            child_tell(child, SIGTERM, true);
            deadline = now() + GRACE;
        } else if (child->told && now() >= deadline) {
            child_tell(child, SIGKILL, true);
        }
    }
}

void job_hook_run(struct job *job, enum conf_key hook)
{
    const char *name = conf_key_name(hook);
    const char *timeout = conf_text(job->conf, job->section, CONF_HOOK_TIMEOUT);
    unsigned seconds = DEFAULT_TIMEOUT;
    struct child child = {.fd = -1};
    struct error err = {0};
    char message[96];
    bool late = false;
    int status;

    if (!conf_text(job->conf, job->section, hook))
        return;
    if (timeout)
        units_parse_time("", timeout, &seconds, NULL);
    if (start(job, hook, &child, &err)) {
        job_say(job, name, "error", EXIT_CODE_FAILED, err.message);
        job_failed(job, name, EXIT_CODE_FAILED);
        return;
    }
    status = attend(&child, seconds, &late);
    if (late)
        snprintf(message, sizeof message, "ended, since it took longer than %u s", seconds);
    else if (status > EXIT_CODE_SIGNAL)
        snprintf(message, sizeof message, "ended by signal %d", status - EXIT_CODE_SIGNAL);
    else if (status)
        snprintf(message, sizeof message, "failed with status %d", status);
    else
        return;
    job_say(job, name, "error", EXIT_CODE_FAILED, message);
    job_failed(job, name, EXIT_CODE_FAILED);
}
