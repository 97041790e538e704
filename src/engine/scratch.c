/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folders for a while. Other programs may have worked in them, so that removing
 * one must not reach what they mounted or linked there.
 */
#include "engine/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int scratch_make(const char *parent, const char *prefix, char **folder, struct error *err)
{
    char *real = realpath(parent, NULL);
    *folder = NULL;
    if (real == NULL)
        return error_sys(err, errno, "%s", parent);
    int n = asprintf(folder, "%s/%s.XXXXXX", strcmp(real, "/") == 0 ? "" : real, prefix);
    free(real);
    if (n < 0) {
        *folder = NULL;
        return error_no_memory(err);
    }
    if (mkdtemp(*folder) != NULL)
        return 0;
    free(*folder);
    *folder = NULL;
    return error_sys(err, errno, "%s: making a folder in it", parent);
}

/* Sets ${err} where it tells nothing yet. */
static void note_error(struct error *err, int sys, const char *folder, const char *name)
{
    if (err->code == 0)
        error_sys(err, sys, "%s: removing %s", folder, name);
}

static bool is_mounted(int parent, const char *name)
{
    struct statx stx;
    return statx(parent, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &stx) ==
               0 &&
           (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* Empties the folder open as ${fd}, which it closes. ${top} is for messages. */
static void empty(int fd, const char *top, struct error *err)
{
    const struct dirent *entry;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        note_error(err, errno, top, "what is in it");
        close(fd);
        return;
    }
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (unlinkat(fd, name, 0) == 0)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            note_error(err, errno, top, name);
            continue;
        }
        int sys = errno;
        int below = is_mounted(fd, name)
                        ? (errno = EBUSY, -1)
                        : openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below < 0) {
            note_error(err, errno == ENOTDIR ? sys : errno, top, name);
            continue;
        }
        empty(below, top, err);
        if (unlinkat(fd, name, AT_REMOVEDIR) < 0)
            note_error(err, errno, top, name);
    }
    if (errno != 0)
        note_error(err, errno, top, "what is in it");
    closedir(dir);
}

int scratch_remove(const char *folder, struct error *err)
{
    struct error first = {0};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "%s: removing it", folder);
    empty(fd, folder, &first);
    if (rmdir(folder) < 0)
        note_error(&first, errno, folder, "it");
    return first.code == 0 ? 0 : error_set(err, first.code, "%s", first.message);
}
