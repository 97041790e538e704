/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the layers of an archive are put when it is restored. */
#include "engine/placing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/nbd_uri.h"
#include "engine/path.h"

struct place { /* of a layer, or of a layer's data file */
    const char *path;
    bool is_export; /* path is the URI of one */
    char **placed;
};

/* An export has a URI, which is no path. */
static char *export_path(const char *uri)
{
    char *name = nbd_uri_file_name(uri), *path = NULL;
    if (name == NULL || asprintf(&path, "/%s", name) < 0)
        path = NULL;
    free(name);
    return path;
}

static bool is_taken(const struct place *places, size_t before, const char *path)
{
    for (size_t i = 0; i < before; i++)
        if (strcmp(*places[i].placed, path) == 0)
            return true;
    return false;
}

/* Through symlinks, two files can have one lexical path. */
static int make_unique(const struct place *places, size_t at, struct error *err)
{
    char *path = *places[at].placed;
    char *unique = strdup(path);
    for (unsigned n = 2; unique != NULL && is_taken(places, at, unique); n++) {
        free(unique);
        if (asprintf(&unique, "%s.%u", path, n) < 0)
            unique = NULL;
    }
    if (unique == NULL)
        return error_no_memory(err);
    free(path);
    *places[at].placed = unique;
    return 0;
}

static int assign(const struct place *places, size_t n, char **paths, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        paths[i] =
            places[i].is_export ? export_path(places[i].path) : path_normalize(places[i].path);
        if (paths[i] == NULL)
            return error_no_memory(err);
    }
    char *common = path_common_folder((const char *const *)paths, n);
    if (common == NULL)
        return error_no_memory(err);
    size_t skip = strlen(common);
    skip += common[skip - 1] != '/';
    free(common);
    for (size_t i = 0; i < n; i++) {
        *places[i].placed = strdup(paths[i] + skip);
        if (*places[i].placed == NULL)
            return error_no_memory(err);
        int rc = make_unique(places, i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int placing_assign(struct record_archive *archive, struct error *err)
{
    size_t n = 0, most = 2 * archive->layer_count;
    struct place *places = calloc(most + 1, sizeof *places);
    char **paths = calloc(most + 1, sizeof *paths);
    int rc = 0;
    if (places == NULL || paths == NULL) {
        rc = error_no_memory(err);
        goto out;
    }
    for (size_t i = 0; i < archive->layer_count; i++) {
        struct record_layer *layer = &archive->layers[i];
        struct record_data_file *data = layer->qcow2.data_file;
        bool is_export = layer->content != NULL && strcmp(layer->content->format, "nbd") == 0;
        places[n++] = (struct place){layer->file.path, is_export, &layer->file.placed_path};
        if (data != NULL)
            places[n++] = (struct place){data->file.path, false, &data->file.placed_path};
    }
    rc = assign(places, n, paths, err);
out:
    for (size_t i = 0; paths != NULL && i < n; i++)
        free(paths[i]);
    free(paths);
    free(places);
    return rc;
}
