/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index in the cache: the block as it is in memory, mapped. A
 * copy is believed only where its checksum holds, and can go at any time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "segment_parts.h"

static const char magic[8] = "byrecac1";

enum { CHECKED = 48, /* the checksum of everything behind the header */ PIECE = 1 << 20 };

static void encode_header(uint8_t out[CS_CACHE_HEADER], const struct cs_segment *s,
                          const uint8_t checksum[CS_CHECKSUM_SIZE])
{
    memset(out, 0, CS_CACHE_HEADER);
    memcpy(out, magic, 8);
    memcpy(out + 8, s->id.bytes, CS_NAME_SIZE);
    cs_le64(out + 24, s->entry_count);
    cs_le64(out + 32, s->filter_blocks);
    cs_le32(out + 40, s->pack_count);
    cs_le32(out + 44, s->fan_bits);
    memcpy(out + CHECKED, checksum, CS_CHECKSUM_SIZE);
}

/* Of the file behind the header, up to ${end}. It is read, for what is mapped and touched counts as
 * memory of this process. */
static bool checksum_of(int fd, uint64_t end, uint8_t checksum[CS_CHECKSUM_SIZE])
{
    struct cs_checksummer *sum = cs_checksummer_new();
    uint8_t *piece = malloc(PIECE);
    bool good = sum != NULL && piece != NULL;
    for (uint64_t at = CS_CACHE_HEADER; good && at < end;) {
        size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
        ssize_t n = pread(fd, piece, len, (off_t)at);
        good = n > 0;
        if (good) {
            cs_checksummer_add(sum, piece, (size_t)n);
            at += (uint64_t)n;
        }
    }
    if (good)
        cs_checksummer_end(sum, checksum);
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

/* Whether the file is the segment, with nothing wrong; then ${s} has its shape. */
static bool is_good(int fd, struct cs_segment *s, const struct cs_state_segment *which)
{
    uint8_t header[CS_CACHE_HEADER], expected[CS_CACHE_HEADER], checksum[CS_CHECKSUM_SIZE];
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= CS_CACHE_HEADER ||
        pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header ||
        cs_from_le64(header + 24) != which->entries || which->entries > CS_SEGMENT_ENTRIES_MAX)
        return false;
    s->memory_len = (size_t)st.st_size;
    if (cs_segment_shape(s, which->entries, cs_from_le32(header + 40)).end != s->memory_len ||
        !checksum_of(fd, s->memory_len, checksum))
        return false;
    encode_header(expected, s, checksum);
    return memcmp(expected, header, sizeof header) == 0;
}

/* Maps the cached copy. False where there is none, or one that is not to be trusted. */
static bool load(struct cs_segment *out, const struct cs_store *store,
                 const struct cs_state_segment *which)
{
    struct cs_segment s = {.id = which->id};
    char *path = cache_path(store, &which->id);
    s.fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    free(path);
    if (s.fd < 0)
        return false;
    if (is_good(s.fd, &s, which)) {
        s.live = calloc(s.pack_count + 1U, sizeof *s.live);
        s.window = calloc(1, sizeof *s.window);
        s.memory = mmap(NULL, s.memory_len, PROT_READ, MAP_SHARED, s.fd, 0);
        if (s.live != NULL && s.window != NULL && s.memory != MAP_FAILED) {
            cs_segment_point_into(&s);
            *out = s;
            return true;
        }
        if (s.memory != MAP_FAILED)
            munmap(s.memory, s.memory_len);
    }
    free(s.live);
    free(s.window);
    close(s.fd);
    return false;
}

/* ---- making a copy ---- */

static int write_at(void *arg, uint64_t at, const void *data, size_t len, struct cs_error *err)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = pwrite(*(int *)arg, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cs_fail_sys(err, n < 0 ? errno : EIO, "the cache");
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
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

/* Reads the segment from the repository to ${fd}. What is wrong with the cache is nobody's failure:
 * false, and ${*rc} is 0. */
static bool fill(int fd, struct cs_store *store, const struct cs_state_segment *which, int *rc,
                 struct cs_error *err)
{
    struct cs_segment_builder b = {.spill = write_at, .arg = &fd};
    struct cs_segment *s = &b.segment;
    uint8_t checksum[CS_CHECKSUM_SIZE];
    struct cs_error e = {0};
    bool good = false;
    *rc = cs_segment_read(store, which, &b, &e);
    if (*rc == 0) {
        good = write_at(&fd, 0, s->memory, s->memory_len, NULL) == 0 &&
               checksum_of(fd, b.layout.end, checksum);
        if (good) {
            encode_header(s->memory, s, checksum);
            good = write_at(&fd, 0, s->memory, CS_CACHE_HEADER, NULL) == 0;
        }
    } else if (b.spilling_failed) {
        *rc = 0;
    } else {
        *rc = cs_fail(err, *rc, "%s", e.message);
    }
    cs_segment_clear(s);
    return good;
}

static bool make(struct cs_store *store, const struct cs_state_segment *which, int *rc,
                 struct cs_error *err)
{
    char *path = cache_path(store, &which->id), *temporary = NULL;
    bool good = false;
    *rc = 0;
    if (path == NULL || asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0) {
        free(path);
        return false;
    }
    make_folders(path);
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        good = fill(fd, store, which, rc, err);
        good = close(fd) == 0 && good && rename(temporary, path) == 0;
        if (!good)
            unlink(temporary);
    }
    free(path);
    free(temporary);
    return good;
}

int cs_segment_load(struct cs_segment *segment, struct cs_store *store,
                    const struct cs_state_segment *which, struct cs_error *err)
{
    int rc;
    if (store->cache_dir == NULL)
        return cs_segment_fetch(segment, store, which, err);
    if (load(segment, store, which))
        return 0;
    bool made = make(store, which, &rc, err);
    if (rc < 0)
        return rc;
    return made && load(segment, store, which) ? 0 : cs_segment_fetch(segment, store, which, err);
}
