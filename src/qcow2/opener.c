/* SPDX-License-Identifier: BSD-2-Clause */
/* The search in /proc for a process that has a file open for writing. */
#include "qcow2/opener.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum sight { SEEN_CLEAN, SEEN_WRITER, UNSEEN };

/* Whether descriptor ${fd} of process ${pid} is open for writing. */
static enum sight look_at_flags(const char *pid, const char *fd)
{
    char path[64], line[128];
    enum sight sight = UNSEEN;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%.20s/fdinfo/%.20s", pid, fd);
    if (!(f = fopen(path, "re")))
        return errno == ENOENT || errno == ESRCH ? SEEN_CLEAN : UNSEEN;
    while (sight == UNSEEN && fgets(line, sizeof line, f)) {
        unsigned long flags;
        char *end;

        if (strncmp(line, "flags:", 6) != 0)
            continue;
        flags = strtoul(line + 6, &end, 8);
        if (end != line + 6)
            sight = (flags & O_ACCMODE) == O_RDONLY || flags & O_PATH ? SEEN_CLEAN : SEEN_WRITER;
    }
    fclose(f);
    return sight;
}

/* Whether two names lead to one file; to one device by number, for it has many nodes. */
static bool same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode))
        return S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static enum sight look_at_process(const char *pid, const struct stat *file)
{
    enum sight sight = SEEN_CLEAN;
    struct dirent *entry;
    char path[64];
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    if (!(dir = opendir(path)))
        return errno == ENOENT || errno == ESRCH ? SEEN_CLEAN : UNSEEN;
    while (sight != SEEN_WRITER && (entry = readdir(dir))) {
        enum sight one = SEEN_CLEAN;
        struct stat st;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0) {
            if (errno == EACCES || errno == EPERM)
                one = UNSEEN;
        } else if (same_file(file, &st)) {
            one = look_at_flags(pid, entry->d_name);
        }
        if (one != SEEN_CLEAN)
            sight = one;
    }
    closedir(dir);
    return sight;
}

static void name_process(const char *pid, struct opener *found)
{
    char path[64];
    FILE *f;

    snprintf(found->pid, sizeof found->pid, "%.20s", pid);
    snprintf(found->program, sizeof found->program, "?");
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    if (!(f = fopen(path, "re")))
        return;
    if (fgets(found->program, sizeof found->program, f))
        found->program[strcspn(found->program, "\n")] = '\0';
    fclose(f);
}

bool opener_find_writer(const struct stat *file, struct opener *found)
{
    struct dirent *entry;
    bool all = true;
    DIR *proc;

    *found = (struct opener){0};
    if (!(proc = opendir("/proc")))
        return false;
    while (!found->pid[0] && (entry = readdir(proc))) {
        enum sight sight;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        sight = look_at_process(entry->d_name, file);
        if (sight == SEEN_WRITER)
            name_process(entry->d_name, found);
        if (sight == UNSEEN)
            all = false;
    }
    closedir(proc);
    return all;
}
