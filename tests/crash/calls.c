/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wrapped system calls: each is counted, may fail, and tells the model of
 * the disk what was done. Descriptors are followed from open to close.
 */
#include "calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { DESCRIPTORS = 256, PATH = 512, MOST_CALLS = 20000 };

const char *const call_names[CALLS] = {
    "open",
    "create",
    "stat",
    "read",
    "list",
    "write",
    "flush",
    "flush of a folder",
    "close",
    "link",
    "rename",
    "delete",
    "making a folder",
};

struct descriptor {
    bool ours;
    bool folder;
    bool created;
    bool flush_failed;
    unsigned file;
    off_t at;
    char path[PATH];
};

static struct calls_options options;
static bool active;
static struct descriptor descriptors[DESCRIPTORS];
static enum call made[MOST_CALLS];
static size_t made_count;
static bool full;         /* FAULT_FROM_HERE or FAULT_FULL has begun */
static enum call failing; /* the next of this kind; CALLS: none */
static int failing_sys;
static const char *wrong;

void calls_begin(const struct calls_options *o)
{
    options = *o;
    memset(descriptors, 0, sizeof descriptors);
    made_count = 0;
    full = false;
    wrong = NULL;
    failing = CALLS;
    active = true;
}

void calls_fail_next(enum call call, int sys)
{
    failing = call;
    failing_sys = sys;
}

void calls_end(void)
{
    active = false;
}

size_t calls_made(enum call const **calls)
{
    *calls = made;
    return made_count;
}

const char *calls_wrong(void)
{
    return wrong;
}

/* Whether the name lies below the root; then its path there, "" for the root itself. */
static bool ours(int dir, const char *name, char path[PATH])
{
    if (!active)
        return false;
    if (name[0] == '/') {
        size_t n = strlen(options.root);
        if (strncmp(name, options.root, n) != 0 || (name[n] != 0 && name[n] != '/'))
            return false;
        snprintf(path, PATH, "%s", name[n] == 0 ? "" : name + n + 1);
        return true;
    }
    if (dir < 0 || dir >= DESCRIPTORS || !descriptors[dir].ours)
        return false;
    const char *top = descriptors[dir].path;
    if (strcmp(name, ".") == 0)
        snprintf(path, PATH, "%s", top);
    else
        snprintf(path, PATH, "%.200s%s%s", top, top[0] != 0 ? "/" : "", name);
    return true;
}

static struct descriptor *descriptor(int fd)
{
    return active && fd >= 0 && fd < DESCRIPTORS && descriptors[fd].ours ? &descriptors[fd] : NULL;
}

static bool needs_space(enum call call)
{
    return call == CALL_CREATE || call == CALL_WRITE || call == CALL_LINK ||
           call == CALL_MAKE_FOLDER;
}

/* Counts the call. What is to go wrong with it; where that is FAULT_ERROR, errno is set. */
static enum fault_kind begin_call(enum call call)
{
    size_t number = made_count;
    if (number < MOST_CALLS)
        made[made_count++] = call;
    if (call == failing) {
        failing = CALLS;
        errno = failing_sys;
        return FAULT_ERROR;
    }
    if (full && needs_space(call)) {
        errno = options.fault.sys;
        return FAULT_ERROR;
    }
    if (options.fault.kind == FAULT_NONE || number != options.fault.at)
        return FAULT_NONE;
    errno = options.fault.sys;
    if (options.fault.kind != FAULT_FROM_HERE && options.fault.kind != FAULT_FULL)
        return options.fault.kind;
    full = true;
    return call == CALL_WRITE ? FAULT_SHORT : FAULT_ERROR;
}

static void changed(enum call call)
{
    int saved = errno;
    if (options.changed != NULL)
        options.changed(options.arg, call);
    errno = saved;
}

/* The end of a call that did what it should: with FAULT_DONE it fails all the same. */
static int end_call(enum fault_kind fault, int rc)
{
    if (fault != FAULT_DONE)
        return rc;
    errno = options.fault.sys;
    return -1;
}

static void gets_name(const char *from)
{
    if (options.disk != NULL && !disk_whole(options.disk, from))
        wrong = "a file got its name before all of it was flushed";
}

/* ---- opening and closing ---- */

int __real_openat64(int dir, const char *name, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *name, int flags, ...);
int __wrap_open64(const char *name, int flags, ...);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_closedir(DIR *dir);
int __wrap_closedir(DIR *dir);
struct dirent64 *__real_readdir64(DIR *dir);
struct dirent64 *__wrap_readdir64(DIR *dir);

static int open_any(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH];
    if (!ours(dir, name, path))
        return __real_openat64(dir, name, flags, mode);
    bool creates = (flags & O_CREAT) != 0;
    if (begin_call(creates ? CALL_CREATE : CALL_OPEN) != FAULT_NONE)
        return -1;
    int fd = __real_openat64(dir, name, flags, mode);
    if (fd < 0 || fd >= DESCRIPTORS)
        return fd;
    struct descriptor *d = &descriptors[fd];
    *d =
        (struct descriptor){.ours = true, .folder = (flags & O_DIRECTORY) != 0, .created = creates};
    memcpy(d->path, path, sizeof path);
    if (creates && options.disk != NULL) {
        d->file = disk_create(options.disk, path);
        changed(CALL_CREATE);
    }
    return fd;
}

int __wrap_openat64(int dir, const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_any(dir, name, flags, mode);
}

int __wrap_open64(const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_any(AT_FDCWD, name, flags, mode);
}

int __wrap_close(int fd)
{
    struct descriptor *d = descriptor(fd);
    enum fault_kind fault = FAULT_NONE;
    if (d != NULL && d->created)
        fault = begin_call(CALL_CLOSE);
    if (d != NULL)
        d->ours = false;
    int sys = errno;
    int rc = __real_close(fd); /* it is closed, whatever the answer */
    if (fault == FAULT_NONE)
        return rc;
    errno = sys;
    return -1;
}

int __wrap_closedir(DIR *dir)
{
    struct descriptor *d = descriptor(dirfd(dir));
    if (d != NULL)
        d->ours = false;
    return __real_closedir(dir);
}

struct dirent64 *__wrap_readdir64(DIR *dir)
{
    if (descriptor(dirfd(dir)) != NULL && begin_call(CALL_LIST) != FAULT_NONE)
        return NULL;
    return __real_readdir64(dir);
}

/* ---- bytes ---- */

int __real_fstat64(int fd, struct stat64 *st);
int __wrap_fstat64(int fd, struct stat64 *st);
int __real_fstatat64(int dir, const char *name, struct stat64 *st, int flags);
int __wrap_fstatat64(int dir, const char *name, struct stat64 *st, int flags);
ssize_t __real_pread64(int fd, void *buf, size_t len, off64_t at);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off64_t at);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fstat64(int fd, struct stat64 *st)
{
    if (descriptor(fd) != NULL && begin_call(CALL_STAT) != FAULT_NONE)
        return -1;
    return __real_fstat64(fd, st);
}

int __wrap_fstatat64(int dir, const char *name, struct stat64 *st, int flags)
{
    char path[PATH];
    if (ours(dir, name, path) && begin_call(CALL_STAT) != FAULT_NONE)
        return -1;
    return __real_fstatat64(dir, name, st, flags);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t len, off64_t at)
{
    if (descriptor(fd) == NULL)
        return __real_pread64(fd, buf, len, at);
    enum fault_kind fault = begin_call(CALL_READ);
    if (fault == FAULT_ERROR)
        return -1;
    return __real_pread64(fd, buf, fault == FAULT_SHORT && len > 1 ? len / 2 : len, at);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
    struct descriptor *d = descriptor(fd);
    if (d == NULL)
        return __real_write(fd, buf, len);
    enum fault_kind fault = begin_call(CALL_WRITE);
    if (fault == FAULT_ERROR)
        return -1;
    ssize_t n = __real_write(fd, buf, fault == FAULT_SHORT && len > 1 ? len / 2 : len);
    if (n > 0 && options.disk != NULL) {
        disk_write(options.disk, d->file, (uint64_t)d->at, buf, (size_t)n);
        d->at += n;
        changed(CALL_WRITE);
    }
    return n;
}

int __wrap_fsync(int fd)
{
    struct descriptor *d = descriptor(fd);
    if (d == NULL)
        return __real_fsync(fd);
    enum call call = d->folder ? CALL_FLUSH_FOLDER : CALL_FLUSH;
    if (d->flush_failed)
        wrong = "a flush that failed was tried again on the same descriptor";
    if (begin_call(call) != FAULT_NONE) {
        d->flush_failed = true;
        if (!d->folder && options.disk != NULL)
            disk_spoil(options.disk, d->file);
        return -1;
    }
    if (options.disk != NULL) { /* tmpfs has nothing to flush */
        if (d->folder)
            disk_flush_folder(options.disk, d->path);
        else
            disk_flush(options.disk, d->file);
        changed(call);
    }
    return 0;
}

/* ---- names ---- */

int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_rmdir(const char *name);
int __real_mkdirat(int dir, const char *name, mode_t mode);
int __wrap_mkdirat(int dir, const char *name, mode_t mode);
int __wrap_mkdir(const char *name, mode_t mode);

int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char source[PATH], target[PATH];
    if (!ours(from_dir, from, source) || !ours(to_dir, to, target))
        return __real_linkat(from_dir, from, to_dir, to, flags);
    enum fault_kind fault = begin_call(CALL_LINK);
    if (fault == FAULT_ERROR)
        return -1;
    int rc = __real_linkat(from_dir, from, to_dir, to, flags);
    if (rc == 0 && options.disk != NULL) {
        gets_name(source);
        disk_link(options.disk, source, target);
        changed(CALL_LINK);
    }
    return end_call(fault, rc);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char source[PATH], target[PATH];
    if (!ours(from_dir, from, source) || !ours(to_dir, to, target))
        return __real_renameat2(from_dir, from, to_dir, to, flags);
    enum fault_kind fault = begin_call(CALL_RENAME);
    if (fault == FAULT_ERROR)
        return -1;
    int rc = __real_renameat2(from_dir, from, to_dir, to, flags);
    if (rc == 0 && options.disk != NULL) {
        gets_name(source);
        disk_rename(options.disk, source, target);
        changed(CALL_RENAME);
    }
    return end_call(fault, rc);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return __wrap_renameat2(from_dir, from, to_dir, to, 0);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
    char path[PATH];
    if (!ours(dir, name, path))
        return __real_unlinkat(dir, name, flags);
    enum fault_kind fault = begin_call(CALL_DELETE);
    if (fault == FAULT_ERROR)
        return -1;
    int rc = __real_unlinkat(dir, name, flags);
    if (rc == 0 && options.fault.kind == FAULT_FULL && strstr(path, "/tmp/") == NULL)
        full = false;
    if (rc == 0 && options.disk != NULL) {
        disk_unlink(options.disk, path);
        changed(CALL_DELETE);
    }
    return end_call(fault, rc);
}

int __wrap_rmdir(const char *name)
{
    return __wrap_unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int __wrap_mkdirat(int dir, const char *name, mode_t mode)
{
    char path[PATH];
    if (!ours(dir, name, path))
        return __real_mkdirat(dir, name, mode);
    enum fault_kind fault = begin_call(CALL_MAKE_FOLDER);
    if (fault == FAULT_ERROR)
        return -1;
    int rc = __real_mkdirat(dir, name, mode);
    if (rc == 0 && options.disk != NULL) {
        disk_make_folder(options.disk, path);
        changed(CALL_MAKE_FOLDER);
    }
    return end_call(fault, rc);
}

int __wrap_mkdir(const char *name, mode_t mode)
{
    return __wrap_mkdirat(AT_FDCWD, name, mode);
}
