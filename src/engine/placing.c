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
    char **placed;
};

/* By a file, or by a folder that one is in. */
static bool is_taken(const struct place *places, size_t before, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < before; i++) {
        const char *other = *places[i].placed;
        if (strncmp(other, path, n) == 0 && (other[n] == 0 || other[n] == '/'))
            return true;
    }
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

/* Files, in ${n} places. */
static int assign(const struct place *places, size_t n, char **paths, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        paths[i] = path_normalize(places[i].path);
        if (paths[i] == NULL)
            return error_no_memory(err);
    }
    char *common = n > 0 ? path_common_folder((const char *const *)paths, n) : strdup("/");
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

/* Exports, in the places from ${from} to ${n}, behind all files: they have URIs, which lie in no
 * folder. */
static int assign_exports(const struct place *places, size_t from, size_t n, struct error *err)
{
    int rc = 0;
    for (size_t i = from; rc == 0 && i < n; i++) {
        *places[i].placed = nbd_uri_file_name(places[i].path);
        rc = *places[i].placed == NULL ? error_no_memory(err) : make_unique(places, i, err);
    }
    return rc;
}

static bool is_export(const struct record_layer *layer)
{
    return layer->content != NULL && strcmp(layer->content->format, "nbd") == 0;
}

int placing_assign(struct record_archive *archive, struct error *err)
{
    size_t files = 0, most = 2 * archive->layer_count;
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
        if (is_export(layer))
            continue;
        places[files++] = (struct place){layer->file.path, &layer->file.placed_path};
        if (data != NULL)
            places[files++] = (struct place){data->file.path, &data->file.placed_path};
    }
    size_t all = files;
    for (size_t i = 0; i < archive->layer_count; i++) {
        struct record_layer *layer = &archive->layers[i];
        if (is_export(layer))
            places[all++] = (struct place){layer->file.path, &layer->file.placed_path};
    }
    rc = assign(places, files, paths, err);
    if (rc == 0)
        rc = assign_exports(places, files, all, err);
out:
    for (size_t i = 0; paths != NULL && i < files; i++)
        free(paths[i]);
    free(paths);
    free(places);
    return rc;
}
