/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One file of a chain: name, descriptor, lock, and whether it is still the same.
 * Knows no format.
 */
#include "qcow2/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "qcow2/lock.h"

bool source_same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
        return a->st_rdev == b->st_rdev;
    return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_dev == b->st_dev &&
           a->st_ino == b->st_ino;
}

char *source_resolve(const char *from, const char *name)
{
    char *path = NULL, *cwd = NULL;
    int n;

    if (*name == '/')
        return strdup(name);
    if (from) {
        const char *slash = strrchr(from, '/');

        n = asprintf(&path, "%.*s/%s", slash ? (int)(slash - from) : 1, slash ? from : ".", name);
    } else {
        if (!(cwd = getcwd(NULL, 0)))
            return NULL;
        n = asprintf(&path, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, name);
        free(cwd);
    }
    return n < 0 ? NULL : path;
}

bool source_has_protocol(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

static int check_followable(const char *path, const struct stat *st, struct error *err)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s: neither a regular file nor a block device", path);
}

static int device_size(int fd, const char *path, uint64_t *size, struct error *err)
{
    if (ioctl(fd, BLKGETSIZE64, size) < 0)
        return error_sys(err, errno, "%s: cannot get the size of the device", path);
    return 0;
}

int source_open(const char *path, int *fd, struct stat *st, struct error *err)
{
    int rc;

    *fd = -1;
    /* Before the open: opening some devices does something. */
    if (stat(path, st) < 0)
        return error_sys(err, errno, "%s: cannot open", path);
    if ((rc = check_followable(path, st, err)) < 0)
        return rc;
    /* What it is may have changed since; a FIFO must not make us wait. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return error_sys(err, errno, "%s: cannot open", path);
    if (fstat(*fd, st) < 0)
        return error_sys(err, errno, "%s: cannot stat", path);
    return check_followable(path, st, err);
}

int source_lock(const char *path, int fd, bool assume_stopped, bool *used_as_base, struct stat *st,
                uint64_t *size, char **real_path, struct error *err)
{
    bool device = S_ISBLK(st->st_mode);
    int rc;

    if ((rc = lock_for_reading(fd, path, used_as_base, err)) < 0)
        return rc;
    if (device && !assume_stopped && (rc = lock_probe_device(fd, path, err)) < 0)
        return rc;
    /* A power cut may take back dirty pages that we have read, and leave a time stamp that says
     * that nothing changed. */
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
        return error_sys(err, errno, "%s: cannot fsync", path);
    if (fstat(fd, st) < 0)
        return error_sys(err, errno, "%s: cannot stat", path);
    *size = (uint64_t)st->st_size;
    if (device && (rc = device_size(fd, path, size, err)) < 0)
        return rc;
    if (!(*real_path = realpath(path, NULL)))
        return error_sys(err, errno, "%s: cannot resolve the path", path);
    return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

int source_verify(const char *path, int fd, const struct stat *was, uint64_t was_size,
                  struct error *err)
{
    bool device = S_ISBLK(was->st_mode);
    uint64_t size;
    struct stat st;
    int rc;

    if (fstat(fd, &st) < 0)
        return error_sys(err, errno, "%s: cannot stat", path);
    size = (uint64_t)st.st_size;
    if (device && (rc = device_size(fd, path, &size, err)) < 0)
        return rc;
    if (size != was_size)
        return error_set(err, ERROR_CHANGED,
                         "%s: changed while it was read (from %" PRIu64 " to %" PRIu64 " bytes)",
                         path, was_size, size);
    if (!same_time(&st.st_mtim, &was->st_mtim))
        return error_set(err, ERROR_CHANGED, "%s: changed while it was read (mtime)", path);
    /* Who may open a device node changes with every session, and its ctime with that. */
    if (!device && !same_time(&st.st_ctim, &was->st_ctim))
        return error_set(err, ERROR_CHANGED, "%s: changed while it was read (ctime)", path);
    if (stat(path, &st) < 0)
        return error_set(err, ERROR_CHANGED, "%s: went away while it was read", path);
    if (!source_same_file(&st, was))
        return error_set(err, ERROR_CHANGED, "%s: replaced by another file while it was read",
                         path);
    return 0;
}
