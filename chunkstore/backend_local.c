/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A repository in a local folder. Files are written under tmp/, flushed, and
 * linked to their names, which fails where the name is taken. An fsync that
 * failed is never tried again on the same descriptor. Whoever writes first
 * deletes what was left under tmp/ long ago.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backend.h"
#include "crypt.h"
#include "flush.h"
#include "open_files.h"

enum {
    NAME_MAX_LEN = 64,
    LEFT_BEHIND = 24 * 3600, /* seconds */
    FLUSH_AHEAD = 8 << 20,   /* bytes */
};

struct local {
    struct cs_backend base;
    char *path;
    int root; /* descriptor of the folder */
    struct cs_open_files open;
    bool swept; /* tmp/, of what others have left */
};

struct cs_put {
    struct local *local;
    int fd;
    off_t written;
    off_t flushing; /* of them the kernel has been told to write out */
    struct cs_flush flush;
    char name[NAME_MAX_LEN];
    char temporary[NAME_MAX_LEN];
};

static struct local *local_of(struct cs_backend *backend)
{
    return (struct local *)backend;
}

static int local_read(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                      size_t len, size_t *got, struct cs_error *err)
{
    struct local *local = local_of(backend);
    struct cs_open_file *file = NULL;
    int fd = -1;
    int rc = cs_open_files_get(&local->open, local->root, local->path, name, &file, &fd, err);
    if (rc < 0)
        return rc;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = cs_fail_sys(err, errno, "%s/%s: reading at %" PRIu64, local->path, name,
                             offset + done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    cs_open_files_put(&local->open, file, fd);
    return rc;
}

static int local_size(struct cs_backend *backend, const char *name, uint64_t *size,
                      struct cs_error *err)
{
    struct local *local = local_of(backend);
    struct stat st;
    if (fstatat(local->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cs_fail_sys(err, errno, "%s/%s", local->path, name);
    if (!S_ISREG(st.st_mode))
        return cs_fail(err, CS_CORRUPT, "%s/%s: not a regular file", local->path, name);
    *size = (uint64_t)st.st_size;
    return 0;
}

static int local_modified(struct cs_backend *backend, const char *name, int64_t *seconds,
                          struct cs_error *err)
{
    struct local *local = local_of(backend);
    struct stat st;
    if (fstatat(local->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cs_fail_sys(err, errno, "%s/%s", local->path, name);
    *seconds = st.st_mtim.tv_sec;
    return 0;
}

static int sync_folder(struct local *local, const char *folder, struct cs_error *err)
{
    int fd = openat(local->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cs_fail_sys(err, errno, "%s/%s", local->path, folder);
    int rc = 0;
    if (fsync(fd) < 0)
        rc = cs_fail_sys(err, errno, "%s/%s: flushing the folder", local->path, folder);
    close(fd);
    return rc;
}

static int local_sync(struct cs_backend *backend, const char *folder, struct cs_error *err)
{
    return sync_folder(local_of(backend), folder, err);
}

/* Makes the folder that ${name} lies in, durably; only the log grows folders. */
static int make_parent(struct local *local, const char *name, struct cs_error *err)
{
    char folder[NAME_MAX_LEN];
    snprintf(folder, sizeof folder, "%s", name);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return 0;
    *slash = 0;
    if (mkdirat(local->root, folder, 0700) < 0) {
        if (errno == EEXIST)
            return 0;
        return cs_fail_sys(err, errno, "%s/%s: making the folder", local->path, folder);
    }
    slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = 0;
    return sync_folder(local, slash != NULL ? folder : ".", err);
}

static int local_list(struct cs_backend *backend, const char *folder,
                      int (*visit)(void *arg, const char *name, struct cs_error *err), void *arg,
                      struct cs_error *err)
{
    struct local *local = local_of(backend);
    int fd = openat(local->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int rc = cs_fail_sys(err, errno, "%s/%s", local->path, folder);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                rc = cs_fail_sys(err, errno, "%s/%s: listing", local->path, folder);
            break;
        }
        if (entry->d_name[0] == '.')
            continue;
        rc = visit(arg, entry->d_name, err);
        if (rc < 0)
            break;
    }
    closedir(dir);
    return rc;
}

struct sweep {
    struct local *local;
    time_t now; /* by the clock of the file system, which other machines may share */
};

static int sweep_one(void *arg, const char *name, struct cs_error *err)
{
    const struct sweep *sweep = arg;
    struct cs_name random;
    struct stat st;
    char path[NAME_MAX_LEN];
    (void)err;
    if (!cs_name_parse(&random, name))
        return 0; /* none of ours */
    snprintf(path, sizeof path, "tmp/%.32s", name);
    if (fstatat(sweep->local->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
        st.st_mtime < sweep->now && sweep->now - st.st_mtime > LEFT_BEHIND)
        unlinkat(sweep->local->root, path, 0);
    return 0;
}

/* Deletes what was left in tmp/ by those who were killed. A file that nobody has written to for a
 * day is such; if its writer has only slept, he will fail, and say so. ${fd}: a new file there. */
static void sweep_tmp(struct local *local, int fd)
{
    struct sweep sweep = {.local = local};
    struct stat st;
    if (local->swept || fstat(fd, &st) < 0)
        return;
    local->swept = true;
    sweep.now = st.st_mtime;
    local_list(&local->base, "tmp", sweep_one, &sweep, NULL);
}

static int local_create(struct cs_backend *backend, const char *name, struct cs_put **out,
                        struct cs_error *err)
{
    struct local *local = local_of(backend);
    int rc = make_parent(local, name, err);
    if (rc < 0)
        return rc;
    struct cs_put *put = calloc(1, sizeof *put);
    if (put == NULL)
        return cs_fail_memory(err);
    put->local = local;
    snprintf(put->name, sizeof put->name, "%s", name);
    struct cs_name random;
    char hex[CS_NAME_HEX];
    cs_random(&random, sizeof random);
    snprintf(put->temporary, sizeof put->temporary, "tmp/%s", cs_name_hex(&random, hex));
    put->fd = openat(local->root, put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (put->fd < 0 && errno == ENOENT && mkdirat(local->root, "tmp", 0700) == 0)
        put->fd =
            openat(local->root, put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (put->fd < 0) {
        rc = cs_fail_sys(err, errno, "%s/%s: creating", local->path, put->temporary);
        free(put);
        return rc;
    }
    sweep_tmp(local, put->fd);
    *out = put;
    return 0;
}

/* Has the kernel begin to write out what has gathered, so that flushing the file takes no longer
 * than its last part. A failure is told by the flush. */
static void begin_flush(struct cs_put *put)
{
    if (put->written - put->flushing < FLUSH_AHEAD)
        return;
    sync_file_range(put->fd, put->flushing, put->written - put->flushing, SYNC_FILE_RANGE_WRITE);
    put->flushing = put->written;
}

static int local_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(put->fd, (const uint8_t *)data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* never 0, but that would go on for ever */
            return cs_fail_sys(err, n < 0 ? errno : EIO, "%s/%s: writing", put->local->path,
                               put->name);
        done += (size_t)n;
    }
    put->written += (off_t)len;
    begin_flush(put);
    return 0;
}

static void local_flush(struct cs_put *put)
{
    cs_flush_begin(&put->flush, put->fd, put->local->base.beside);
}

static void local_abandon(struct cs_put *put)
{
    if (put == NULL)
        return;
    cs_flush_end(&put->flush);
    if (put->fd >= 0)
        close(put->fd);
    unlinkat(put->local->root, put->temporary, 0);
    free(put);
}

/* Gives the temporary file its name. Hard links say most clearly that the name was free; where
 * there are none (FAT, some network file systems), renameat2 does. */
static int place(const struct cs_put *put, bool replace)
{
    int root = put->local->root;
    if (replace)
        return renameat(root, put->temporary, root, put->name) < 0 ? errno : 0;
    if (linkat(root, put->temporary, root, put->name, 0) == 0) {
        unlinkat(root, put->temporary, 0);
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        return errno;
    return renameat2(root, put->temporary, root, put->name, RENAME_NOREPLACE) < 0 ? errno : 0;
}

static int local_finish(struct cs_put *put, bool replace, struct cs_error *err)
{
    int rc = 0;
    struct local *local = put->local;
    if (!put->flush.begun)
        cs_flush_begin(&put->flush, put->fd, false);
    int sys = cs_flush_end(&put->flush);
    if (sys != 0) {
        rc = cs_fail_sys(err, sys, "%s/%s: flushing", local->path, put->name);
        goto out;
    }
    int fd = put->fd;
    put->fd = -1;
    if (close(fd) < 0) {
        rc = cs_fail_sys(err, errno, "%s/%s: closing", local->path, put->name);
        goto out;
    }
    sys = place(put, replace);
    if (sys != 0)
        rc = cs_fail_sys(err, sys, "%s/%s", local->path, put->name);
    else
        cs_open_files_forget(&local->open, put->name);
out:
    if (rc < 0)
        local_abandon(put);
    else
        free(put);
    return rc;
}

static int local_remove(struct cs_backend *backend, const char *name, struct cs_error *err)
{
    struct local *local = local_of(backend);
    cs_open_files_forget(&local->open, name);
    if (unlinkat(local->root, name, 0) < 0)
        return cs_fail_sys(err, errno, "%s/%s: deleting", local->path, name);
    return 0;
}

static void local_close(struct cs_backend *backend)
{
    struct local *local = local_of(backend);
    cs_open_files_clear(&local->open);
    if (local->root >= 0)
        close(local->root);
    free(local->path);
    free(local);
}

static const struct cs_backend_ops local_ops = {
    .read = local_read,
    .size = local_size,
    .create = local_create,
    .write = local_write,
    .flush = local_flush,
    .finish = local_finish,
    .abandon = local_abandon,
    .sync = local_sync,
    .list = local_list,
    .remove = local_remove,
    .modified = local_modified,
    .close = local_close,
};

static const char *const folders[] = {"keys", "log", "packs", "segments", "tmp"};

struct made { /* folders, for taking them back */
    bool top;
    size_t inside;
};

static int is_empty(const struct local *local, bool *empty, struct cs_error *err)
{
    DIR *dir = opendir(local->path);
    if (dir == NULL)
        return cs_fail_sys(err, errno, "%s", local->path);
    int rc = 0;
    *empty = true;
    errno = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, "lost+found") != 0)
            *empty = false;
    if (errno != 0)
        rc = cs_fail_sys(err, errno, "%s: listing", local->path);
    closedir(dir);
    return rc;
}

/* Makes the folder and those inside it, and refuses one that has something in it. */
static int make_folders(struct local *local, struct made *made, struct cs_error *err)
{
    bool empty = false;
    made->top = mkdir(local->path, 0700) == 0;
    if (!made->top && errno != EEXIST)
        return cs_fail_sys(err, errno, "%s: making the folder", local->path);
    local->root = open(local->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (local->root < 0)
        return cs_fail_sys(err, errno, "%s", local->path);
    int rc = is_empty(local, &empty, err);
    if (rc < 0)
        return rc;
    if (!empty)
        return cs_fail(err, CS_EXISTS, "%s: there is something in this folder already",
                       local->path);
    for (; made->inside < sizeof folders / sizeof *folders; made->inside++) {
        const char *folder = folders[made->inside];
        if (mkdirat(local->root, folder, 0700) < 0)
            return cs_fail_sys(err, errno, "%s/%s: making the folder", local->path, folder);
    }
    return sync_folder(local, ".", err);
}

static void take_back(const struct local *local, const struct made *made)
{
    for (size_t i = 0; i < made->inside; i++)
        unlinkat(local->root, folders[i], AT_REMOVEDIR);
    if (made->top)
        rmdir(local->path);
}

/* A folder that was made is durable only once the one above it is. */
static int sync_parent(const char *path, struct cs_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return cs_fail_memory(err);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    char *slash = strrchr(copy, '/');
    const char *parent = ".";
    if (slash == copy)
        parent = "/";
    else if (slash != NULL) {
        *slash = 0;
        parent = copy;
    }
    int rc = 0;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        rc = cs_fail_sys(err, errno, "%s: flushing the folder", parent);
    if (fd >= 0)
        close(fd);
    free(copy);
    return rc;
}

int cs_backend_local(struct cs_backend **backend, const char *path, bool create,
                     struct cs_error *err)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL)
        return cs_fail_memory(err);
    local->base.ops = &local_ops;
    local->root = -1;
    cs_open_files_init(&local->open);
    int rc = 0;
    local->path = strdup(path);
    if (local->path == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    if (create) {
        struct made made = {0};
        rc = make_folders(local, &made, err);
        if (rc == 0 && made.top)
            rc = sync_parent(path, err);
        if (rc < 0)
            take_back(local, &made);
    } else {
        local->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (local->root < 0 && (errno == ENOENT || errno == ENOTDIR))
            rc = cs_fail(err, CS_NO_REPOSITORY, "%s: there is no repository here", path);
        else if (local->root < 0)
            rc = cs_fail_sys(err, errno, "%s", path);
    }
out:
    if (rc < 0) {
        local_close(&local->base);
        return rc;
    }
    *backend = &local->base;
    return 0;
}

int cs_backend_local_free(const char *path, uint64_t *bytes, struct cs_error *err)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return cs_fail_sys(err, errno, "%s", path);
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}
