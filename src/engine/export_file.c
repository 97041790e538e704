/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single files into the tar. A tar has a file's size and holes before its
 * bytes, and a qcow2 knows both only when all of it is written: so each is
 * written to a file without a name first, and sent from there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/blob.h"
#include "engine/export.h"
#include "engine/path.h"

enum { EXTENTS = 1 << 17 }; /* of a file; more are merged */

/* ---- what was spooled ---- */

int export_spool(const struct exporter *e, const char *name, struct target *spool,
                 struct error *err)
{
    const char *folder = e->options->temporary;
    *spool = (struct target){.fd = -1};
    spool->path = strdup(name);
    if (spool->path == NULL)
        return error_no_memory(err);
    spool->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return error_sys(err, errno, "%s: making a temporary file", folder);
    char *path = NULL;
    if (asprintf(&path, "%s/byre-export.XXXXXX", folder) < 0)
        return error_no_memory(err);
    int rc = 0;
    spool->fd = mkostemp(path, O_CLOEXEC);
    if (spool->fd < 0 || unlink(path) < 0)
        rc = error_sys(err, errno, "%s: making a temporary file", path);
    free(path);
    return rc;
}

int export_no_room(const struct exporter *e, struct error *err)
{
    const char *folder = e->options->temporary;
    struct statvfs fs;
    if (err == NULL || err->code != ERROR_NO_SPACE)
        return err != NULL ? err->code : (int)ERROR_NO_SPACE;
    if (statvfs(folder, &fs) < 0)
        return error_wrap(err, "%s has no room for a copy of it; set TMPDIR to a folder that has",
                          folder);
    return error_wrap(err,
                      "%s, with %llu MiB free, has no room for a copy of it, which is made on the "
                      "way; set TMPDIR to a folder that has",
                      folder, (unsigned long long)fs.f_bavail * fs.f_frsize >> 20);
}

/* ---- holes ---- */

struct extents {
    struct bundle_extent *at;
    size_t count;
    uint64_t least; /* holes that are shorter are none */
};

static void merge_closer(struct extents *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->count; i++) {
        struct bundle_extent *last = n > 0 ? &x->at[n - 1] : NULL;
        if (last != NULL && x->at[i].offset - (last->offset + last->length) < x->least)
            last->length = x->at[i].offset + x->at[i].length - last->offset;
        else
            x->at[n++] = x->at[i];
    }
    x->count = n;
}

static int find_extents(const struct target *spool, uint64_t size, struct extents *x,
                        struct error *err)
{
    *x = (struct extents){.at = calloc(EXTENTS, sizeof *x->at), .least = 1};
    if (x->at == NULL)
        return error_no_memory(err);
    for (uint64_t at = 0; at < size;) {
        uint64_t begin = 0, stop = 0;
        int rc = io_next_data(spool->fd, spool->path, at, size, &begin, &stop, err);
        if (rc < 0)
            return rc;
        for (; x->count == EXTENTS; x->least *= 2)
            merge_closer(x);
        if (begin < stop)
            x->at[x->count++] = (struct bundle_extent){begin, stop - begin};
        at = stop;
    }
    merge_closer(x);
    return 0;
}

/* ---- sending ---- */

/* A name with a line feed in it would begin another line; so it is escaped as sha256sum does. */
static int add_sum(struct exporter *e, const char *name, struct error *err)
{
    char hex[SHA256_HEX];
    bool escape = strpbrk(name, "\\\n\r") != NULL;
    size_t room = e->sums_len + 2 * strlen(name) + sizeof hex + 4;
    int rc = sha256_end(e->sha, hex, err);
    if (rc < 0)
        return rc;
    char *sums = realloc(e->sums, room);
    if (sums == NULL)
        return error_no_memory(err);
    char *p = sums + e->sums_len;
    e->sums = sums;
    p += snprintf(p, room - e->sums_len, "%s%s  ", escape ? "\\" : "", hex);
    for (; *name != 0; name++)
        if (*name == '\\' || *name == '\n' || *name == '\r') {
            *p++ = '\\';
            *p++ = *name == '\n' ? 'n' : *name == '\r' ? 'r' : '\\';
        } else {
            *p++ = *name;
        }
    *p++ = '\n';
    e->sums_len = (size_t)(p - sums);
    return 0;
}

static int add_bytes(struct exporter *e, const void *buf, size_t len, struct error *err)
{
    int rc = sha256_add(e->sha, buf, len, err);
    return rc == 0 ? bundle_writer_data(e->tar, buf, len, err) : rc;
}

static int add_hole(struct exporter *e, const char *name, uint64_t len, struct error *err)
{
    int rc = 0;
    memset(e->buf, 0, EXPORT_BUFFER);
    while (rc == 0 && len > 0) {
        size_t n = len < EXPORT_BUFFER ? (size_t)len : EXPORT_BUFFER;
        rc = add_bytes(e, e->buf, n, err);
        if (rc == 0)
            rc = restore_step(&e->r, name, 0, err);
        len -= n;
    }
    return rc;
}

static int add_data(struct exporter *e, const struct target *spool, const struct bundle_extent *x,
                    struct error *err)
{
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < x->length;) {
        uint64_t left = x->length - done;
        size_t n = left < EXPORT_BUFFER ? (size_t)left : EXPORT_BUFFER;
        rc = io_read(spool->fd, spool->path, x->offset + done, e->buf, n, err);
        if (rc == 0)
            rc = add_bytes(e, e->buf, n, err);
        if (rc == 0)
            rc = restore_step(&e->r, spool->path, n, err);
        done += n;
    }
    return rc;
}

static int add_contents(struct exporter *e, const struct target *spool, uint64_t size,
                        const struct extents *x, struct error *err)
{
    uint64_t at = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < x->count; i++) {
        rc = add_hole(e, spool->path, x->at[i].offset - at, err);
        if (rc == 0)
            rc = add_data(e, spool, &x->at[i], err);
        at = x->at[i].offset + x->at[i].length;
    }
    return rc == 0 ? add_hole(e, spool->path, size - at, err) : rc;
}

static int report(struct exporter *e, const struct manifest_file *file, uint64_t size,
                  struct error *err)
{
    struct engine_export_result *result = e->result;
    struct engine_exported_file *files =
        reallocarray(result->files, result->file_count + 1, sizeof *files);
    if (files == NULL)
        return error_no_memory(err);
    result->files = files;
    struct engine_exported_file *added = &files[result->file_count];
    *added = (struct engine_exported_file){.path = strdup(file->name), .bytes = size};
    if (added->path == NULL)
        return error_no_memory(err);
    memcpy(added->layer, file->layer, sizeof added->layer);
    result->file_count++;
    return 0;
}

int export_send(struct exporter *e, const struct manifest_file *file, struct target *spool,
                struct error *err)
{
    struct extents x = {0};
    off_t size = lseek(spool->fd, 0, SEEK_END);
    int rc = size < 0 ? error_sys(err, errno, "%s: its size", spool->path)
                      : find_extents(spool, (uint64_t)size, &x, err);
    if (rc == 0) {
        bool whole = x.count == 1 && x.at[0].offset == 0 && x.at[0].length == (uint64_t)size;
        const struct bundle_file entry = {
            .name = file->name,
            .size = (uint64_t)size,
            .mode = file->mode,
            .uid = file->uid,
            .gid = file->gid,
            .mtime_ns = file->mtime_ns,
            .extents = whole ? NULL : x.at,
            .extent_count = x.count,
        };
        rc = bundle_writer_begin(e->tar, &entry, err);
    }
    if (rc == 0)
        rc = sha256_begin(e->sha, err);
    if (rc == 0)
        rc = add_contents(e, spool, (uint64_t)size, &x, err);
    if (rc == 0)
        rc = add_sum(e, file->name, err);
    if (rc == 0)
        rc = report(e, file, (uint64_t)size, err);
    free(x.at);
    target_clear(spool);
    return rc;
}

int export_manifest(struct exporter *e, struct error *err)
{
    char *json = NULL;
    size_t len = 0;
    int rc = manifest_check_names(&e->manifest, err);
    if (rc == 0)
        rc = manifest_encode(&e->manifest, &json, &len, err);
    const struct bundle_file file = {
        .name = MANIFEST_NAME,
        .size = len,
        .mode = 0644,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = (int64_t)time(NULL) * 1000000000,
    };
    if (rc == 0)
        rc = bundle_writer_begin(e->tar, &file, err);
    if (rc == 0)
        rc = sha256_begin(e->sha, err);
    if (rc == 0)
        rc = add_bytes(e, json, len, err);
    if (rc == 0)
        rc = add_sum(e, MANIFEST_NAME, err);
    free(json);
    return rc;
}

/* ---- side files ---- */

int export_describe_side_file(struct exporter *e, const struct record_side_file *side,
                              struct error *err)
{
    struct manifest_file *file = manifest_add_file(&e->manifest);
    if (file == NULL)
        return error_no_memory(err);
    file->kind = MANIFEST_SIDE;
    file->name = path_join(RESTORE_SIDE_FOLDER, side->name);
    file->mode = side->mode & 07777;
    file->uid = geteuid();
    file->gid = getegid();
    file->mtime_ns = (int64_t)time(NULL) * 1000000000;
    return file->name == NULL ? error_no_memory(err) : 0;
}

int export_send_side_file(struct exporter *e, const struct record_side_file *side,
                          const struct manifest_file *file, struct error *err)
{
    struct target spool = {.fd = -1};
    int rc = export_spool(e, file->name, &spool, err);
    if (rc == 0)
        rc = blob_read_file(e->r.store, &side->blob, spool.fd, spool.path, 0, err);
    if (rc == ERROR_NO_SPACE)
        rc = export_no_room(e, err);
    if (rc == 0)
        rc = export_send(e, file, &spool, err);
    target_clear(&spool);
    return rc;
}
