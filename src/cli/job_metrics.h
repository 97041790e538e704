/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_JOB_METRICS_H
#define BYRE_CLI_JOB_METRICS_H

#include "cli/job.h"

/* A text file for Prometheus (the text collector of its node exporter). */

/* ${pattern} with the job's name for %j, and % for %%; for the caller to free. NULL: no memory. */
char *job_metrics_path(const char *pattern, const char *job);

/* The text for a job that ended at ${end} (Unix seconds), and last ended well at ${last_success}
 * (0: never); for the caller to free. NULL: no memory. */
char *job_metrics_text(const struct job *job, int64_t end, int64_t last_success);

/* Writes ${text} to ${path}: whoever looks sees what was there before, or all of it. */
int job_metrics_write(const char *path, const char *text, struct error *err);

#endif
