/* SPDX-License-Identifier: BSD-2-Clause */
/* From the configuration to the commands of a job, as a person would type them. Starts none. */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/conf_key.h"
#include "cli/job.h"
#include "cli/option.h"
#include "engine/engine.h"
#include "engine/nbd_uri.h"

static const char *const step_names[JOB_STEPS] = {
    [JOB_BACKUP] = "backup", [JOB_FORGET] = "forget", [JOB_PRUNE] = "prune", [JOB_CHECK] = "check"};

const char *job_step_name(enum job_step step)
{
    return step_names[step];
}

static const char *text(const struct job *job, enum conf_key key)
{
    return conf_text(job->conf, job->section, key);
}

/* ---- what the options give, else the configuration ---- */

static const char *of_repository(const struct job *job, const char *option, enum conf_key key)
{
    if (option || !job->repository)
        return option;
    return conf_text(job->conf, job->repository, key);
}

const char *job_repository(const struct job *job)
{
    const char *path = of_repository(job, job->options->repo, CONF_PATH);

    return path ? path : getenv("BYRE_REPOSITORY");
}

const char *job_state_dir(const struct job *job)
{
    return of_repository(job, job->options->state_dir, CONF_STATE_DIR);
}

const char *job_archive_name(const struct job *job)
{
    const char *name = text(job, CONF_NAME);

    return name ? name : job->section->name;
}

/* One secret: that of the options, in the order in which byre takes them, else the
 * configuration's. */
static const char *secret(const struct job *job, enum conf_key key)
{
    const struct global_options *o = job->options;

    if (o->key_file || o->password_file || o->password_command)
        return key == CONF_KEY_FILE                                ? o->key_file
               : o->key_file                                       ? NULL
               : key == CONF_PASSWORD_FILE                         ? o->password_file
               : key == CONF_PASSWORD_COMMAND && !o->password_file ? o->password_command
                                                                   : NULL;
    return job->repository ? conf_text(job->conf, job->repository, key) : NULL;
}

const char *job_password_command(const struct job *job)
{
    return secret(job, CONF_PASSWORD_COMMAND);
}

/* ---- steps ---- */

bool job_has_step(const struct job *job, enum job_step step)
{
    const char *check = text(job, CONF_CHECK);

    switch (step) {
    case JOB_BACKUP:
        return conf_saves(job->section);
    case JOB_FORGET:
        for (unsigned key = CONF_KEEP_LAST; key <= CONF_KEEP_TAG; key++) {
            if (conf_value(job->conf, job->section, key)->count)
                return true;
        }
        return false;
    case JOB_PRUNE:
        return conf_flag(job->conf, job->section, CONF_PRUNE);
    default:
        return check && strcmp(check, "no") != 0;
    }
}

/* --OPTION=VALUE, unless there is no value. */
static int add(struct words *argv, const char *option, const char *value, struct error *err)
{
    return value ? words_add(argv, err, "--%s=%s", option, value) : 0;
}

/* The same for each item of ${key}, of which ${option} is the singular. */
static int add_each(const struct job *job, struct words *argv, const char *option,
                    enum conf_key key, struct error *err)
{
    const struct conf_value *value = conf_value(job->conf, job->section, key);
    int rc = 0;

    for (size_t i = 0; !rc && i < value->count; i++)
        rc = add(argv, option, value->items[i], err);
    return rc;
}

static int add_globals(const struct job *job, struct words *argv, struct error *err)
{
    const struct global_options *o = job->options;
    const struct {
        const char *option;
        const char *value;
    } values[] = {
        {"repo", of_repository(job, o->repo, CONF_PATH)},
        {"key-file", secret(job, CONF_KEY_FILE)},
        {"password-file", secret(job, CONF_PASSWORD_FILE)},
        {"cache-dir", of_repository(job, o->cache_dir, CONF_CACHE_DIR)},
        {"state-dir", of_repository(job, o->state_dir, CONF_STATE_DIR)},
        {"threads", o->threads},
        {"rate-limit", o->rate_limit ? o->rate_limit : text(job, CONF_RATE_LIMIT)},
    };
    int rc = words_add(argv, err, "byre");

    for (size_t i = 0; !rc && i < sizeof values / sizeof values[0]; i++)
        rc = add(argv, values[i].option, values[i].value, err);
    return rc;
}

static bool has_word(const struct words *words, size_t from, const char *word)
{
    for (size_t i = from; i < words->count; i++) {
        if (strcmp(words->items[i], word) == 0)
            return true;
    }
    return false;
}

/* Adds the files that ${pattern} matches, in the order of their names, but for those from ${first}
 * on, which are there. What names an export matches itself. */
static int add_matches(const struct job *job, const char *pattern, size_t first, struct words *argv,
                       struct error *err)
{
    struct error reason = {0};
    glob_t found = {0};
    int rc;

    if (nbd_uri_is(pattern))
        return has_word(argv, first, pattern) ? 0 : words_add(argv, err, "%s", pattern);
    rc = glob(pattern, GLOB_ERR, NULL, &found);

    if (rc == GLOB_NOMATCH)
        error_set(&reason, ERROR_NOT_FOUND, "nothing matches \"%s\"", pattern);
    else if (rc == GLOB_NOSPACE)
        error_no_memory(&reason);
    else if (rc)
        error_sys(&reason, errno, "\"%s\"", pattern);
    if (rc) {
        conf_wrong(job->conf, job->section, CONF_IMAGES, err, reason.message);
        return err->code = reason.code;
    }
    for (size_t i = 0; !rc && i < found.gl_pathc; i++) {
        if (!has_word(argv, first, found.gl_pathv[i]))
            rc = words_add(argv, err, "%s", found.gl_pathv[i]);
    }
    globfree(&found);
    return rc;
}

/* A running machine, where the job has one instead of images. */
static int add_machine(const struct job *job, struct words *argv, struct error *err)
{
    bool domain = job->section->values[CONF_DOMAIN].count;
    int rc = 0;

    if (!domain && !job->section->values[CONF_QMP].count)
        return 0;
    rc = add(argv, "domain", domain ? text(job, CONF_DOMAIN) : NULL, err);
    if (!rc && domain)
        rc = add(argv, "connect", text(job, CONF_CONNECT), err);
    if (!rc)
        rc = add(argv, "qmp", text(job, CONF_QMP), err);
    if (!rc)
        rc = add_each(job, argv, "disk", CONF_DISKS, err);
    if (!rc)
        rc = add(argv, "overlay-dir", text(job, CONF_OVERLAY_DIR), err);
    if (!rc && conf_flag(job->conf, job->section, CONF_QUIESCE))
        rc = words_add(argv, err, "--quiesce");
    return rc;
}

static int add_backup(const struct job *job, struct words *argv, struct error *err)
{
    const struct conf_value *images = conf_value(job->conf, job->section, CONF_IMAGES);
    size_t first;
    int rc = add(argv, "name", job_archive_name(job), err);

    if (!rc)
        rc = add_each(job, argv, "tag", CONF_TAGS, err);
    if (!rc)
        rc = add_each(job, argv, "with", CONF_WITH, err);
    /* Where there is a monitor, there is no need to ask for bitmaps, and it is an error. */
    if (!rc && conf_flag(job->conf, job->section, CONF_BITMAP) && !text(job, CONF_QMP))
        rc = words_add(argv, err, "--bitmap");
    if (!rc)
        rc = add(argv, "compression", text(job, CONF_COMPRESSION), err);
    if (!rc)
        rc = add_machine(job, argv, err);
    first = argv->count;
    for (size_t i = 0; !rc && i < images->count; i++)
        rc = add_matches(job, images->items[i], first, argv, err);
    return rc;
}

static int add_forget(const struct job *job, struct words *argv, struct error *err)
{
    int rc = add(argv, "name", job_archive_name(job), err);

    /* These keys are called as the options are. */
    for (unsigned key = CONF_KEEP_LAST; !rc && key <= CONF_KEEP_TAG; key++)
        rc = add_each(job, argv, conf_key_name(key), key, err);
    return rc;
}

static int add_check(const struct job *job, struct words *argv, struct error *err)
{
    const char *check = text(job, CONF_CHECK);

    return add(argv, "read-data", strcmp(check, "yes") == 0 ? NULL : check, err);
}

int job_command(const struct job *job, enum job_step step, struct words *argv, struct error *err)
{
    int rc = add_globals(job, argv, err);

    if (!rc)
        rc = words_add(argv, err, "%s", step_names[step]);
    if (rc)
        return rc;
    switch (step) {
    case JOB_BACKUP:
        return add_backup(job, argv, err);
    case JOB_FORGET:
        return add_forget(job, argv, err);
    case JOB_CHECK:
        return add_check(job, argv, err);
    default:
        return 0;
    }
}

/* ---- priorities ---- */

int job_nice(const struct job *job)
{
    const char *value = text(job, CONF_NICE);
    long number = 0;

    if (value)
        option_number("", value, 0, INT_MAX, &number, NULL);
    return (int)number;
}

int job_ionice(const struct job *job)
{
    const char *value = text(job, CONF_IONICE);
    int priority = -1;

    if (value)
        conf_key_ionice("", value, &priority, NULL);
    return priority;
}

int job_command_priority(const struct job *job, struct words *words, struct error *err)
{
    const char *ionice = text(job, CONF_IONICE);
    const char *level = ionice ? strchr(ionice, ':') : NULL;
    int rc = 0;

    if (job_nice(job))
        rc = words_add(words, err, "nice");
    if (!rc && job_nice(job))
        rc = words_add(words, err, "-n%d", job_nice(job));
    if (!rc && ionice)
        rc = words_add(words, err, "ionice");
    if (!rc && ionice)
        rc = words_add(words, err, strcmp(ionice, "idle") == 0 ? "-c3" : "-c2");
    if (!rc && level)
        rc = words_add(words, err, "-n%s", level + 1);
    return rc;
}

/* ---- environments ---- */

int job_environment(const struct job *job, struct words *environment, struct error *err)
{
    /* They would win over the command, or over the file that it is read from. */
    static const char *const others[] = {"BYRE_PASSWORD", "BYRE_PASSWORD_FILE", "BYRE_KEY_FILE",
                                         "BYRE_PASSWORD_COMMAND"};
    const char *command = job_password_command(job);
    size_t count = command ? sizeof others / sizeof others[0] : 0;
    int rc = words_add_environment(environment, environ, others, count, err);

    if (!rc && command)
        rc = words_add(environment, err, "BYRE_PASSWORD_COMMAND=%s", command);
    return rc;
}

int job_hook_environment(const struct job *job, struct words *environment, struct error *err)
{
    static const char *const others[] = {"BYRE_PASSWORD", "BYRE_FROM_PASSWORD", "BYRE_REPOSITORY",
                                         "BYRE_JOB",      "BYRE_NAME",          "BYRE_ARCHIVE",
                                         "BYRE_EXIT",     "BYRE_FAILED_STEP"};
    const char *repository = job_repository(job);
    int rc =
        words_add_environment(environment, environ, others, sizeof others / sizeof others[0], err);

    if (!rc)
        rc = words_add(environment, err, "BYRE_JOB=%s", job->section->name);
    if (!rc)
        rc = words_add(environment, err, "BYRE_NAME=%s", job_archive_name(job));
    if (!rc && repository)
        rc = words_add(environment, err, "BYRE_REPOSITORY=%s", repository);
    if (!rc)
        rc = words_add(environment, err, "BYRE_ARCHIVE=%s", job->archive);
    if (!rc)
        rc = words_add(environment, err, "BYRE_EXIT=%d", job->code);
    if (!rc)
        rc = words_add(environment, err, "BYRE_FAILED_STEP=%s", job->failed ? job->failed : "");
    return rc;
}
