/* SPDX-License-Identifier: BSD-2-Clause */
/* Metrics of a job: which there are, and how a file takes the place of another. */
#include "cli/job_metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

char *job_metrics_path(const char *pattern, const char *job)
{
    char *path = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&path, &size);

    if (!out)
        return NULL;
    for (const char *at = pattern; *at; at++) {
        bool escape = *at == '%' && at[1];

        at += escape;
        if (escape && *at == 'j')
            fputs(job, out);
        else
            putc(*at, out);
    }
    if (fclose(out)) {
        free(path);
        return NULL;
    }
    return path;
}

char *job_metrics_text(const struct job *job, int64_t end, int64_t last_success)
{
    const struct {
        const char *name;
        const char *help;
        double value;
    } metrics[] = {
        {"last_run_timestamp_seconds", "When the job last ended.", (double)end},
        {"last_success_timestamp_seconds", "When it last ended with 0; 0: never.",
         (double)last_success},
        {"duration_seconds", "How long it took.", job->seconds},
        {"bytes_read", "Data bytes that its backup read from images.", (double)job->bytes_read},
        {"bytes_stored", "Bytes that its backup added to the repository.",
         (double)job->bytes_stored},
        {"exit_code", "What it exited with.", job->code},
    };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    /* The label is not "job", which Prometheus has for what it scrapes. */
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        fprintf(out,
                "# HELP byre_job_%s %s\n# TYPE byre_job_%s gauge\nbyre_job_%s{name=\"%s\"} %.14g\n",
                metrics[i].name, metrics[i].help, metrics[i].name, metrics[i].name,
                job->section->name, metrics[i].value);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}

int job_metrics_write(const char *path, const char *text, struct error *err)
{
    char *temporary = NULL;
    int fd;
    int rc = 0;

    /* The exporter takes files that end with .prom; this one does not. */
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
        return error_no_memory(err);
    fd = mkstemp(temporary);
    if (fd < 0) {
        rc = error_sys(err, errno, "%s: making it", temporary);
        free(temporary);
        return rc;
    }
    rc = io_write(fd, temporary, 0, text, strlen(text), err);
    if (!rc && (fchmod(fd, 0644) || fsync(fd)))
        rc = error_sys(err, errno, "%s: flushing", temporary);
    if (close(fd) && !rc)
        rc = error_sys(err, errno, "%s: closing", temporary);
    if (!rc && rename(temporary, path))
        rc = error_sys(err, errno, "%s: renaming to it", path);
    if (rc)
        unlink(temporary);
    free(temporary);
    return rc;
}
