/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A step: byre itself with --json, in a process of its own. Reads what it says
 * on both streams and passes it on under the job's name; hands a signal on to
 * it, once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/exit_code.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/signals.h"

enum { TICK = 100, ROOM_MIN = 4096, ROOM_MAX = 64 << 20 }; /* milliseconds; bytes */

/* Lines that come out of a pipe. */
struct stream {
    int fd; /* -1: it has ended */
    char *buf;
    size_t used;
    size_t room;
};

struct step {
    struct job *job;
    const char *name;
    struct child child;
    struct stream out;
    struct stream err;
    struct progress progress;
    json_t *summary; /* or NULL */
};

/* ---- what it says ---- */

static uint64_t number(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    return json_is_integer(value) && json_integer_value(value) > 0
               ? (uint64_t)json_integer_value(value)
               : 0;
}

static const char *string(const json_t *json, const char *name)
{
    const char *value = json_string_value(json_object_get(json, name));

    return value ? value : "";
}

static void on_result(struct step *step, const char *line)
{
    json_t *json = json_loads(line, 0, NULL);
    const char *type = string(json, "message_type");

    if (strcmp(type, "status") == 0) {
        progress_update(&step->progress, step->name, number(json, "bytes_done"),
                        number(json, "bytes_total"));
    } else if (strcmp(type, "summary") == 0) {
        json_decref(step->summary);
        step->summary = json_incref(json);
    }
    json_decref(json);
}

static void on_message(struct step *step, const char *line)
{
    json_t *json = json_loads(line, 0, NULL);
    const char *message = string(json, "message");

    if (*message)
        job_say(step->job, step->name, string(json, "message_type"), (int)number(json, "code"),
                message);
    else /* a program that it runs: the passphrase command, say */
        job_say(step->job, step->name, "warning", 0, line);
    json_decref(json);
}

static void on_line(struct step *step, const struct stream *stream, const char *line)
{
    if (stream == &step->out)
        on_result(step, line);
    else if (*line)
        on_message(step, line);
}

/* ---- streams ---- */

static void end_stream(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

/* Makes room for more. A line that grows beyond all reason is dropped. */
static void make_room(struct stream *stream)
{
    char *buf;

    if (stream->used + 1 < stream->room)
        return;
    buf = stream->room < ROOM_MAX ? realloc(stream->buf, stream->room ? 2 * stream->room : ROOM_MIN)
                                  : NULL;
    if (buf) {
        stream->buf = buf;
        stream->room = stream->room ? 2 * stream->room : ROOM_MIN;
    } else {
        stream->used = 0;
    }
}

/* Takes what has come. Returns whether there may be more at once. */
static bool take(struct step *step, struct stream *stream)
{
    char *begin;
    char *end;
    ssize_t got;

    if (stream->fd < 0)
        return false;
    make_room(stream);
    if (stream->room < 2) { /* no memory at all */
        end_stream(stream);
        return false;
    }
    got = read(stream->fd, stream->buf + stream->used, stream->room - 1 - stream->used);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        if (stream->used) {
            stream->buf[stream->used] = '\0';
            on_line(step, stream, stream->buf);
        }
        end_stream(stream);
        return false;
    }
    stream->used += (size_t)got;
    begin = stream->buf;
    while ((end = memchr(begin, '\n', stream->used - (size_t)(begin - stream->buf))) != NULL) {
        *end = '\0';
        on_line(step, stream, begin);
        begin = end + 1;
    }
    stream->used -= (size_t)(begin - stream->buf);
    memmove(stream->buf, begin, stream->used);
    return true;
}

/* ---- running ---- */

/* Until it has ended and all that it said was read. What it has started may go on, and hold the
 * pipes open. */
static int attend(struct step *step)
{
    bool ended = false;
    int status;

    while (!ended) {
        struct pollfd fds[] = {{.fd = step->child.fd, .events = POLLIN},
                               {.fd = step->out.fd, .events = POLLIN},
                               {.fd = step->err.fd, .events = POLLIN}};

        if (signals_seen() && !step->child.told)
            child_tell(&step->child, signals_seen(), false);
        if (poll(fds, sizeof fds / sizeof fds[0], TICK) < 0)
            continue; /* a signal: nothing of ${fds} counts */
        ended = fds[0].revents != 0;
        if (fds[1].revents)
            take(step, &step->out);
        if (fds[2].revents)
            take(step, &step->err);
    }
    status = child_finish(&step->child);
    while (take(step, &step->out))
        ;
    while (take(step, &step->err))
        ;
    return status;
}

/* A pipe whose one end, ${stream}, does not block. ${*theirs} is the other. */
static int open_stream(struct stream *stream, int *theirs, struct error *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        return error_sys(err, errno, "making a pipe");
    stream->fd = ends[0];
    *theirs = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return 0;
}

/* The words with what makes the step talk to this program behind the first. For the caller to free;
 * the words are lent. */
static char **with_options(const struct words *argv, const struct global_options *options)
{
    static char json[] = "--json";
    static char quiet[] = "--quiet";
    static char verbose[] = "--verbose";
    char **items = calloc(argv->count + 4, sizeof *items);
    size_t count = 0;

    if (!items)
        return NULL;
    items[count++] = argv->items[0];
    items[count++] = json;
    if (options->quiet)
        items[count++] = quiet;
    if (options->verbose)
        items[count++] = verbose;
    memcpy(items + count, argv->items + 1, (argv->count - 1) * sizeof *items);
    return items;
}

static int start(struct step *step, const struct words *argv, struct error *err)
{
    struct words environment = {0};
    char **items = with_options(argv, step->job->options);
    int none = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out = -1;
    int errors = -1;
    int rc = 0;

    if (!items)
        rc = error_no_memory(err);
    else if (none < 0)
        rc = error_sys(err, errno, "/dev/null: opening");
    if (!rc)
        rc = open_stream(&step->out, &out, err);
    if (!rc)
        rc = open_stream(&step->err, &errors, err);
    if (!rc)
        rc = job_environment(step->job, &environment, err);
    if (!rc) {
        const struct child_options options = {
            .path = "/proc/self/exe", /* the same program, even where it was replaced meanwhile */
            .argv = items,
            .environment = environment.items,
            .in = none,
            .out = out,
            .err = errors,
            .nice = job_nice(step->job),
            .ionice = job_ionice(step->job),
        };

        rc = child_start(&step->child, &options, err);
    }
    if (none >= 0)
        close(none);
    if (out >= 0)
        close(out);
    if (errors >= 0)
        close(errors);
    for (size_t i = 0; i < environment.count; i++) /* it may have a passphrase */
        explicit_bzero(environment.items[i], strlen(environment.items[i]));
    words_clear(&environment);
    free(items);
    return rc;
}

/* What a shell's ${status} of it is to a job. */
static int exit_code_of(struct step *step, int status)
{
    char message[64];

    if (status <= EXIT_CODE_SIGNAL || status == EXIT_CODE_SIGNAL + SIGINT ||
        status == EXIT_CODE_SIGNAL + SIGTERM)
        return status;
    snprintf(message, sizeof message, "ended by signal %d", status - EXIT_CODE_SIGNAL);
    job_say(step->job, step->name, "error", EXIT_CODE_FAILED, message);
    return EXIT_CODE_FAILED;
}

/* Takes from the summary what the job itself tells. */
static void note_summary(struct job *job, enum job_step which, const json_t *summary)
{
    if (which != JOB_BACKUP || !summary)
        return;
    snprintf(job->archive, sizeof job->archive, "%s", string(summary, "archive"));
    job->bytes_read += number(summary, "bytes_read");
    job->bytes_stored += number(summary, "bytes_stored");
}

/* Returns the step's exit code. */
static int run(struct step *step, enum job_step which, struct error *err)
{
    struct words argv = {0};
    int rc = job_command(step->job, which, &argv, err);
    int code;

    progress_begin(&step->progress, step->job->options, stdout);
    if (!rc)
        rc = start(step, &argv, err);
    words_clear(&argv);
    if (rc) {
        progress_end(&step->progress);
        code = exit_code_of_error(err, false, signals_seen());
        job_say(step->job, step->name, "error", code, err->message);
        return code;
    }
    code = exit_code_of(step, attend(step));
    progress_end(&step->progress);
    note_summary(step->job, which, step->summary);
    return code;
}

void job_step_run(struct job *job, enum job_step which)
{
    struct step step = {.job = job,
                        .name = job_step_name(which),
                        .child = {.fd = -1},
                        .out = {.fd = -1},
                        .err = {.fd = -1}};
    struct error err = {0};
    int code = run(&step, which, &err);
    double seconds = progress_seconds(&step.progress);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:i, s:o, s:O}", "message_type", "step", "job",
                  job->section->name, "step", step.name, "exit_code", code, "seconds",
                  output_seconds(seconds), "summary", step.summary ? step.summary : json_null());

    if (job->options->json)
        output_json(stdout, json_incref(json));
    else if (step.summary && job_talks(job))
        job_report_step(job, which, step.summary, seconds);
    json_array_append_new(job->steps, json);
    if (code)
        job_failed(job, step.name, code);
    end_stream(&step.out);
    end_stream(&step.err);
    free(step.out.buf);
    free(step.err.buf);
    json_decref(step.summary);
}
