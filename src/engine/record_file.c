/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What records say of a file on the host, be it a layer's own or its data file:
 * from stat, to JSON, and back. Nothing of what is in the file.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/path.h"
#include "engine/record_parts.h"

static int64_t nanoseconds(const struct timespec *t)
{
    return t->tv_sec * INT64_C(1000000000) + t->tv_nsec;
}

int record_file_describe(struct record_file *file, int fd, const struct stat *st, uint64_t size,
                         const char *path, const char *real_path, struct error *err)
{
    *file = (struct record_file){
        .path = strdup(path),
        .real_path = strdup(real_path),
        .size = size,
        .host_bytes = (uint64_t)st->st_blocks * 512,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mtime_ns = nanoseconds(&st->st_mtim),
        .ctime_ns = nanoseconds(&st->st_ctim),
        .device = st->st_dev,
        .inode = st->st_ino,
    };
    if (file->path == NULL || file->real_path == NULL)
        return error_no_memory(err);
    return file_system_of(fd, path, &file->fs, err);
}

static json_t *file_system_json(const struct file_system *fs)
{
    return json_pack("{s:o, s:o}", "type", json_sprintf("%llx", (unsigned long long)fs->type), "id",
                     json_from_optional(fs->id));
}

json_t *record_file_json(const struct record_file *file)
{
    json_t *o = json_object();
    json_object_set_new(o, "path", json_from_bytes(file->path));
    json_object_set_new(o, "real_path", json_from_bytes(file->real_path));
    json_object_set_new(o, "placed_path", json_from_bytes(file->placed_path));
    json_object_set_new(o, "size", json_from_u64(file->size));
    json_object_set_new(o, "host_bytes", json_from_u64(file->host_bytes));
    json_object_set_new(o, "mode", json_integer(file->mode));
    json_object_set_new(o, "uid", json_integer(file->uid));
    json_object_set_new(o, "gid", json_integer(file->gid));
    json_object_set_new(o, "mtime_ns", json_from_i64(file->mtime_ns));
    json_object_set_new(o, "ctime_ns", json_from_i64(file->ctime_ns));
    json_object_set_new(o, "device", json_from_u64(file->device));
    json_object_set_new(o, "inode", json_from_u64(file->inode));
    json_object_set_new(o, "filesystem", file_system_json(&file->fs));
    if (json_object_size(o) == 13)
        return o;
    json_decref(o);
    return NULL;
}

static void get_file_system(struct json_reader *r, const json_t *object, struct file_system *fs)
{
    const json_t *value = json_member(r, object, "filesystem");
    const char *type = json_string_value(json_member(r, value, "type"));
    fs->type = type != NULL ? strtoull(type, NULL, 16) : 0;
    fs->id = json_get_optional(r, value, "id");
}

void record_file_get(struct json_reader *r, const json_t *object, struct record_file *file)
{
    const json_t *o = json_member(r, object, "file");
    file->path = json_get_bytes(r, o, "path");
    file->real_path = json_get_bytes(r, o, "real_path");
    file->placed_path = json_get_bytes(r, o, "placed_path");
    file->size = json_get_u64(r, o, "size");
    file->host_bytes = json_get_u64(r, o, "host_bytes");
    file->mode = (uint32_t)json_get_int(r, o, "mode", 0177777);
    file->uid = (uint32_t)json_get_int(r, o, "uid", UINT32_MAX);
    file->gid = (uint32_t)json_get_int(r, o, "gid", UINT32_MAX);
    file->mtime_ns = json_get_i64(r, o, "mtime_ns");
    file->ctime_ns = json_get_i64(r, o, "ctime_ns");
    file->device = json_get_u64(r, o, "device");
    file->inode = json_get_u64(r, o, "inode");
    get_file_system(r, o, &file->fs);
    if (file->placed_path != NULL && !path_is_inside(file->placed_path))
        json_bad(r, "placed_path");
}

void record_file_clear(struct record_file *file)
{
    free(file->path);
    free(file->real_path);
    free(file->placed_path);
    free(file->fs.id);
    *file = (struct record_file){0};
}
