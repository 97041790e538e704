/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exported tar says of itself: made, and written as JSON. Reading it is
 * manifest_decode.c's. */
#include "engine/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

static void *grow(void *items, size_t count, size_t size)
{
    /* at 0, 1, 2, 4, 8, ...: twice as many */
    if ((count & (count - 1)) != 0)
        return items;
    return reallocarray(items, count > 0 ? 2 * count : 1, size);
}

struct manifest_file *manifest_add_file(struct manifest *m)
{
    struct manifest_file *files = grow(m->files, m->file_count, sizeof *files);
    if (files == NULL)
        return NULL;
    m->files = files;
    m->files[m->file_count] = (struct manifest_file){0};
    return &m->files[m->file_count++];
}

struct manifest_image *manifest_add_image(struct manifest *m)
{
    struct manifest_image *images = grow(m->images, m->image_count, sizeof *images);
    if (images == NULL)
        return NULL;
    m->images = images;
    m->images[m->image_count] = (struct manifest_image){0};
    return &m->images[m->image_count++];
}

bool manifest_image_add(struct manifest_image *image, const char *file)
{
    char **files = grow(image->files, image->file_count, sizeof *files);
    if (files == NULL)
        return false;
    image->files = files;
    files[image->file_count] = strdup(file);
    if (files[image->file_count] == NULL)
        return false;
    image->file_count++;
    return true;
}

struct manifest_file *manifest_find(const struct manifest *m, const char *name)
{
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    return NULL;
}

void manifest_clear(struct manifest *m)
{
    for (size_t i = 0; i < m->file_count; i++) {
        free(m->files[i].name);
        free(m->files[i].path);
        free(m->files[i].backing_file);
        free(m->files[i].backing_format);
    }
    for (size_t i = 0; i < m->image_count; i++) {
        for (size_t k = 0; k < m->images[i].file_count; k++)
            free(m->images[i].files[k]);
        free(m->images[i].files);
        free(m->images[i].name);
        free(m->images[i].path);
    }
    for (size_t i = 0; i < m->tag_count; i++)
        free(m->tags[i]);
    free(m->tags);
    free(m->files);
    free(m->images);
    free(m->name);
    free(m->host);
    free(m->time);
    free(m->since_name);
    free(m->since_time);
    *m = (struct manifest){0};
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a;
    const unsigned char *y = *(const unsigned char *const *)b;
    for (; *x != 0 && *x == *y; x++)
        y++;
    /* the slash before all others, so that what is in a folder comes right behind its name */
    int first = *x == '/' ? 1 : *x == 0 ? 0 : *x + 1;
    int second = *y == '/' ? 1 : *y == 0 ? 0 : *y + 1;
    return first - second;
}

int manifest_check_names(const struct manifest *m, struct error *err)
{
    size_t n = m->file_count + 2;
    const char **names = calloc(n, sizeof *names);
    if (names == NULL)
        return error_no_memory(err);
    names[0] = MANIFEST_NAME;
    names[1] = MANIFEST_SUMS;
    for (size_t i = 0; i < m->file_count; i++)
        names[i + 2] = m->files[i].name;
    qsort(names, n, sizeof *names, compare_names);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < n; i++) {
        size_t len = strlen(names[i]);
        if (strncmp(names[i], names[i + 1], len) == 0 &&
            (names[i + 1][len] == 0 || names[i + 1][len] == '/'))
            rc = error_set(err, ERROR_UNSUPPORTED, "two files of a tar cannot be called %s and %s",
                           names[i], names[i + 1]);
    }
    free(names);
    return rc;
}

/* ---- JSON ---- */

static const char *const kinds[] = {
    [MANIFEST_QCOW2] = "qcow2",
    [MANIFEST_RAW] = "raw",
    [MANIFEST_DATA] = "data-file",
    [MANIFEST_SIDE] = "side-file",
};

static json_t *size_json(uint64_t bytes)
{
    return json_integer(bytes <= INT64_MAX ? (json_int_t)bytes : INT64_MAX);
}

static json_t *file_json(const struct manifest_file *f)
{
    json_t *o = json_object();
    bool layer = f->kind == MANIFEST_QCOW2 || f->kind == MANIFEST_RAW;
    json_object_set_new(o, "file", json_from_bytes(f->name));
    json_object_set_new(o, "kind", json_string(kinds[f->kind]));
    json_object_set_new(o, "path", json_from_optional(f->path));
    json_object_set_new(o, "backing_file", json_from_optional(f->backing_file));
    json_object_set_new(o, "backing_format", json_from_optional(f->backing_format));
    json_object_set_new(o, "layer", f->layer[0] != 0 ? json_string(f->layer) : json_null());
    json_object_set_new(o, "virtual_size", layer ? size_json(f->virtual_size) : json_null());
    json_object_set_new(o, "host_bytes", size_json(f->host_bytes));
    json_object_set_new(o, "mode", json_integer(f->mode));
    json_object_set_new(o, "uid", json_integer(f->uid));
    json_object_set_new(o, "gid", json_integer(f->gid));
    json_object_set_new(o, "mtime_ns", json_integer(f->mtime_ns));
    if (json_object_size(o) == 12)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *image_json(const struct manifest_image *image)
{
    json_t *files = json_array();
    for (size_t i = 0; i < image->file_count; i++)
        json_array_append_new(files, json_from_bytes(image->files[i]));
    if (json_array_size(files) != image->file_count) {
        json_decref(files);
        return NULL;
    }
    return json_pack("{s:o, s:o, s:o}", "name", json_from_bytes(image->name), "path",
                     json_from_bytes(image->path), "files", files);
}

static json_t *since_json(const struct manifest *m)
{
    if (m->since[0] == 0)
        return json_null();
    return json_pack("{s:s, s:o, s:o}", "archive", m->since, "name", json_from_bytes(m->since_name),
                     "time", json_from_bytes(m->since_time));
}

int manifest_encode(const struct manifest *m, char **json, size_t *len, struct error *err)
{
    json_t *o = json_object(), *tags = json_array();
    json_t *images = json_array(), *files = json_array();
    for (size_t i = 0; i < m->tag_count; i++)
        json_array_append_new(tags, json_from_bytes(m->tags[i]));
    for (size_t i = 0; i < m->image_count; i++)
        json_array_append_new(images, image_json(&m->images[i]));
    for (size_t i = 0; i < m->file_count; i++)
        json_array_append_new(files, file_json(&m->files[i]));
    json_object_set_new(o, "format", json_string("byre-export"));
    json_object_set_new(o, "version", json_integer(1));
    json_object_set_new(o, "archive", json_string(m->archive));
    json_object_set_new(o, "name", json_from_bytes(m->name));
    json_object_set_new(o, "host", json_from_bytes(m->host));
    json_object_set_new(o, "time", json_from_bytes(m->time));
    json_object_set_new(o, "since", since_json(m));
    bool whole = json_array_size(tags) == m->tag_count &&
                 json_array_size(images) == m->image_count &&
                 json_array_size(files) == m->file_count;
    json_object_set_new(o, "tags", tags);
    json_object_set_new(o, "images", images);
    json_object_set_new(o, "files", files);
    whole = whole && json_object_size(o) == 10;
    char *text = whole ? json_dumps(o, JSON_INDENT(2)) : NULL;
    json_decref(o);
    size_t n = text != NULL ? strlen(text) : 0;
    *json = text != NULL ? malloc(n + 2) : NULL;
    if (*json == NULL) {
        free(text);
        return error_no_memory(err);
    }
    memcpy(*json, text, n);
    memcpy(*json + n, "\n", 2);
    *len = n + 1;
    free(text);
    return 0;
}
