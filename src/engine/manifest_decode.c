/* SPDX-License-Identifier: BSD-2-Clause */
/* manifest.json of somebody's tar, with every member checked. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "engine/manifest.h"
#include "engine/path.h"

static void get_id(struct json_reader *r, const json_t *o, const char *key, char hex[CS_ID_HEX])
{
    struct cs_id id;
    json_get_id(r, o, key, &id);
    cs_id_hex(&id, hex);
}

static char *get_path(struct json_reader *r, const json_t *o)
{
    char *path = json_get_optional(r, o, "path");
    if (path != NULL && (path[0] != '/' || strlen(path) >= PATH_MAX))
        json_bad(r, "path");
    return path;
}

static enum manifest_kind get_kind(struct json_reader *r, const json_t *o)
{
    static const char *const kinds[] = {"qcow2", "raw", "data-file", "side-file"};
    const char *kind = json_string_value(json_member(r, o, "kind"));
    for (size_t i = 0; kind != NULL && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return (enum manifest_kind)i;
    json_bad(r, "kind");
    return MANIFEST_SIDE;
}

static void get_file(struct json_reader *r, const json_t *o, struct manifest_file *f)
{
    f->kind = get_kind(r, o);
    f->name = json_get_bytes(r, o, "file");
    f->path = get_path(r, o);
    f->backing_file = json_get_optional(r, o, "backing_file");
    f->backing_format = json_get_optional(r, o, "backing_format");
    if (f->kind == MANIFEST_QCOW2 || f->kind == MANIFEST_RAW)
        f->virtual_size = json_get_int(r, o, "virtual_size", INT64_MAX);
    if (f->kind != MANIFEST_SIDE)
        get_id(r, o, "layer", f->layer);
    f->host_bytes = json_get_int(r, o, "host_bytes", INT64_MAX);
    f->mode = (uint32_t)json_get_int(r, o, "mode", 07777);
    f->uid = (uint32_t)json_get_int(r, o, "uid", UINT32_MAX);
    f->gid = (uint32_t)json_get_int(r, o, "gid", UINT32_MAX);
    const json_t *mtime = json_member(r, o, "mtime_ns");
    f->mtime_ns = json_integer_value(mtime);
    if (!json_is_integer(mtime))
        json_bad(r, "mtime_ns");
    if (f->name == NULL || !path_is_inside(f->name) || strlen(f->name) >= PATH_MAX)
        json_bad(r, "file");
}

static int get_files(struct json_reader *r, const json_t *list, struct manifest *m,
                     struct error *err)
{
    size_t i;
    const json_t *value;
    if (json_array_size(list) > MANIFEST_FILES)
        return error_set(err, ERROR_CORRUPT, "%s: has more than %d files", r->what, MANIFEST_FILES);
    json_array_foreach (list, i, value) {
        struct manifest_file *f = manifest_add_file(m);
        if (f == NULL)
            return error_no_memory(err);
        get_file(r, value, f);
        if (r->bad)
            return ERROR_CORRUPT;
    }
    return 0;
}

static int get_image(struct json_reader *r, const json_t *o, struct manifest_image *image,
                     struct error *err)
{
    size_t i;
    const json_t *value;
    const json_t *files = json_list(r, o, "files");
    image->name = json_get_bytes(r, o, "name");
    image->path = get_path(r, o);
    if (image->path == NULL || json_array_size(files) == 0)
        json_bad(r, "files");
    json_array_foreach (files, i, value) {
        char *name = r->bad ? NULL : json_to_bytes(r, value, "files");
        bool added = name != NULL && manifest_image_add(image, name);
        free(name);
        if (r->bad)
            return ERROR_CORRUPT;
        if (!added)
            return error_no_memory(err);
    }
    return r->bad ? ERROR_CORRUPT : 0;
}

static int get_images(struct json_reader *r, const json_t *list, struct manifest *m,
                      struct error *err)
{
    size_t i, all = 0;
    const json_t *value;
    int rc = 0;
    if (json_array_size(list) == 0)
        return error_set(err, ERROR_CORRUPT, "%s: has no image", r->what);
    json_array_foreach (list, i, value) {
        struct manifest_image *image = manifest_add_image(m);
        rc = image == NULL ? error_no_memory(err) : get_image(r, value, image, err);
        if (rc < 0)
            return rc;
        all += image->file_count;
        if (all > MANIFEST_FILES)
            return error_set(err, ERROR_CORRUPT, "%s: its images have more than %d layers", r->what,
                             MANIFEST_FILES);
    }
    return 0;
}

static int get_tags(struct json_reader *r, const json_t *list, struct manifest *m,
                    struct error *err)
{
    size_t i;
    const json_t *value;
    m->tags = calloc(json_array_size(list) + 1, sizeof *m->tags);
    if (m->tags == NULL)
        return error_no_memory(err);
    json_array_foreach (list, i, value) {
        m->tags[i] = json_to_bytes(r, value, "tags");
        if (r->bad)
            return ERROR_CORRUPT;
        m->tag_count = i + 1;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_images(const struct manifest *m, struct error *err)
{
    size_t all = 0, n = 0;
    int rc = 0;
    for (size_t i = 0; i < m->image_count; i++)
        all += m->images[i].file_count;
    const char **of_images = calloc(all + 1, sizeof *of_images);
    const char **layers = calloc(m->file_count + 1, sizeof *layers);
    if (of_images == NULL || layers == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0, at = 0; rc == 0 && i < m->image_count; i++)
        for (size_t k = 0; k < m->images[i].file_count; k++)
            of_images[at++] = m->images[i].files[k];
    for (size_t i = 0; rc == 0 && i < m->file_count; i++)
        if (m->files[i].kind == MANIFEST_QCOW2 || m->files[i].kind == MANIFEST_RAW)
            layers[n++] = m->files[i].name;
    if (rc == 0) {
        qsort(of_images, all, sizeof *of_images, compare_names);
        qsort(layers, n, sizeof *layers, compare_names);
    }
    size_t at = 0;
    for (size_t i = 0; rc == 0 && i < all; i++) {
        if (i > 0 && strcmp(of_images[i], of_images[i - 1]) == 0)
            continue;
        if (at == n || strcmp(of_images[i], layers[at]) != 0)
            rc = error_set(err, ERROR_CORRUPT,
                           MANIFEST_NAME ": the files of its images are not its layers (%s)",
                           of_images[i]);
        at++;
    }
    if (rc == 0 && at != n)
        rc = error_set(err, ERROR_CORRUPT, MANIFEST_NAME ": the layer %s is part of no image",
                       layers[at]);
    free(of_images);
    free(layers);
    return rc;
}

static int get_all(struct json_reader *r, const json_t *o, struct manifest *m, struct error *err)
{
    const json_t *since = json_member(r, o, "since");
    get_id(r, o, "archive", m->archive);
    m->name = json_get_bytes(r, o, "name");
    m->host = json_get_bytes(r, o, "host");
    m->time = json_get_bytes(r, o, "time");
    if (json_is_object(since)) {
        get_id(r, since, "archive", m->since);
        m->since_name = json_get_bytes(r, since, "name");
        m->since_time = json_get_bytes(r, since, "time");
    } else if (!json_is_null(since)) {
        json_bad(r, "since");
    }
    const json_t *tags = json_list(r, o, "tags"), *files = json_list(r, o, "files");
    const json_t *images = json_list(r, o, "images");
    if (r->bad)
        return ERROR_CORRUPT;
    int rc = get_tags(r, tags, m, err);
    if (rc == 0)
        rc = get_files(r, files, m, err);
    if (rc == 0)
        rc = get_images(r, images, m, err);
    if (rc == 0)
        rc = manifest_check_names(m, err);
    return rc == 0 ? check_images(m, err) : rc;
}

int manifest_decode(struct manifest *m, const char *json, size_t len, struct error *err)
{
    struct json_reader r = {.what = MANIFEST_NAME, .err = err};
    json_error_t why;
    *m = (struct manifest){0};
    json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL)
        return error_set(err, ERROR_CORRUPT, MANIFEST_NAME ": %s", why.text);
    const char *format = json_string_value(json_object_get(o, "format"));
    json_int_t version = json_integer_value(json_object_get(o, "version"));
    int rc;
    if (format == NULL || strcmp(format, "byre-export") != 0)
        rc = error_set(err, ERROR_CORRUPT, MANIFEST_NAME ": is none of a byre export");
    else if (version != 1)
        rc = error_set(err, ERROR_UNSUPPORTED,
                       MANIFEST_NAME ": is of version %" JSON_INTEGER_FORMAT
                                     ", and this byre knows only 1",
                       version);
    else
        rc = get_all(&r, o, m, err);
    json_decref(o);
    return rc;
}
