/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_JOB_LOCK_H
#define BYRE_CLI_JOB_LOCK_H

#include <stdint.h>

#include "base/error.h"

/*
 * A file for each job in the state folder. Who holds its lock runs the job; the
 * kernel lets go of it when that process is no more. It also keeps when the job
 * last ended well.
 */

/* Takes the lock of the job ${name} below ${state_dir}, which is made where it is not there. Sets
 * ${*fd}, for the caller to close. ERROR_CONFLICT: the job is running. */
int job_lock_take(const char *state_dir, const char *name, int *fd, struct error *err);

/* Unix seconds; 0: it never did. */
int64_t job_lock_last_success(int fd);
int job_lock_set_success(int fd, int64_t time, struct error *err);

#endif
