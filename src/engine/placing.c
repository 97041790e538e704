/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the layers of an archive are put when it is restored. */
#include "engine/placing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/path.h"

static bool is_taken(const struct record_archive *archive, size_t before, const char *path)
{
    for (size_t i = 0; i < before; i++)
        if (strcmp(archive->layers[i].placed_path, path) == 0)
            return true;
    return false;
}

/* Through symlinks, two files can have one lexical path. */
static int make_unique(struct record_archive *archive, size_t at, struct error *err)
{
    char *path = archive->layers[at].placed_path;
    char *unique = strdup(path);
    for (unsigned n = 2; unique != NULL && is_taken(archive, at, unique); n++) {
        free(unique);
        if (asprintf(&unique, "%s.%u", path, n) < 0)
            unique = NULL;
    }
    if (unique == NULL)
        return error_no_memory(err);
    free(path);
    archive->layers[at].placed_path = unique;
    return 0;
}

int placing_assign(struct record_archive *archive, struct error *err)
{
    size_t n = archive->layer_count;
    char **paths = calloc(n + 1, sizeof *paths);
    char *common = NULL;
    int rc = paths == NULL ? error_no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        paths[i] = path_normalize(archive->layers[i].path);
        if (paths[i] == NULL)
            rc = error_no_memory(err);
    }
    if (rc == 0) {
        common = path_common_folder((const char *const *)paths, n);
        if (common == NULL)
            rc = error_no_memory(err);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        size_t skip = strlen(common);
        skip += common[skip - 1] != '/';
        archive->layers[i].placed_path = strdup(paths[i] + skip);
        if (archive->layers[i].placed_path == NULL)
            rc = error_no_memory(err);
        else
            rc = make_unique(archive, i, err);
    }
    for (size_t i = 0; paths != NULL && i < n; i++)
        free(paths[i]);
    free(paths);
    free(common);
    return rc;
}
