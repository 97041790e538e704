/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that tell of a machine beside its disks, in a folder beside the journal:
 * nobody else's to read, and found again where byre was killed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "live/session.h"

static int is_plain(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

void side_files_remove(const struct journal *j)
{
    struct dirent **list = NULL;
    char path[4096];
    char *folder = journal_side_folder(j);
    int n = folder != NULL ? scandir(folder, &list, is_plain, alphasort) : -1;
    for (int i = 0; i < n; i++) {
        if (snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name) < (int)sizeof path)
            unlink(path);
        free(list[i]);
    }
    free(list);
    if (n >= 0)
        rmdir(folder);
    free(folder);
}

static int list_files(struct live *l, const char *folder, struct error *err)
{
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_plain, alphasort);
    if (n < 0)
        return error_sys(err, errno, "%s", folder);
    l->side_files = calloc((size_t)n + 1, sizeof *l->side_files);
    int rc = l->side_files == NULL ? error_no_memory(err) : 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0 && asprintf(&l->side_files[i], "%s/%s", folder, list[i]->d_name) < 0) {
            l->side_files[i] = NULL;
            rc = error_no_memory(err);
        }
        l->side_file_count += rc == 0;
        free(list[i]);
    }
    free(list);
    return rc;
}

int side_files_collect(struct live *l, struct error *err)
{
    if (l->machine->ops->side_files == NULL)
        return 0;
    side_files_remove(&l->journal);
    char *folder = journal_side_folder(&l->journal);
    int rc = folder == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && mkdir(folder, 0700) < 0)
        rc = error_sys(err, errno, "%s", folder);
    if (rc == 0)
        rc = l->machine->ops->side_files(l->machine, folder, err);
    if (rc == 0)
        rc = list_files(l, folder, err);
    free(folder);
    return rc;
}
