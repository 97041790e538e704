/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where journals lie, their locks, and their way to the disk. The lock file goes
 * with the journal; so whoever has locked one looks whether it is still there.
 */
#include "live/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

enum { MAX_SIZE = 4 << 20, TRIES = 100 };

/* FNV-1a: a short name for a file, no more; nobody gains by a collision. */
static uint64_t digest(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (; *text != 0; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3U;
    return hash;
}

/* ${path} with ".json" exchanged for ${suffix}. */
static char *beside(const char *path, const char *suffix)
{
    char *name = NULL;
    if (asprintf(&name, "%.*s%s", (int)(strlen(path) - strlen(".json")), path, suffix) < 0)
        return NULL;
    return name;
}

static int make_folder(const char *state_dir, const char *folder, struct error *err)
{
    for (const char *slash = strchr(state_dir + 1, '/');; slash = strchr(slash + 1, '/')) {
        char *part =
            slash != NULL ? strndup(state_dir, (size_t)(slash - state_dir)) : strdup(state_dir);
        if (part == NULL)
            return error_no_memory(err);
        int rc = mkdir(part, 0700) < 0 && errno != EEXIST ? error_sys(err, errno, "%s", part) : 0;
        free(part);
        if (rc < 0)
            return rc;
        if (slash == NULL)
            break;
    }
    if (mkdir(folder, 0700) < 0)
        return errno == EEXIST ? 0 : error_sys(err, errno, "%s", folder);
    return io_sync(state_dir, err);
}

/* ---- the lock ---- */

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static bool is_still(int fd, const char *path)
{
    struct stat here, there;
    return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

static int lock(struct journal *j, struct error *err)
{
    char *path = beside(j->path, ".lock");
    int rc = path == NULL ? error_no_memory(err) : ERROR_IN_USE;
    for (int i = 0; rc == ERROR_IN_USE && i < TRIES; i++) {
        struct flock want = whole_file();
        char holder[32] = "";
        j->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (j->lock < 0) {
            rc = error_sys(err, errno, "%s", path);
            break;
        }
        if (fcntl(j->lock, F_OFD_SETLK, &want) < 0) {
            ssize_t n = pread(j->lock, holder, sizeof holder - 1, 0);
            holder[n > 0 ? strspn(holder, "0123456789") : 0] = 0;
            rc = error_set(err, ERROR_IN_USE, "another byre is at work on this machine already%s%s",
                           holder[0] != 0 ? ", process " : "", holder);
            close(j->lock);
            j->lock = -1;
            break;
        }
        if (is_still(j->lock, path)) {
            int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
            rc = ftruncate(j->lock, 0) < 0 || pwrite(j->lock, holder, (size_t)n, 0) != n
                     ? error_sys(err, errno, "%s", path)
                     : 0;
        } else {
            close(j->lock);
            j->lock = -1;
        }
    }
    free(path);
    return rc;
}

static void unlock(struct journal *j)
{
    char *path = j->lock >= 0 && !j->stored ? beside(j->path, ".lock") : NULL;
    if (path != NULL)
        unlink(path);
    free(path);
    if (j->lock >= 0)
        close(j->lock);
    j->lock = -1;
}

/* Whether somebody holds it, without taking it. */
static bool is_locked(const char *journal_path)
{
    char *path = beside(journal_path, ".lock");
    struct flock probe = whole_file();
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &probe) == 0 && probe.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    free(path);
    return held;
}

/* ---- the file ---- */

/* Files are written to, and deleted, by what it says. */
static bool is_ours(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int load(struct journal *j, struct error *err)
{
    struct stat st, folder;
    char *text = NULL;
    int fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return error_sys(err, errno, "%s", j->path);
    int rc = 0;
    if (fstat(fd, &st) < 0)
        rc = error_sys(err, errno, "%s", j->path);
    else if (!S_ISREG(st.st_mode) || st.st_size > MAX_SIZE)
        rc = error_set(err, ERROR_CORRUPT, "%s: is no journal of a live backup", j->path);
    else if (!is_ours(&st) || stat(j->folder, &folder) < 0 || !is_ours(&folder))
        rc = error_set(err, ERROR_AUTH,
                       "%s: it, or its folder, is another user's, or others may write to it: "
                       "nothing is done by what it says",
                       j->path);
    else if ((text = malloc((size_t)st.st_size + 1)) == NULL)
        rc = error_no_memory(err);
    if (rc == 0)
        rc = io_read(fd, j->path, 0, text, (size_t)st.st_size, err);
    if (rc == 0)
        rc = journal_decode(j, j->path, text, (size_t)st.st_size, err);
    free(text);
    close(fd);
    return rc;
}

static int set_path(struct journal *j, const char *state_dir, const char *name, struct error *err)
{
    j->lock = -1;
    if (asprintf(&j->folder, "%s/live", state_dir) < 0)
        j->folder = NULL;
    if (j->folder == NULL || asprintf(&j->path, "%s/%s.json", j->folder, name) < 0)
        j->path = NULL;
    return j->path == NULL ? error_no_memory(err) : 0;
}

int journal_open(struct journal *j, const char *state_dir, const char *identity, struct error *err)
{
    char name[24];
    snprintf(name, sizeof name, "%016" PRIx64, digest(identity));
    int rc = set_path(j, state_dir, name, err);
    if (rc == 0)
        rc = make_folder(state_dir, j->folder, err);
    if (rc == 0)
        rc = lock(j, err);
    if (rc < 0)
        return rc;
    rc = load(j, err);
    j->stored = rc != ERROR_NOT_FOUND;
    return rc == ERROR_NOT_FOUND ? 0 : rc;
}

int journal_save(struct journal *j, struct error *err)
{
    char *text = NULL, *temporary = beside(j->path, ".tmp");
    int fd = -1;
    int rc = temporary == NULL ? error_no_memory(err) : journal_encode(j, &text, err);
    if (rc == 0) {
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            rc = error_sys(err, errno, "%s", temporary);
    }
    if (rc == 0)
        rc = io_write(fd, temporary, 0, text, strlen(text), err);
    if (rc == 0 && fsync(fd) < 0)
        rc = error_sys(err, errno, "%s", temporary);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && rename(temporary, j->path) < 0)
        rc = error_sys(err, errno, "%s", j->path);
    if (rc == 0) {
        j->stored = true;
        rc = io_sync(j->folder, err);
    } else if (fd >= 0) {
        unlink(temporary);
    }
    free(temporary);
    free(text);
    return rc;
}

int journal_remove(struct journal *j, struct error *err)
{
    char *temporary = beside(j->path, ".tmp"); /* of one that was killed */
    if (temporary != NULL)
        unlink(temporary);
    free(temporary);
    if (unlink(j->path) < 0 && errno != ENOENT)
        return error_sys(err, errno, "%s", j->path);
    j->stored = false;
    return io_sync(j->folder, err);
}

void journal_close(struct journal *j)
{
    if (j->path != NULL)
        unlock(j);
    journal_clear(j);
    free(j->folder);
    free(j->path);
    j->folder = j->path = NULL;
}

char *journal_side_folder(const struct journal *j)
{
    return beside(j->path, "-side-files");
}

char *journal_key_path(const struct journal *j, size_t i)
{
    char suffix[40];
    snprintf(suffix, sizeof suffix, "-%zu.key", i);
    return beside(j->path, suffix);
}

/* ---- all of them ---- */

static int is_journal(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return strlen(name) == 16 + strlen(".json") && strspn(name, "0123456789abcdef") == 16 &&
           strcmp(name + 16, ".json") == 0;
}

typedef int each_function(void *arg, const char *path, struct journal *journal, bool running,
                          const struct error *why, struct error *err);

static int visit(const char *state_dir, const char *file, bool take, each_function *each, void *arg,
                 struct error *err)
{
    struct journal j = {0};
    struct error why = {0};
    char name[24];
    snprintf(name, sizeof name, "%.16s", file);
    int rc = set_path(&j, state_dir, name, err);
    if (rc < 0)
        return rc;
    j.stored = true;
    bool running = is_locked(j.path);
    int lock_rc = take ? lock(&j, &why) : 0;
    running = take ? lock_rc == ERROR_IN_USE : running;
    int load_rc = lock_rc < 0 && !running ? lock_rc : load(&j, &why);
    if (load_rc != ERROR_NOT_FOUND)
        rc = each(arg, j.path, load_rc < 0 ? NULL : &j, running, load_rc < 0 ? &why : NULL, err);
    else
        j.stored = false;
    journal_close(&j);
    return rc;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int journal_each(const char *state_dir, bool take, each_function *each, void *arg,
                 struct error *err)
{
    struct dirent **list = NULL;
    char *folder = NULL;
    if (asprintf(&folder, "%s/live", state_dir) < 0)
        return error_no_memory(err);
    int n = scandir(folder, &list, is_journal, by_name);
    int rc = n < 0 && errno != ENOENT ? error_sys(err, errno, "%s", folder) : 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = visit(state_dir, list[i]->d_name, take, each, arg, err);
        free(list[i]);
    }
    free(list);
    free(folder);
    return rc;
}

/* ---- what is the same ---- */

int journal_take_stat(struct journal_stat *s, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_sys(err, errno, "%s", path);
    *s = (struct journal_stat){.known = true,
                               .device = st.st_dev,
                               .inode = st.st_ino,
                               .size = (uint64_t)st.st_size,
                               .seconds = st.st_mtim.tv_sec,
                               .nanoseconds = (uint32_t)st.st_mtim.tv_nsec};
    return 0;
}

/* The number of a device may be another one after each start of the host. */
bool journal_is_same_file(const struct journal_stat *s, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || st.st_ino == s->inode);
}

bool journal_is_same(const struct journal_stat *s, const char *path)
{
    struct journal_stat now = {0};
    return journal_take_stat(&now, path, NULL) == 0 && now.inode == s->inode &&
           now.size == s->size && now.seconds == s->seconds && now.nanoseconds == s->nanoseconds;
}

static size_t read_small(const char *path, char *buf, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, room - 1) : -1;
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

void journal_boot_id(char boot_id[40])
{
    read_small("/proc/sys/kernel/random/boot_id", boot_id, 40);
    boot_id[strcspn(boot_id, "\n")] = 0;
    if (boot_id[0] == 0)
        snprintf(boot_id, 40, "unknown");
}

uint64_t journal_process_since(pid_t pid)
{
    char path[48], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (read_small(path, text, sizeof text) == 0)
        return 0;
    /* the name, field 2, may hold anything; 22 is the start */
    const char *p = strrchr(text, ')');
    for (int field = 2; p != NULL && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}
