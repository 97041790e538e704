/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index in the cache: the block as it is in memory. What comes
 * before the entries is read into memory, and the entries are read as they are
 * asked for: nothing is mapped, for a disk that fails would end the process. A
 * copy is believed only where its checksum holds, and can go at any time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "checksum.h"
#include "segment_parts.h"

static const char magic[8] = "byrecac2";

enum {
    CHECKED = 48, /* the checksum of the entries, then of what is between them and the header */
    PIECE = 1 << 20,
    LEFT_BEHIND = 86400, /* seconds */
};

static void encode_header(uint8_t out[CS_CACHE_HEADER], const struct cs_segment *s,
                          const uint8_t checksum[CS_CHECKSUM_SIZE])
{
    memset(out, 0, CS_CACHE_HEADER);
    memcpy(out, magic, 8);
    memcpy(out + 8, s->id.bytes, CS_NAME_SIZE);
    cs_le64(out + 24, s->entry_count);
    cs_le64(out + 32, s->bucket_count);
    cs_le32(out + 40, s->pack_count);
    memcpy(out + CHECKED, checksum, CS_CHECKSUM_SIZE);
}

static bool read_at(int fd, uint64_t at, void *data, size_t len)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

static void add_front(struct cs_checksummer *sum, const struct cs_segment *s)
{
    cs_checksummer_add(sum, (const uint8_t *)s->memory + CS_CACHE_HEADER,
                       (size_t)s->entries_at - CS_CACHE_HEADER);
}

/* Of the entries in the file, and of ${s} in memory. */
static bool checksum_of(const struct cs_segment *s, uint8_t checksum[CS_CHECKSUM_SIZE])
{
    uint64_t left = s->entry_count * CS_SEGMENT_ENTRY, at = s->entries_at;
    struct cs_checksummer *sum = cs_checksummer_new();
    uint8_t *piece = malloc(PIECE);
    bool good = sum != NULL && piece != NULL;
    while (good && left > 0) {
        size_t len = left < PIECE ? (size_t)left : PIECE;
        good = read_at(s->fd, at, piece, len);
        if (good)
            cs_checksummer_add(sum, piece, len);
        at += len;
        left -= len;
    }
    if (good) {
        add_front(sum, s);
        cs_checksummer_end(sum, checksum);
    }
    cs_checksummer_free(sum);
    free(piece);
    return good;
}

static char *cache_path(const struct cs_store *store, const struct cs_name *id)
{
    char hex[CS_NAME_HEX];
    char *path = NULL;
    return asprintf(&path, "%s/segments/%s", store->cache_dir, cs_name_hex(id, hex)) < 0 ? NULL
                                                                                         : path;
}

/* Whether the file is the segment, with nothing wrong; then ${s} is all but its window. */
static bool is_good(struct cs_segment *s, const struct cs_state_segment *which)
{
    uint8_t header[CS_CACHE_HEADER], expected[CS_CACHE_HEADER], checksum[CS_CHECKSUM_SIZE];
    struct stat st;
    if (fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= CS_CACHE_HEADER ||
        !read_at(s->fd, 0, header, sizeof header) || cs_from_le64(header + 24) != which->entries ||
        which->entries > CS_SEGMENT_ENTRIES_MAX)
        return false;
    struct cs_segment_layout l = cs_segment_shape(s, which->entries, cs_from_le32(header + 40));
    if (l.end != (uint64_t)st.st_size || cs_segment_allocate(s, &l, false, NULL) < 0 ||
        !read_at(s->fd, 0, s->memory, l.entries) || !checksum_of(s, checksum))
        return false;
    encode_header(expected, s, checksum);
    return memcmp(expected, header, sizeof header) == 0;
}

/* Reads the cached copy. False where there is none, or one that is not to be trusted. */
static bool load(struct cs_segment *out, const struct cs_store *store,
                 const struct cs_state_segment *which)
{
    struct cs_segment s = {.id = which->id};
    char *path = cache_path(store, &which->id);
    s.fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    free(path);
    if (s.fd < 0)
        return false;
    if (is_good(&s, which)) {
        s.window = calloc(1, sizeof *s.window);
        if (s.window != NULL) {
            *out = s;
            return true;
        }
    }
    close(s.fd);
    cs_segment_clear(&s);
    return false;
}

/* ---- making a copy ---- */

struct copy { /* one that is made */
    struct cs_segment_builder builder;
    struct cs_checksummer *sum;
    int fd;
};

static bool write_at(int fd, uint64_t at, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

/* Takes entries, which come in their order. */
static bool spill(void *arg, uint64_t at, const void *data, size_t len)
{
    struct copy *c = arg;
    cs_checksummer_add(c->sum, data, len);
    return write_at(c->fd, at, data, len);
}

static void make_folders(const char *path)
{
    char *copy = strdup(path);
    for (char *p = copy; copy != NULL && (p = strchr(p + 1, '/')) != NULL; *p = '/') {
        *p = 0;
        mkdir(copy, 0700);
    }
    free(copy);
}

/* Reads the segment from the repository, its entries to the file. What is wrong with the cache is
 * nobody's failure: false, and ${*rc} is 0. */
static bool fill(struct copy *c, struct cs_store *store, const struct cs_state_segment *which,
                 int *rc, struct cs_error *err)
{
    struct cs_segment *s = &c->builder.segment;
    uint8_t checksum[CS_CHECKSUM_SIZE];
    struct cs_error e = {0};
    *rc = cs_segment_read(store, which, &c->builder, &e);
    if (*rc < 0 && c->builder.spilling_failed)
        *rc = 0;
    else if (*rc < 0)
        *rc = cs_fail(err, *rc, "%s", e.message);
    else {
        add_front(c->sum, s);
        cs_checksummer_end(c->sum, checksum);
        encode_header(s->memory, s, checksum);
        return write_at(c->fd, 0, s->memory, s->memory_len);
    }
    return false;
}

/* Makes the copy, and loads it, for its beginning is in memory by then. */
static bool make(struct cs_segment *out, struct cs_store *store,
                 const struct cs_state_segment *which, int *rc, struct cs_error *err)
{
    struct copy c = {.builder = {.spill = spill, .arg = &c}, .fd = -1};
    char *path = cache_path(store, &which->id), *temporary = NULL;
    struct cs_segment *s = &c.builder.segment;
    bool good = false;
    *rc = 0;
    c.sum = cs_checksummer_new();
    if (path == NULL || c.sum == NULL || asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0)
        goto out;
    make_folders(path);
    c.fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c.fd < 0)
        goto out;
    good = fill(&c, store, which, rc, err) && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    s->window = good ? calloc(1, sizeof *s->window) : NULL;
    good = s->window != NULL;
    if (good) {
        s->fd = c.fd;
        *out = *s;
        *s = (struct cs_segment){0};
    } else {
        close(c.fd);
    }
out:
    cs_segment_clear(s);
    cs_checksummer_free(c.sum);
    free(path);
    free(temporary);
    return good;
}

/* ---- sweeping ---- */

void cs_segment_uncache(const struct cs_store *store, const struct cs_name *id)
{
    char *path = store->cache_dir != NULL ? cache_path(store, id) : NULL;
    if (path != NULL)
        unlink(path);
    free(path);
}

static bool is_of_live(const struct cs_store *store, const char *file)
{
    struct cs_name id;
    return cs_name_parse(&id, file) && cs_state_segment(&store->state, &id) != NULL;
}

void cs_segment_sweep(const struct cs_store *store)
{
    char *path = NULL;
    DIR *dir = NULL;
    if (store->cache_dir != NULL && asprintf(&path, "%s/segments", store->cache_dir) >= 0) {
        dir = opendir(path);
        free(path);
    }
    if (dir == NULL)
        return;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        struct stat st;
        if (!is_of_live(store, e->d_name) &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            time(NULL) - st.st_mtime > LEFT_BEHIND)
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}

int cs_segment_load(struct cs_segment *segment, struct cs_store *store,
                    const struct cs_state_segment *which, struct cs_error *err)
{
    int rc = 0;
    if (store->cache_dir != NULL &&
        (load(segment, store, which) || make(segment, store, which, &rc, err)))
        return 0;
    return rc < 0 ? rc : cs_segment_fetch(segment, store, which, err);
}
