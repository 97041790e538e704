/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of the files that were read last. One that is in use is never
 * closed; where all are, a file is opened for one reading alone.
 */
#include "open_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cs_open_files_init(struct cs_open_files *files)
{
    pthread_mutex_init(&files->mutex, NULL);
    for (size_t i = 0; i < CS_OPEN_FILES; i++)
        files->files[i].fd = -1;
}

static void close_file(struct cs_open_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->name[0] = 0;
}

void cs_open_files_clear(struct cs_open_files *files)
{
    for (size_t i = 0; i < CS_OPEN_FILES; i++)
        close_file(&files->files[i]);
    pthread_mutex_destroy(&files->mutex);
}

static int open_regular(int root, const char *path, const char *name, int *fd, struct cs_error *err)
{
    struct stat st;
    int rc = 0;
    int opened = openat(root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (opened < 0)
        return cs_fail_sys(err, errno, "%s/%s", path, name);
    if (fstat(opened, &st) < 0)
        rc = cs_fail_sys(err, errno, "%s/%s", path, name);
    else if (!S_ISREG(st.st_mode))
        rc = cs_fail(err, CS_CORRUPT, "%s/%s: not a regular file", path, name);
    if (rc < 0)
        close(opened);
    else
        *fd = opened;
    return rc;
}

/* The file, or, where it is not open, NULL, and in ${*place} one to put it in the place of. */
static struct cs_open_file *find(struct cs_open_files *files, const char *name,
                                 struct cs_open_file **place)
{
    *place = NULL;
    for (size_t i = 0; i < CS_OPEN_FILES; i++) {
        struct cs_open_file *f = &files->files[i];
        if (f->fd >= 0 && strcmp(f->name, name) == 0)
            return f;
        if (f->users > 0)
            continue;
        if (*place == NULL || f->fd < 0 || ((*place)->fd >= 0 && f->used < (*place)->used))
            *place = f;
    }
    return NULL;
}

int cs_open_files_get(struct cs_open_files *files, int root, const char *path, const char *name,
                      struct cs_open_file **file, int *fd, struct cs_error *err)
{
    struct cs_open_file *place = NULL;
    int rc = 0;
    pthread_mutex_lock(&files->mutex);
    *file = find(files, name, &place);
    if (*file == NULL)
        rc = open_regular(root, path, name, fd, err);
    if (rc == 0 && *file == NULL && place != NULL) {
        close_file(place);
        snprintf(place->name, sizeof place->name, "%s", name);
        place->fd = *fd;
        *file = place;
    }
    if (*file != NULL) {
        (*file)->users++;
        (*file)->used = ++files->clock;
        *fd = (*file)->fd;
    }
    pthread_mutex_unlock(&files->mutex);
    return rc;
}

void cs_open_files_put(struct cs_open_files *files, struct cs_open_file *file, int fd)
{
    if (file == NULL) {
        close(fd);
        return;
    }
    pthread_mutex_lock(&files->mutex);
    if (--file->users == 0 && file->name[0] == 0)
        close_file(file);
    pthread_mutex_unlock(&files->mutex);
}

void cs_open_files_forget(struct cs_open_files *files, const char *name)
{
    pthread_mutex_lock(&files->mutex);
    for (size_t i = 0; i < CS_OPEN_FILES; i++) {
        struct cs_open_file *f = &files->files[i];
        if (f->fd < 0 || strcmp(f->name, name) != 0)
            continue;
        f->name[0] = 0;
        if (f->users == 0)
            close_file(f);
    }
    pthread_mutex_unlock(&files->mutex);
}
