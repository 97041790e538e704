/* SPDX-License-Identifier: BSD-2-Clause */
/* Files on their way to their final names. */
#include "engine/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "chunkstore.h"
#include "engine/path.h"
#include "qcow2/lock.h"

int target_check(const char *path, bool force, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : error_sys(err, errno, "%s", path);
    if (S_ISDIR(st.st_mode))
        return error_set(err, ERROR_EXISTS, "%s: there is a folder of this name", path);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return error_set(err, ERROR_EXISTS, "%s: is no regular file, and is not replaced by one",
                         path);
    if (S_ISREG(st.st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int rc = fd < 0 ? error_sys(err, errno, "%s", path) : lock_probe_unused(fd, path, err);
        if (fd >= 0)
            close(fd);
        if (rc < 0)
            return rc;
    }
    if (!force)
        return error_set(err, ERROR_EXISTS, "%s: exists already; --force replaces it", path);
    return 0;
}

int target_make_folders(const char *path, struct error *err)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return error_no_memory(err);
    int rc = 0;
    for (char *p = strchr(copy + 1, '/'); rc == 0 && p != NULL; p = strchr(p + 1, '/')) {
        *p = 0;
        if (mkdir(copy, 0777) < 0 && errno != EEXIST)
            rc = error_sys(err, errno, "%s: making the folder", copy);
        *p = '/';
    }
    free(copy);
    return rc;
}

/* Looks whether ${path} may be written, and what is there. */
static int begin(struct target *t, const char *path, bool force, struct error *err)
{
    struct stat st;
    *t = (struct target){.fd = -1};
    int rc = target_check(path, force, err);
    if (rc == 0)
        rc = target_make_folders(path, err);
    if (rc < 0)
        return rc;
    t->replaces = force && lstat(path, &st) == 0;
    t->path = strdup(path);
    return t->path == NULL ? error_no_memory(err) : 0;
}

int target_open(struct target *t, const char *path, bool force, struct error *err)
{
    char random[17];
    int rc = begin(t, path, force, err);
    if (rc < 0)
        return rc;
    cs_random_hex(random, sizeof random - 1);
    if (asprintf(&t->temporary, "%s.byre-%s", path, random) < 0) {
        t->temporary = NULL;
        return error_no_memory(err);
    }
    t->fd = open(t->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (t->fd < 0) {
        rc = error_sys(err, errno, "%s", t->temporary);
        free(t->temporary);
        t->temporary = NULL;
    }
    return rc;
}

int target_open_aside(struct target *t, const char *path, bool force, struct error *err)
{
    char random[17];
    char *folder = NULL;
    int rc = begin(t, path, force, err);
    if (rc < 0)
        return rc;
    cs_random_hex(random, sizeof random - 1);
    if (asprintf(&folder, "%s.byre-%s", path, random) < 0)
        return error_no_memory(err);
    if (mkdir(folder, 0700) < 0) {
        rc = error_sys(err, errno, "%s: making the folder", folder);
        free(folder);
        return rc;
    }
    t->folder = folder;
    t->temporary = path_join(folder, path_base(path));
    return t->temporary == NULL ? error_no_memory(err) : 0;
}

int target_take(struct target *t, struct error *err)
{
    t->fd = open(t->temporary, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    return t->fd < 0 ? error_sys(err, errno, "%s", t->temporary) : 0;
}

/* A device that holds something is not overwritten by a slip of the finger. */
static int require_blank(const struct target *t, uint64_t size, struct error *err)
{
    enum { LOOK = 1 << 20 };
    size_t got = 0;
    uint8_t *buf = malloc(LOOK);
    if (buf == NULL)
        return error_no_memory(err);
    int rc = io_read_some(t->fd, t->path, 0, buf, size < LOOK ? (size_t)size : LOOK, &got, err);
    if (rc == 0 && !io_is_zero(buf, got))
        rc = error_set(err, ERROR_EXISTS, "%s: the device holds something; --force overwrites it",
                       t->path);
    free(buf);
    return rc;
}

int target_open_device(struct target *t, const char *path, uint64_t size, bool force,
                       struct error *err)
{
    uint64_t capacity = 0;
    *t = (struct target){.fd = -1, .is_device = true, .placed = true, .replaces = true};
    t->path = strdup(path);
    if (t->path == NULL)
        return error_no_memory(err);
    /* without O_CREAT, O_EXCL asks for a device that nobody has mounted or claimed */
    t->fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
    if (t->fd < 0)
        return errno == EBUSY ? error_set(err, ERROR_IN_USE, "%s: the device is in use", path)
                              : error_sys(err, errno, "%s", path);
    if (ioctl(t->fd, BLKGETSIZE64, &capacity) < 0)
        return error_sys(err, errno, "%s: asking for its size", path);
    if (capacity < size)
        return error_set(err, ERROR_NO_SPACE, "%s: has %llu bytes, the disk needs %llu", path,
                         (unsigned long long)capacity, (unsigned long long)size);
    int rc = lock_probe_unused(t->fd, path, err);
    return rc == 0 && !force ? require_blank(t, capacity, err) : rc;
}

int target_seal(struct target *t, const struct target_attributes *a, struct error *err)
{
    if (!t->is_device) {
        mode_t mode = S_ISREG(a->mode) ? a->mode & 07777 : 0600;
        struct timespec times[2] = {
            {.tv_nsec = UTIME_OMIT},
            {.tv_sec = a->mtime_ns / 1000000000, .tv_nsec = a->mtime_ns % 1000000000},
        };
        if (times[1].tv_nsec < 0) {
            times[1].tv_sec--;
            times[1].tv_nsec += 1000000000;
        }
        if (a->allocate > 0 && fallocate(t->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)a->allocate) < 0 &&
            errno != EOPNOTSUPP)
            return error_sys(err, errno, "%s: allocating it", t->path);
        if (geteuid() == 0 && fchown(t->fd, a->uid, a->gid) < 0)
            return error_sys(err, errno, "%s: setting its owner", t->path);
        if (fchmod(t->fd, mode) < 0 || futimens(t->fd, times) < 0)
            return error_sys(err, errno, "%s: setting its mode and time", t->path);
    }
    if (fsync(t->fd) < 0)
        return error_sys(err, errno, "%s: flushing", t->path);
    return 0;
}

static void remove_folder(struct target *t)
{
    if (t->folder != NULL)
        rmdir(t->folder);
    free(t->folder);
    t->folder = NULL;
}

int target_place(struct target *t, struct error *err)
{
    if (t->placed)
        return 0;
    int failed;
    if (t->replaces) {
        int rc = target_check(t->path, true, err); /* a machine may have begun to use it */
        if (rc < 0)
            return rc;
        failed = rename(t->temporary, t->path);
    } else {
        failed = renameat2(AT_FDCWD, t->temporary, AT_FDCWD, t->path, RENAME_NOREPLACE);
        if (failed < 0 && (errno == EINVAL || errno == ENOSYS)) {
            failed = link(t->temporary, t->path);
            if (failed == 0)
                unlink(t->temporary);
        }
    }
    if (failed < 0)
        return error_sys(err, errno, "%s", t->path);
    t->placed = true;
    free(t->temporary);
    t->temporary = NULL;
    remove_folder(t);
    return io_sync_folder_of(t->path, err);
}

void target_unplace(struct target *t)
{
    if (t->placed && !t->replaces)
        unlink(t->path);
}

void target_clear(struct target *t)
{
    if (t->fd >= 0)
        close(t->fd);
    if (t->temporary != NULL)
        unlink(t->temporary);
    free(t->temporary);
    remove_folder(t);
    free(t->path);
    *t = (struct target){.fd = -1};
}
