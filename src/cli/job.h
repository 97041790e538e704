/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_JOB_H
#define BYRE_CLI_JOB_H

#include <jansson.h>

#include "base/words.h"
#include "chunkstore.h"
#include "cli/command.h"
#include "cli/conf.h"

/*
 * One job of the configuration. Its steps are byre's own commands, each a
 * process: what a step does is what the manual says of the command, and its
 * memory and its secrets go with it.
 */

enum job_step { JOB_BACKUP, JOB_FORGET, JOB_PRUNE, JOB_CHECK, JOB_STEPS };

struct job {
    const struct global_options *options; /* win over the configuration */
    const struct conf *conf;
    const struct conf_section *section;
    const struct conf_section *repository; /* NULL: that of the options, or of the environment */

    int64_t started;         /* Unix seconds */
    double seconds;          /* that it took */
    int code;                /* what the job exits with */
    const char *failed;      /* the step or hook that failed first, or NULL */
    char archive[CS_ID_HEX]; /* that was saved, or "" */
    uint64_t bytes_read;
    uint64_t bytes_stored;
    json_t *steps;    /* an array of what each has to say of itself */
    json_t *messages; /* an array of errors and warnings */
};

/* Lends the arguments to ${job}. */
void job_init(struct job *job, const struct global_options *options, const struct conf *conf,
              const struct conf_section *section);
void job_clear(struct job *job);

/* ---- job.c ---- */

/* Runs it with its hooks, and tells of it. Returns ${job->code}. */
int job_run(struct job *job);

/* Shows what job_run would do. */
int job_show(struct job *job);

/* ---- job_command.c: from the configuration to commands ---- */

const char *job_step_name(enum job_step step);

/* Whether ${step} is among what the job does. */
bool job_has_step(const struct job *job, enum job_step step);

/* The words of the command that ${step} is, from "byre" on. The images are looked up now. */
int job_command(const struct job *job, enum job_step step, struct words *argv, struct error *err);

/* The words that set its priorities, for a person to type: nothing, or "nice", "-n", ... */
int job_command_priority(const struct job *job, struct words *words, struct error *err);

int job_nice(const struct job *job);
int job_ionice(const struct job *job); /* as ioprio_set takes it; -1: none */

/* The environment of a step. */
int job_environment(const struct job *job, struct words *environment, struct error *err);

/* That of a hook, which is told of the job, and of none of its secrets. */
int job_hook_environment(const struct job *job, struct words *environment, struct error *err);

/* The passphrase command that the steps get by their environment; NULL: none. */
const char *job_password_command(const struct job *job);

/* --state-dir, else the configuration's, else NULL. */
const char *job_state_dir(const struct job *job);

/* The repository's path; NULL: none is known. */
const char *job_repository(const struct job *job);

/* The archive's name. */
const char *job_archive_name(const struct job *job);

/* ---- job_step.c, job_hook.c: processes. They say what failed, and note it in ${job}. ---- */

void job_step_run(struct job *job, enum job_step step);
void job_hook_run(struct job *job, enum conf_key hook);

/* ---- job_report.c: what became of it ---- */

/* Notes ${message} of ${step} and says it: "error" with ${code}, "warning" or "note". */
void job_say(struct job *job, const char *step, const char *type, int code, const char *message);

/* Notes that ${step} failed with ${code}, the first one counts. */
void job_failed(struct job *job, const char *step, int code);

/* Whether to print what went well: to a terminal, or with -v. */
bool job_talks(const struct job *job);

/* Prints what the summary of ${step} says. */
void job_report_step(const struct job *job, enum job_step step, const json_t *summary,
                     double seconds);

/* All of it, with its ${steps} or without, a new reference; NULL: no memory. */
json_t *job_report(const struct job *job, bool steps);

#endif
