/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of jobs. The file stays: to delete it would let two have different files of one name. */
#include "cli/job_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the folder ${path} and those above it. */
static int make_folders(char *path, struct error *err)
{
    for (char *at = path + 1;; at++) {
        char c = *at;

        if (c && c != '/')
            continue;
        *at = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            return error_sys(err, errno, "%s: making the folder", path);
        *at = c;
        if (!c)
            return 0;
    }
}

int job_lock_take(const char *state_dir, const char *name, int *fd, struct error *err)
{
    char folder[PATH_MAX];
    char path[PATH_MAX + 64];
    int rc;

    if (snprintf(folder, sizeof folder, "%s/jobs", state_dir) >= (int)sizeof folder)
        return error_sys(err, ENAMETOOLONG, "%s", state_dir);
    snprintf(path, sizeof path, "%s/%.49s", folder, name);
    rc = make_folders(folder, err);
    if (rc)
        return rc;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return error_sys(err, errno, "%s: opening", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    rc = errno == EWOULDBLOCK
             ? error_set(err, ERROR_CONFLICT, "it is running already (%s is locked)", path)
             : error_sys(err, errno, "%s: locking", path);
    close(*fd);
    *fd = -1;
    return rc;
}

int64_t job_lock_last_success(int fd)
{
    char text[32] = {0};
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    long long time = got > 0 ? strtoll(text, NULL, 10) : 0;

    return time > 0 ? time : 0;
}

int job_lock_set_success(int fd, int64_t time, struct error *err)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%020" PRId64 "\n", time); /* as long as the one before */

    if (pwrite(fd, text, (size_t)len, 0) != len)
        return error_sys(err, errno, "noting when the job ended well");
    return 0;
}
