/* SPDX-License-Identifier: BSD-2-Clause */
/* A job from its lock to its report: the order of steps and hooks, and what follows from a failure.
 * How a step is run is job_step.c's, which command it is job_command.c's. */
#include "cli/job.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/directories.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/job_lock.h"
#include "cli/job_metrics.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/signals.h"

void job_init(struct job *job, const struct global_options *options, const struct conf *conf,
              const struct conf_section *section)
{
    const char *repository = conf_text(conf, section, CONF_IN_REPOSITORY);

    *job = (struct job){
        .options = options,
        .conf = conf,
        .section = section,
        .repository = repository ? conf_find(conf, CONF_REPOSITORY, repository) : NULL,
        .steps = json_array(),
        .messages = json_array(),
    };
}

void job_clear(struct job *job)
{
    json_decref(job->steps);
    json_decref(job->messages);
}

static double monotonic(void)
{
    struct timespec ts = {0};

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Being stopped counts, whatever became of the step or hook that it happened in. */
static void note_signal(struct job *job, const char *step)
{
    if (!signals_seen() || job->code == EXIT_CODE_SIGNAL + signals_seen())
        return;
    if (!job->failed)
        job->failed = step;
    job->code = EXIT_CODE_SIGNAL + signals_seen();
}

static void run_steps(struct job *job)
{
    job_hook_run(job, CONF_HOOK_BEFORE);
    note_signal(job, conf_key_name(CONF_HOOK_BEFORE));
    /* What comes later relies on what comes before: nothing is forgotten where nothing was saved,
     * and nothing is freed where something is wrong. */
    for (unsigned step = 0; step < JOB_STEPS && !job->failed; step++) {
        if (!job_has_step(job, step))
            continue;
        job_step_run(job, step);
        note_signal(job, job_step_name(step));
    }
}

static void write_metrics(struct job *job, int lock)
{
    const char *name = conf_key_name(CONF_METRICS_FILE);
    const char *pattern = conf_text(job->conf, job->section, CONF_METRICS_FILE);
    int64_t end = time(NULL);
    struct error err = {0};
    char *path = NULL;
    char *text = NULL;
    int rc = 0;

    if (!job->failed)
        rc = job_lock_set_success(lock, end, &err);
    if (!rc && pattern) {
        path = job_metrics_path(pattern, job->section->name);
        text = job_metrics_text(job, end, job_lock_last_success(lock));
        rc = path && text ? job_metrics_write(path, text, &err) : error_no_memory(&err);
    }
    if (rc) {
        job_say(job, name, "error", EXIT_CODE_FAILED, err.message);
        job_failed(job, name, EXIT_CODE_FAILED);
    }
    free(path);
    free(text);
}

/* With the lock. */
static void run(struct job *job, int lock)
{
    double begin = monotonic();

    job->started = time(NULL);
    run_steps(job);
    job->seconds = monotonic() - begin;
    /* In any case, for it may have to undo what the first has done, or half of it. */
    job_hook_run(job, CONF_HOOK_AFTER);
    note_signal(job, conf_key_name(CONF_HOOK_AFTER));
    job->seconds = monotonic() - begin;
    write_metrics(job, lock);
    if (job->failed) {
        message_error(job->code, "job %s: failed (%s), exit status %d", job->section->name,
                      job->failed, job->code);
        job_hook_run(job, CONF_HOOK_FAILURE);
    }
}

/* Where the lock is. */
static int state_dir(const struct job *job, char **path, struct error *err)
{
    int rc = directories_state(job_state_dir(job), path, err);

    if (!rc && !*path)
        rc = error_set(err, ERROR_USAGE, "there is no place for the job's lock: give --state-dir");
    return rc;
}

int job_run(struct job *job)
{
    struct error err = {0};
    char *state = NULL;
    int lock = -1;

    if (!job->steps || !job->messages) {
        error_no_memory(&err);
        job->code = fail_error(&err);
    } else if (state_dir(job, &state, &err) ||
               job_lock_take(state, job->section->name, &lock, &err)) {
        job->code = exit_code_of_error(&err, false, signals_seen());
        job_say(job, "lock", "error", job->code, err.message);
        job_failed(job, "lock", job->code);
    } else {
        run(job, lock);
    }
    if (job->options->json)
        output_json(stdout, job_report(job, false)); /* the steps have told of themselves */
    if (lock >= 0)
        close(lock);
    free(state);
    return job->code;
}

/* ---- what would be done ---- */

static int show_line(const struct words *words)
{
    char *line = words_quoted(words);

    if (line)
        printf("%s\n", line);
    free(line);
    return line ? 0 : ERROR_NO_MEMORY;
}

static int show_hook(const struct job *job, enum conf_key hook, json_t *json, struct error *err)
{
    const char *text = conf_text(job->conf, job->section, hook);
    struct words words = {0};
    int rc = 0;

    if (!text)
        return 0;
    json_object_set_new(json, conf_key_name(hook), output_string(text));
    if (!job->options->json) {
        printf("# %s\n", conf_key_name(hook));
        rc = words_add(&words, err, "/bin/sh");
        if (!rc)
            rc = words_add(&words, err, "-c");
        if (!rc)
            rc = words_add(&words, err, "%s", text);
        if (!rc)
            rc = show_line(&words);
    }
    words_clear(&words);
    return rc;
}

static int show_step(const struct job *job, enum job_step step, json_t *steps, struct error *err)
{
    struct words words = {0};
    int rc = job_command_priority(job, &words, err);
    size_t own = words.count;
    json_t *argv = json_array();

    if (!rc)
        rc = job_command(job, step, &words, err);
    for (size_t i = own; !rc && i < words.count; i++)
        json_array_append_new(argv, output_string(words.items[i]));
    if (!rc && job->options->json) {
        json_array_append_new(steps,
                              json_pack("{s:s, s:O}", "step", job_step_name(step), "argv", argv));
    } else if (!rc) {
        printf("# %s\n", job_step_name(step));
        rc = show_line(&words);
    }
    json_decref(argv);
    words_clear(&words);
    return rc;
}

int job_show(struct job *job)
{
    bool json = job->options->json;
    json_t *all = json_pack("{s:s, s:s, s:b}", "message_type", "job", "job", job->section->name,
                            "dry_run", 1);
    struct error err = {0};
    int rc = 0;

    if (!json)
        printf("# job %s, %s:%u\n", job->section->name, job->conf->path, job->section->line);
    /* The command is not shown, for it may hold a secret, and this may end up in a log. */
    if (!json && job_password_command(job))
        printf("# BYRE_PASSWORD_COMMAND is set to the password command\n");
    rc = show_hook(job, CONF_HOOK_BEFORE, all, &err);
    for (unsigned step = 0; step < JOB_STEPS && !rc; step++) {
        if (job_has_step(job, step))
            rc = show_step(job, step, job->steps, &err);
    }
    if (!rc)
        rc = show_hook(job, CONF_HOOK_AFTER, all, &err);
    if (!rc)
        rc = show_hook(job, CONF_HOOK_FAILURE, all, &err);
    if (rc) {
        job->code = exit_code_of_error(&err, false, signals_seen());
        job_say(job, "dry-run", "error", job->code, err.message);
    }
    json_object_set_new(all, "exit_code", json_integer(job->code));
    json_object_set(all, "steps", job->steps);
    if (json)
        output_json(stdout, all);
    else
        json_decref(all);
    return job->code;
}
