/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tar into a folder, believing nothing: the manifest comes first and names
 * every file, each of which may come once; what is no regular file, leaves the
 * folder or is too much ends it, and at last every file has to have its sum.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/bundle.h"
#include "engine/fd_stream.h"
#include "engine/import.h"
#include "engine/path.h"
#include "engine/target.h"

enum { BLOCK = 4096, LOOK_EVERY = 16 << 20, SPARE_SHARE = 32, SPARE_MAX = 256 << 20 };
enum { ENTRIES_MAX = 2 * MANIFEST_FILES }; /* of a tar: folders may be told, too */

static const uint64_t logical_max = UINT64_C(1) << 46; /* of all files, with their holes */

struct unpack {
    struct import *import;
    const char *from; /* for messages */
    int fd;
    struct bundle_reader *tar;
    struct sha256 *sha;
    char manifest_sum[SHA256_HEX];
    char *sums;
    size_t sums_len;
    size_t entries;
    uint64_t logical; /* bytes of files so far */
    uint64_t written; /* since the free space was looked at */
    uint64_t done;    /* bytes of the tar, as it came, */
    uint64_t total;   /* of these; 0 where that is not known */
    const char *what; /* the file at hand */
};

static int step(struct unpack *u, struct error *err)
{
    const struct engine_listener *l = &u->import->options->listener;
    if (l->progress != NULL)
        l->progress(l->arg, u->what, u->done, u->total);
    if (l->cancel != NULL && *l->cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    return 0;
}

static int idle(void *arg, struct error *err)
{
    return step(arg, err);
}

static int on_read(void *arg, void *buf, size_t len, size_t *got, struct error *err)
{
    struct unpack *u = arg;
    int rc = fd_stream_read(u->fd, u->from, buf, len, got, idle, u, err);
    u->done += *got;
    return rc;
}

/* ---- one file ---- */

struct output {
    int fd;
    const char *path;
    uint64_t at; /* all before is hashed, and written or a hole */
};

/* What others need of the disk is left to them. */
static int check_room(struct unpack *u, const struct output *out, struct error *err)
{
    struct statvfs fs;
    u->written = 0;
    if (fstatvfs(out->fd, &fs) < 0)
        return error_sys(err, errno, "%s: its free space", out->path);
    uint64_t spare = (uint64_t)fs.f_blocks * fs.f_frsize / SPARE_SHARE;
    if ((uint64_t)fs.f_bavail * fs.f_frsize > (spare < SPARE_MAX ? spare : SPARE_MAX))
        return 0;
    return error_set(err, ERROR_NO_SPACE,
                     "%s: what the tar holds does not fit in %s; set TMPDIR to a folder with more "
                     "room",
                     u->what, u->import->options->temporary);
}

static int write_block(struct unpack *u, const struct output *out, const uint8_t *buf, size_t len,
                       struct error *err)
{
    if (io_is_zero(buf, len))
        return 0;
    u->written += len;
    int rc = u->written > LOOK_EVERY ? check_room(u, out, err) : 0;
    return rc == 0 ? io_write(out->fd, out->path, out->at, buf, len, err) : rc;
}

static int add_hole(struct unpack *u, struct output *out, uint64_t end, struct error *err)
{
    int rc = 0;
    while (rc == 0 && out->at < end) {
        uint64_t n = end - out->at < LOOK_EVERY ? end - out->at : LOOK_EVERY;
        rc = sha256_add_zeros(u->sha, n, err);
        out->at += n;
        if (rc == 0)
            rc = step(u, err);
    }
    return rc;
}

static int add_data(struct unpack *u, struct output *out, const uint8_t *buf, size_t len,
                    struct error *err)
{
    int rc = sha256_add(u->sha, buf, len, err);
    for (size_t done = 0; rc == 0 && done < len;) {
        size_t n = BLOCK - out->at % BLOCK;
        if (n > len - done)
            n = len - done;
        rc = write_block(u, out, buf + done, n, err);
        out->at += n;
        done += n;
    }
    return rc == 0 ? step(u, err) : rc;
}

static int copy_data(struct unpack *u, struct output *out, uint64_t size, struct error *err)
{
    bool found = true;
    int rc = sha256_begin(u->sha, err);
    while (rc == 0 && found) {
        const void *buf = NULL;
        size_t len = 0;
        uint64_t offset = 0;
        rc = bundle_reader_data(u->tar, &buf, &len, &offset, &found, err);
        if (rc < 0 || !found)
            break;
        if (offset < out->at || offset > size || len > size - offset)
            return error_set(err, ERROR_CORRUPT, "%s: its pieces in the tar contradict each other",
                             u->what);
        rc = add_hole(u, out, offset, err);
        if (rc == 0)
            rc = add_data(u, out, buf, len, err);
    }
    if (rc == 0)
        rc = add_hole(u, out, size, err);
    if (rc == 0 && ftruncate(out->fd, (off_t)size) < 0)
        rc = error_sys(err, errno, "%s: setting its size", out->path);
    return rc;
}

static int check_size(struct unpack *u, const struct manifest_file *file, uint64_t size,
                      struct error *err)
{
    if (size > logical_max || u->logical > logical_max - size)
        return error_set(err, ERROR_UNSUPPORTED, "%s: the tar claims to hold more than 64 TiB",
                         u->what);
    u->logical += size;
    if (file->kind == MANIFEST_RAW && size != file->virtual_size)
        return error_set(err, ERROR_CORRUPT, "%s: has %llu bytes, and " MANIFEST_NAME " says %llu",
                         u->what, (unsigned long long)size, (unsigned long long)file->virtual_size);
    return 0;
}

static int unpack_file(struct unpack *u, const struct bundle_entry *entry, struct import_file *file,
                       struct error *err)
{
    char *path = path_join(u->import->folder, file->manifest->name);
    struct output out = {.fd = -1, .path = path};
    if (path == NULL)
        return error_no_memory(err);
    int rc = check_size(u, file->manifest, entry->size, err);
    if (rc == 0)
        rc = target_make_folders(path, err);
    if (rc == 0) {
        out.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        rc = out.fd < 0 ? error_sys(err, errno, "%s", path) : check_room(u, &out, err);
    }
    if (rc == 0)
        rc = copy_data(u, &out, entry->size, err);
    if (rc == 0)
        rc = sha256_end(u->sha, file->sha256, err);
    if (out.fd >= 0 && close(out.fd) < 0 && rc == 0)
        rc = error_sys(err, errno, "%s", path);
    file->unpacked = rc == 0;
    free(path);
    return rc;
}

/* ---- the manifest and the sums ---- */

static int read_text(struct unpack *u, const struct bundle_entry *entry, char **text,
                     struct error *err)
{
    bool found = true;
    int rc = 0;
    *text = NULL;
    if (entry->size > MANIFEST_MAX)
        return error_set(err, ERROR_CORRUPT, "%s: has more than %d bytes", u->what, MANIFEST_MAX);
    *text = calloc(1, (size_t)entry->size + 1);
    if (*text == NULL)
        return error_no_memory(err);
    while (rc == 0 && found) {
        const void *buf = NULL;
        size_t len = 0;
        uint64_t offset = 0;
        rc = bundle_reader_data(u->tar, &buf, &len, &offset, &found, err);
        if (rc == 0 && found && (offset > entry->size || len > entry->size - offset))
            rc = error_set(err, ERROR_CORRUPT, "%s: is longer than its header says", u->what);
        if (rc == 0 && found && len > 0)
            memcpy(*text + offset, buf, len);
    }
    return rc;
}

static int compare_files(const void *a, const void *b)
{
    const struct import_file *x = a, *y = b;
    return strcmp(x->manifest->name, y->manifest->name);
}

struct import_file *import_find(const struct import *import, const char *name)
{
    struct manifest_file manifest = {.name = (char *)name};
    const struct import_file key = {.manifest = &manifest};
    return bsearch(&key, import->files, import->manifest.file_count, sizeof *import->files,
                   compare_files);
}

static int take_manifest(struct unpack *u, const struct bundle_entry *entry, struct error *err)
{
    struct import *import = u->import;
    struct manifest *m = &import->manifest;
    char *text = NULL;
    if (strcmp(u->what, MANIFEST_NAME) != 0)
        return error_set(err, ERROR_CORRUPT,
                         "%s: its first file is %s, not " MANIFEST_NAME
                         ", so that it is no export by byre",
                         u->from, u->what);
    int rc = read_text(u, entry, &text, err);
    if (rc == 0)
        rc = sha256_begin(u->sha, err);
    if (rc == 0)
        rc = sha256_add(u->sha, text, (size_t)entry->size, err);
    if (rc == 0)
        rc = sha256_end(u->sha, u->manifest_sum, err);
    if (rc == 0)
        rc = manifest_decode(m, text, (size_t)entry->size, err);
    free(text);
    if (rc < 0)
        return rc;
    if (m->since[0] != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s: holds only what differs from archive %.16s (%s); apply it to the "
                         "export of that one with qemu-img commit, and back up what that makes",
                         u->from, m->since, m->since_name);
    import->files = calloc(m->file_count + 1, sizeof *import->files);
    if (import->files == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < m->file_count; i++)
        import->files[i].manifest = &m->files[i];
    qsort(import->files, m->file_count, sizeof *import->files, compare_files);
    return 0;
}

/* Undoes sha256sum's escapes. */
static void unescape(char *name)
{
    char *to = name;
    for (const char *p = name; *p != 0; p++) {
        if (*p == '\\' && p[1] != 0) {
            p++;
            *to++ = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p;
        } else {
            *to++ = *p;
        }
    }
    *to = 0;
}

static int check_line(struct unpack *u, char *line, size_t *checked, struct error *err)
{
    bool escaped = line[0] == '\\';
    char *hex = line + escaped, *name = hex + SHA256_HEX + 1;
    if (strlen(hex) < SHA256_HEX + 1 || strspn(hex, "0123456789abcdef") != SHA256_HEX - 1 ||
        hex[64] != ' ' || (hex[65] != ' ' && hex[65] != '*'))
        return error_set(err, ERROR_CORRUPT, MANIFEST_SUMS ": cannot be understood");
    if (escaped)
        unescape(name);
    const struct import_file *file = import_find(u->import, name);
    const char *sum = file != NULL ? file->sha256 : u->manifest_sum;
    if (file == NULL && strcmp(name, MANIFEST_NAME) != 0)
        return error_set(err, ERROR_CORRUPT, MANIFEST_SUMS ": names %s, which is not in the tar",
                         name);
    if (strncmp(hex, sum, SHA256_HEX - 1) != 0)
        return error_set(err, ERROR_CORRUPT,
                         "%s: the tar is damaged: its SHA-256 is not the one "
                         "in " MANIFEST_SUMS,
                         name);
    ++*checked;
    return 0;
}

static int check_sums(struct unpack *u, struct error *err)
{
    const struct manifest *m = &u->import->manifest;
    size_t checked = 0;
    int rc = 0;
    for (size_t i = 0; i < m->file_count; i++)
        if (!u->import->files[i].unpacked)
            return error_set(err, ERROR_CORRUPT, "%s: %s is missing", u->from,
                             u->import->files[i].manifest->name);
    if (u->sums == NULL)
        return error_set(err, ERROR_CORRUPT, "%s: " MANIFEST_SUMS " is missing (cut off?)",
                         u->from);
    if (strlen(u->sums) != u->sums_len)
        return error_set(err, ERROR_CORRUPT, MANIFEST_SUMS ": cannot be understood");
    char *rest = u->sums;
    for (char *line = strsep(&rest, "\n"); rc == 0 && line != NULL; line = strsep(&rest, "\n"))
        if (*line != 0)
            rc = check_line(u, line, &checked, err);
    if (rc == 0 && checked != m->file_count + 1)
        rc = error_set(err, ERROR_CORRUPT, MANIFEST_SUMS ": has %zu lines for %zu files", checked,
                       m->file_count + 1);
    return rc;
}

/* ---- all of it ---- */

static int take_entry(struct unpack *u, const struct bundle_entry *entry, struct error *err)
{
    if (entry->strange != NULL)
        return error_set(err, ERROR_CORRUPT, "%s: %s is %s, which no export has", u->from, u->what,
                         entry->strange);
    if (!path_is_inside(u->what))
        return error_set(err, ERROR_CORRUPT, "%s: %s would leave its folder", u->from,
                         *u->what != 0 ? u->what : "an entry without a name");
    if (entry->is_folder)
        return 0;
    if (u->import->files == NULL)
        return take_manifest(u, entry, err);
    if (strcmp(u->what, MANIFEST_SUMS) == 0 && u->sums == NULL) {
        u->sums_len = (size_t)entry->size;
        return read_text(u, entry, &u->sums, err);
    }
    struct import_file *file = import_find(u->import, u->what);
    if (file == NULL || file->unpacked)
        return error_set(err, ERROR_CORRUPT, "%s: %s %s", u->from, u->what,
                         file != NULL ? "comes twice" : "is not in " MANIFEST_NAME);
    return unpack_file(u, entry, file, err);
}

/* Without the "./" that others' tars may have before each name, and the slash behind a folder's. */
static int tidy_name(const struct bundle_entry *entry, char **tidy, struct error *err)
{
    const char *name = entry->name;
    while (name[0] == '.' && name[1] == '/' && name[2] != 0)
        name += 2;
    *tidy = strdup(name);
    if (*tidy == NULL)
        return error_no_memory(err);
    size_t n = strlen(*tidy);
    if (entry->is_folder && n > 1 && (*tidy)[n - 1] == '/')
        (*tidy)[n - 1] = 0;
    return 0;
}

static int take_all(struct unpack *u, struct error *err)
{
    for (;;) {
        struct bundle_entry entry;
        char *name = NULL;
        bool found = false;
        int rc = bundle_reader_next(u->tar, &entry, &found, err);
        if (rc < 0 || !found)
            return rc;
        if (++u->entries > ENTRIES_MAX)
            return error_set(err, ERROR_CORRUPT, "%s: has more than %d entries", u->from,
                             ENTRIES_MAX);
        rc = tidy_name(&entry, &name, err);
        bool itself =
            rc == 0 && entry.is_folder && (strcmp(name, ".") == 0 || strcmp(name, "./") == 0);
        u->what = name;
        if (rc == 0 && !itself)
            rc = take_entry(u, &entry, err);
        if (rc == 0)
            rc = step(u, err);
        u->what = NULL;
        free(name);
        if (rc < 0)
            return rc;
    }
}

int import_unpack(struct import *import, int fd, struct error *err)
{
    const char *from = import->options->from;
    struct unpack u = {
        .import = import,
        .from = strcmp(from, "-") == 0 ? "standard input" : from,
        .fd = fd,
    };
    const struct bundle_source source = {.read = on_read, .arg = &u};
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        u.total = (uint64_t)st.st_size;
    int rc = sha256_new(&u.sha, err);
    if (rc == 0)
        rc = bundle_reader_new(&u.tar, &source, err);
    if (rc == 0)
        rc = take_all(&u, err);
    if (rc == 0 && import->files == NULL)
        rc = error_set(err, ERROR_CORRUPT, "%s: is empty", u.from);
    if (rc == 0)
        rc = check_sums(&u, err);
    if (rc == ERROR_CORRUPT && import->files == NULL)
        error_wrap(err, "%s", u.from);
    bundle_reader_free(u.tar);
    sha256_free(u.sha);
    free(u.sums);
    return rc;
}
