/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks of which only the guest's bytes were kept, in exports: plain raw files,
 * which any tool reads, under names that do not say otherwise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/export.h"
#include "engine/path.h"

static const char suffix[] = ".raw";

/* Puts the suffix behind ${*name} unless it is there, or, with ${folder}, makes it so a path. */
static int rename_one(char **name, const char *folder, struct error *err)
{
    size_t n = strlen(*name), k = sizeof suffix - 1;
    bool there = n > k && strcmp(*name + n - k, suffix) == 0;
    char *fresh = NULL;
    if (asprintf(&fresh, "%s%s%s", folder, *name, there ? "" : suffix) < 0)
        return error_no_memory(err);
    free(*name);
    *name = fresh;
    return 0;
}

static int rename_layer(struct record_layer *layer, struct error *err)
{
    bool no_path = layer->file.path[0] != '/'; /* a URI */
    int rc = rename_one(&layer->file.placed_path, "", err);
    if (rc < 0)
        return rc;
    if (!no_path)
        return rename_one(&layer->file.path, "", err);
    char *path = strdup(layer->file.placed_path);
    if (path == NULL)
        return error_no_memory(err);
    free(layer->file.path);
    layer->file.path = path;
    return rename_one(&layer->file.path, "/", err);
}

int export_name_contents(struct record_archive *a, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++)
        if (a->layers[i].content != NULL)
            rc = rename_layer(&a->layers[i], err);
    for (size_t i = 0; rc == 0 && i < a->image_count; i++) {
        struct record_image *image = &a->images[i];
        const struct record_layer *top = &a->layers[image->layers[0]];
        if (top->content == NULL)
            continue;
        char *path = strdup(top->file.path), *name = strdup(path_base(top->file.path));
        if (path == NULL || name == NULL) {
            free(path);
            free(name);
            return error_no_memory(err);
        }
        free(image->path);
        free(image->name);
        image->path = path;
        image->name = name;
    }
    for (size_t i = 0; rc == 0 && i < a->layer_count; i++) {
        record_content_free(a->layers[i].content);
        a->layers[i].content = NULL;
    }
    return rc;
}
