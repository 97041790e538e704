/* SPDX-License-Identifier: BSD-2-Clause */
/* What a job says while it runs and in the end: for people, for programs, for hooks. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/job.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/units.h"

enum { MESSAGES_MAX = 200, SHORT_ID = 8 };

void job_say(struct job *job, const char *step, const char *type, int code, const char *message)
{
    const char *name = job->section->name;

    if (strcmp(type, "note") == 0) {
        message_note("job %s: %s: %s", name, step, message);
        return;
    }
    if (strcmp(type, "error") == 0)
        message_error(code, "job %s: %s: %s", name, step, message);
    else
        message_warning("job %s: %s: %s", name, step, message);
    if (json_array_size(job->messages) < MESSAGES_MAX)
        json_array_append_new(job->messages,
                              json_pack("{s:s, s:s, s:o}", "step", step, "message_type",
                                        strcmp(type, "error") == 0 ? "error" : "warning", "message",
                                        output_string(message)));
}

void job_failed(struct job *job, const char *step, int code)
{
    if (job->failed)
        return;
    job->failed = step;
    job->code = code;
}

bool job_talks(const struct job *job)
{
    const struct global_options *options = job->options;

    return !options->json && (options->verbose || (!options->quiet && isatty(STDOUT_FILENO)));
}

static uint64_t number(const json_t *summary, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(summary, name));

    return value > 0 ? (uint64_t)value : 0;
}

static size_t length(const json_t *summary, const char *name)
{
    return json_array_size(json_object_get(summary, name));
}

void job_report_step(const struct job *job, enum job_step step, const json_t *summary,
                     double seconds)
{
    char a[UNITS_TEXT];
    char b[UNITS_TEXT];
    char duration[UNITS_TEXT];
    uint64_t before = number(summary, "bytes_before");
    uint64_t after = number(summary, "bytes_after");

    printf("job %s: %s: ", job->section->name, job_step_name(step));
    switch (step) {
    case JOB_BACKUP:
        printf("archive %.*s saved, %s read, %s stored", SHORT_ID, job->archive,
               units_size(job->bytes_read, a), units_size(job->bytes_stored, b));
        break;
    case JOB_FORGET:
        printf("%zu forgotten, %zu kept", length(summary, "forgotten"), length(summary, "kept"));
        break;
    case JOB_PRUNE:
        printf("%s freed, %s left", units_size(before > after ? before - after : 0, a),
               units_size(after, b));
        break;
    default:
        printf("%llu errors, %s read", (unsigned long long)number(summary, "errors"),
               units_size(number(summary, "bytes_checked"), a));
    }
    printf(", %s\n", units_duration(seconds, duration));
    fflush(stdout);
}

json_t *job_report(const struct job *job, bool steps)
{
    char time[UNITS_TEXT];
    json_t *json = json_pack("{s:s}", "message_type", "job");

    json_object_set_new(json, "job", output_string(job->section->name));
    json_object_set_new(json, "name", output_string(job_archive_name(job)));
    json_object_set_new(json, "repository", output_string(job_repository(job)));
    json_object_set_new(json, "started", json_string(units_utc_time(job->started, time)));
    json_object_set_new(json, "seconds", output_seconds(job->seconds));
    json_object_set_new(json, "exit_code", json_integer(job->code));
    json_object_set_new(json, "failed_step", output_string(job->failed));
    json_object_set_new(json, "archive", output_string(*job->archive ? job->archive : NULL));
    json_object_set_new(json, "bytes_read", output_size(job->bytes_read));
    json_object_set_new(json, "bytes_stored", output_size(job->bytes_stored));
    json_object_set(json, "messages", job->messages);
    if (steps)
        json_object_set(json, "steps", job->steps);
    return json;
}
