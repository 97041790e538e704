/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An exported tar as an archive: unpacked to a folder that is gone in the end,
 * and backed up from there, under the names that the files had when they were
 * exported.
 */
#include "engine/import.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/backup_origin.h"
#include "engine/path.h"

/* ---- what the records say ---- */

static int replace(char **string, const char *by, struct error *err)
{
    char *copy = strdup(by);
    if (copy == NULL)
        return error_no_memory(err);
    free(*string);
    *string = copy;
    return 0;
}

static bool same_kind(enum backup_kind kind, enum manifest_kind said)
{
    switch (kind) {
    case BACKUP_QCOW2:
        return said == MANIFEST_QCOW2;
    case BACKUP_RAW:
        return said == MANIFEST_RAW;
    case BACKUP_DATA_FILE:
        return said == MANIFEST_DATA;
    }
    return false;
}

/* No inode and no file system: nobody is to take the unpacked file for the one that it stands for.
 */
static int on_file(void *arg, enum backup_kind kind, struct record_file *file, struct error *err)
{
    struct import *import = arg;
    const char *name = file->real_path + strlen(import->folder) + 1;
    struct import_file *found = import_find(import, name);
    const struct manifest_file *said = found != NULL ? found->manifest : NULL;
    if (said == NULL || !same_kind(kind, said->kind) || said->path == NULL)
        return error_set(err, ERROR_CORRUPT, "%s: is not what " MANIFEST_NAME " says", name);
    found->used = true;
    file->mode = S_IFREG | said->mode;
    file->uid = said->uid;
    file->gid = said->gid;
    file->mtime_ns = said->mtime_ns;
    file->host_bytes = said->host_bytes;
    file->ctime_ns = 0;
    file->device = 0;
    file->inode = 0;
    free(file->fs.id);
    file->fs = (struct file_system){0};
    int rc = replace(&file->path, said->path, err);
    return rc == 0 ? replace(&file->real_path, said->path, err) : rc;
}

static uint32_t on_side_file(void *arg, const char *name)
{
    const struct import *import = arg;
    const struct manifest *m = &import->manifest;
    for (size_t i = 0; i < m->file_count; i++)
        if (m->files[i].kind == MANIFEST_SIDE && strcmp(path_base(m->files[i].name), name) == 0)
            return S_IFREG | m->files[i].mode;
    return S_IFREG | 0600;
}

static int on_complete(void *arg, struct error *err)
{
    const struct import *import = arg;
    for (size_t i = 0; i < import->manifest.file_count; i++) {
        const struct import_file *file = &import->files[i];
        if (file->manifest->kind != MANIFEST_SIDE && !file->used)
            return error_set(err, ERROR_CORRUPT, "%s: belongs to no image", file->manifest->name);
    }
    return 0;
}

static int parse_time(const char *text, int64_t *seconds, struct error *err)
{
    struct tm tm = {0};
    char again[64];
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end != NULL && *end == 0) {
        time_t t = timegm(&tm);
        if (gmtime_r(&t, &tm) != NULL &&
            strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0 &&
            strcmp(again, text) == 0) {
            *seconds = t;
            return 0;
        }
    }
    return error_set(err, ERROR_CORRUPT, MANIFEST_NAME ": the time \"%s\" is none", text);
}

/* What would be wrong usage of a backup, is damage where a tar says so. */
static int check_names(const struct manifest *m, struct error *err)
{
    struct error why = {0};
    int rc = engine_check_name(m->name, &why);
    for (size_t i = 0; rc == 0 && i < m->tag_count; i++)
        rc = engine_check_name(m->tags[i], &why);
    if (rc == 0 && strlen(m->host) > 255)
        rc = error_set(&why, ERROR_USAGE, "the host's name has more than 255 bytes");
    return rc == 0 ? 0 : error_set(err, ERROR_CORRUPT, MANIFEST_NAME ": %s", why.message);
}

/* ---- backing up ---- */

/* Whether the backing files of all images, which have one layer each, were left out of the
 * archive. */
static int find_only_top(const struct import *import, bool *only_top, struct error *err)
{
    const struct manifest *m = &import->manifest;
    size_t open = 0;
    for (size_t i = 0; i < m->image_count; i++) {
        const struct manifest_image *image = &m->images[i];
        const struct import_file *last = import_find(import, image->files[image->file_count - 1]);
        open += last->manifest->backing_file != NULL && image->file_count == 1;
    }
    *only_top = open > 0;
    if (open > 0 && open < m->image_count)
        for (size_t i = 0; i < m->image_count; i++)
            if (m->images[i].file_count > 1)
                return error_set(err, ERROR_CORRUPT,
                                 MANIFEST_NAME ": some images have their backing files, and others "
                                               "do not");
    return 0;
}

static int name_files(const struct import *import, char **images, char **with, size_t *with_count,
                      struct error *err)
{
    const struct manifest *m = &import->manifest;
    for (size_t i = 0; i < m->image_count; i++) {
        images[i] = path_join(import->folder, m->images[i].files[0]);
        if (images[i] == NULL)
            return error_no_memory(err);
    }
    for (size_t i = 0; i < m->file_count; i++) {
        if (m->files[i].kind != MANIFEST_SIDE)
            continue;
        with[*with_count] = path_join(import->folder, m->files[i].name);
        if (with[(*with_count)++] == NULL)
            return error_no_memory(err);
    }
    return 0;
}

static int back_up(struct import *import, struct cs_store *store, char *const *images,
                   char *const *with, size_t with_count, struct engine_backup_result *result,
                   struct error *err)
{
    const struct manifest *m = &import->manifest;
    const struct engine_import_options *o = import->options;
    struct backup_origin origin = {
        .folder = import->folder,
        .host = m->host,
        .time = m->time,
        .file = on_file,
        .side_file_mode = on_side_file,
        .complete = on_complete,
        .arg = import,
    };
    struct engine_backup_options options = {
        .images = (const char *const *)images,
        .image_count = m->image_count,
        .name = o->name != NULL ? o->name : m->name,
        .tags = (const char *const *)m->tags,
        .tag_count = m->tag_count,
        .with = (const char *const *)with,
        .with_count = with_count,
        .force_corrupt = true, /* as it was backed up, so it is again */
        .full_read = true,     /* the tar may be older than the parents */
        .compression_level = o->compression_level,
        .origin = &origin,
        .listener = o->listener,
    };
    int rc = check_names(m, err);
    if (rc == 0)
        rc = parse_time(m->time, &origin.seconds, err);
    if (rc == 0)
        rc = find_only_top(import, &options.only_top, err);
    return rc == 0 ? engine_backup(store, &options, result, err) : rc;
}

static int back_up_all(struct import *import, struct cs_store *store,
                       struct engine_backup_result *result, struct error *err)
{
    const struct manifest *m = &import->manifest;
    char **images = calloc(m->image_count + 1, sizeof *images);
    char **with = calloc(m->file_count + 1, sizeof *with);
    size_t with_count = 0;
    int rc = images == NULL || with == NULL ? error_no_memory(err) : 0;
    if (rc == 0)
        rc = name_files(import, images, with, &with_count, err);
    if (rc == 0)
        rc = back_up(import, store, images, with, with_count, result, err);
    for (size_t i = 0; images != NULL && i < m->image_count; i++)
        free(images[i]);
    for (size_t i = 0; i < with_count; i++)
        free(with[i]);
    free(images);
    free(with);
    return rc;
}

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static int make_folder(struct import *import, struct error *err)
{
    char *path = path_join(import->options->temporary, "byre-import.XXXXXX");
    if (path == NULL)
        return error_no_memory(err);
    int rc = 0;
    if (mkdtemp(path) == NULL) /* mode 0700 */
        rc = error_sys(err, errno, "%s: making a temporary folder", import->options->temporary);
    else if ((import->folder = realpath(path, NULL)) == NULL)
        rc = error_sys(err, errno, "%s", path);
    free(path);
    return rc;
}

static int open_tar(const char *from, int *fd, struct error *err)
{
    *fd = strcmp(from, "-") == 0 ? STDIN_FILENO : open(from, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? error_sys(err, errno, "%s", from) : 0;
}

int engine_import(struct cs_store *store, const struct engine_import_options *options,
                  struct engine_backup_result *result, struct error *err)
{
    struct import import = {.options = options};
    int fd = -1;
    *result = (struct engine_backup_result){0};
    int rc = open_tar(options->from, &fd, err);
    if (rc == 0)
        rc = make_folder(&import, err);
    if (rc == 0)
        rc = import_unpack(&import, fd, err);
    if (rc == 0)
        rc = back_up_all(&import, store, result, err);
    if (import.folder != NULL)
        (void)nftw(import.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (fd >= 0 && fd != STDIN_FILENO)
        close(fd);
    manifest_clear(&import.manifest);
    free(import.files);
    free(import.folder);
    return rc;
}
