/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The external data file of a qcow2 file: which one its name means, opened and
 * locked. What is in it, image.c knows.
 */
#include "qcow2/data_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qcow2/source.h"

/* Sets ${*path} to the file that ${name} means, given to the caller. */
static int find(char **path, const char *image_path, const char *name, struct error *err)
{
    char *beside = NULL, *here = NULL;
    struct stat beside_st, here_st;
    bool is_beside, is_here;
    int rc = 0;

    *path = NULL;
    if (source_has_protocol(name))
        return error_set(err, ERROR_UNSUPPORTED, "the data file \"%s\" is no plain path", name);
    beside = source_resolve(image_path, name);
    here = source_resolve(NULL, name);
    if (!beside || !here) {
        rc = error_sys(err, errno, "%s: cannot resolve the name", name);
        goto out;
    }
    is_beside = stat(beside, &beside_st) == 0;
    if (!is_beside && errno != ENOENT && errno != ENOTDIR) {
        rc = error_sys(err, errno, "data file %s: cannot open", beside);
        goto out;
    }
    is_here = stat(here, &here_st) == 0;
    if (!is_beside && !is_here) {
        rc = strcmp(beside, here) == 0
                 ? error_set(err, ERROR_NOT_FOUND, "data file %s: no such file", beside)
                 : error_set(err, ERROR_NOT_FOUND, "data file %s: no such file, nor is %s", beside,
                             here);
    } else if (is_beside && is_here && !source_same_file(&beside_st, &here_st)) {
        rc =
            error_set(err, ERROR_UNSUPPORTED,
                      "the data file \"%s\" can mean %s, which lies beside the image, or %s, which "
                      "QEMU takes when it is started in this folder; run this elsewhere, or "
                      "remove one",
                      name, beside, here);
    } else if (is_beside) {
        *path = beside;
        beside = NULL;
    } else {
        *path = here;
        here = NULL;
    }

out:
    free(beside);
    free(here);
    return rc;
}

int data_file_open(struct data_file **result, const char *image_path, const struct stat *image_st,
                   const char *name, bool assume_stopped, struct error *err)
{
    struct data_file *file;
    int rc;

    *result = NULL;
    if (!(file = calloc(1, sizeof *file)))
        return error_no_memory(err);
    file->fd = -1;
    if ((rc = find(&file->path, image_path, name, err)) < 0 ||
        (rc = source_open(file->path, &file->fd, &file->st, err)) < 0)
        goto fail;
    if (source_same_file(&file->st, image_st)) {
        rc = error_set(err, ERROR_CORRUPT, "the data file \"%s\" is the image itself", name);
        goto fail;
    }
    if ((rc = source_lock(file->path, file->fd, assume_stopped, NULL, &file->st, &file->size,
                          &file->real_path, err)) < 0)
        goto fail;
    *result = file;
    return 0;

fail:
    data_file_close(file);
    return rc;
}

int data_file_check_same(const struct data_file *file, const char *image_path, const char *name,
                         struct error *err)
{
    struct stat st;
    char *path;
    int rc;

    if ((rc = find(&path, image_path, name, err)) < 0)
        return rc;
    if (stat(path, &st) < 0 || !source_same_file(&st, &file->st))
        rc = error_set(err, ERROR_UNSUPPORTED,
                       "%s: reached under two names, from which its data file is not the same: "
                       "%s is not %s",
                       image_path, path, file->path);
    free(path);
    return rc;
}

void data_file_close(struct data_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->real_path);
    free(file);
}
