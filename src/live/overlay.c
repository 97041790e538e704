/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes and removes overlays, looks into their first bytes, and has qemu-img
 * commit them. When that may be done is not decided here.
 */
#include "live/overlay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/program.h"
#include "base/words.h"
#include "live/fleece.h"
#include "live/live.h"

enum { TRIES = 20, HEADER = 80, MAX_L1 = 32 << 20, DATA_FILE = 4 };
enum { QEMU_LOCKS = 100, QEMU_LOCKS_LEN = 200 }; /* bytes of a file that QEMU locks */

char *overlay_path(const char *base, const char *folder)
{
    const char *name = strrchr(base, '/');
    char *path = NULL;
    int n = folder == NULL ? asprintf(&path, "%s" LIVE_OVERLAY_SUFFIX, base)
                           : asprintf(&path, "%s/%s" LIVE_OVERLAY_SUFFIX, folder,
                                      name != NULL ? name + 1 : base);
    return n < 0 ? NULL : path;
}

/* ---- qemu-img ---- */

/* ${path} as a value of an option: a comma there is two. */
static char *option_value(const char *path)
{
    char *value = malloc(2 * strlen(path) + 1), *to = value;
    for (; value != NULL && *path != 0; path++) {
        if (*path == ',')
            *to++ = ',';
        *to++ = *path;
    }
    if (value != NULL)
        *to = 0;
    return value;
}

/* The last line of what it said. */
static const char *last_line(char *output)
{
    const char *last = "it does not say why";
    char *rest = output;
    for (char *line = strtok_r(output, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        last = strncmp(line, "qemu-img: ", 10) == 0 ? line + 10 : line;
    return last;
}

static int run(const char *const *argv, bool *again, struct error *err)
{
    const struct program_options options = {.argv = argv, .capture = true};
    struct program_result result;
    int rc = program_run(&options, &result, err);
    if (again != NULL)
        *again = rc == 0 && result.code != 0 && strstr(result.output, "CPU usage") != NULL;
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_NOT_FOUND,
                         "there is no qemu-img here (the package qemu-utils has it)");
    if (rc < 0 || result.code == 0)
        return rc;
    bool in_use = strstr(result.output, " lock") != NULL && strstr(result.output, "Failed to get");
    return error_set(err, in_use ? ERROR_IN_USE : ERROR_IO, "qemu-img: %s",
                     last_line(result.output));
}

int overlay_qemu_img(const char *const *argv, struct error *err)
{
    return run(argv, NULL, err);
}

/* ---- keys ---- */

static int make_key(const char *path, struct error *err)
{
    uint8_t random[OVERLAY_KEY / 2];
    char key[OVERLAY_KEY + 1];
    int fd = -1;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_sys(err, errno, "random bytes");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(key + 2 * i, 3, "%02x", random[i]);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc =
        fd < 0 ? error_sys(err, errno, "%s", path) : io_write(fd, path, 0, key, OVERLAY_KEY, err);
    if (rc == 0 && fsync(fd) < 0)
        rc = error_sys(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        rc = io_sync_folder_of(path, err);
    explicit_bzero(random, sizeof random);
    explicit_bzero(key, sizeof key);
    return rc;
}

int overlay_read_key(const char *path, char key[OVERLAY_KEY + 1], struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc =
        fd < 0 ? error_sys(err, errno, "%s", path) : io_read(fd, path, 0, key, OVERLAY_KEY, err);
    key[OVERLAY_KEY] = 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* ---- making and removing ---- */

static int create_file(const struct journal_disk *d, struct error *err)
{
    struct stat st;
    if (stat(d->base, &st) < 0)
        return error_sys(err, errno, "%s", d->base);
    int fd = open(d->overlay, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_sys(err, errno, "%s", d->overlay);
    int rc = 0;
    if ((geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0) ||
        fchmod(fd, st.st_mode & 0666) < 0)
        rc = error_sys(err, errno, "%s: giving it to the owner of %s", d->overlay, d->base);
    close(fd);
    if (rc < 0)
        unlink(d->overlay);
    return rc;
}

static int format_file(const struct journal_disk *d, struct error *err)
{
    const char *argv[24];
    char size[32], *secret = NULL;
    size_t n = 0;
    bool again = true;
    int rc = 0;
    snprintf(size, sizeof size, "%llu", (unsigned long long)d->size);
    char *key = option_value(d->key_file != NULL ? d->key_file : "");
    if (key == NULL || asprintf(&secret, "secret,id=key,file=%s", key) < 0) {
        free(key);
        return error_no_memory(err);
    }
    free(key);
    argv[n++] = "qemu-img";
    argv[n++] = "create";
    argv[n++] = "-q";
    argv[n++] = "-u";
    argv[n++] = "-f";
    argv[n++] = "qcow2";
    argv[n++] = "-b";
    argv[n++] = d->base;
    argv[n++] = "-F";
    argv[n++] = d->format;
    if (d->key_file != NULL) {
        argv[n++] = "--object";
        argv[n++] = secret;
        argv[n++] = "-o";
        argv[n++] = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10";
    }
    argv[n++] = d->overlay;
    argv[n++] = size;
    argv[n] = NULL;
    for (int i = 0; again && i < TRIES; i++) /* it measures its own speed, and may find none */
        rc = run(argv, &again, err);
    free(secret);
    return rc;
}

int overlay_create(const struct journal_disk *d, struct error *err)
{
    int rc = create_file(d, err);
    if (rc < 0)
        return rc == ERROR_EXISTS ? error_set(err, ERROR_EXISTS,
                                              "%s is there already: is it an overlay that an "
                                              "earlier backup has left? nothing is done",
                                              d->overlay)
                                  : rc;
    if (d->key_file != NULL)
        rc = make_key(d->key_file, err);
    if (rc == 0)
        rc = format_file(d, err);
    if (rc == 0)
        rc = io_sync(d->overlay, err);
    if (rc == 0)
        rc = io_sync_folder_of(d->overlay, err);
    if (rc < 0)
        overlay_remove(d, NULL);
    return rc;
}

int overlay_check_unused(const struct journal_disk *d, struct error *err)
{
    struct flock probe = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_LOCKS, .l_len = QEMU_LOCKS_LEN};
    int fd = open(d->overlay, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_sys(err, errno, "%s", d->overlay);
    int rc = 0;
    if (fcntl(fd, F_OFD_GETLK, &probe) == 0 && probe.l_type != F_UNLCK)
        rc = error_set(err, ERROR_IN_USE,
                       "%s: a machine has it open still, though byre cannot find that: it is not "
                       "removed",
                       d->overlay);
    close(fd);
    return rc;
}

/* A power cut must not bring it back where the journal, that tells of it, is gone. */
int overlay_remove(const struct journal_disk *d, struct error *err)
{
    if (d->mode == JOURNAL_CONTENT)
        return fleece_remove(d, err);
    if (unlink(d->overlay) == 0) {
        int rc = io_sync_folder_of(d->overlay, err);
        if (rc < 0)
            return rc;
    } else if (errno != ENOENT) {
        return error_sys(err, errno, "%s", d->overlay);
    }
    if (d->key_file != NULL && unlink(d->key_file) < 0 && errno != ENOENT)
        return error_sys(err, errno, "%s", d->key_file);
    return 0;
}

/* ---- looking ---- */

static int read_l1(int fd, const struct journal_disk *d, bool *empty, struct error *err)
{
    uint8_t header[HEADER];
    uint32_t magic, entries;
    uint64_t offset, incompatible;
    int rc = io_read(fd, d->overlay, 0, header, sizeof header, err);
    if (rc < 0)
        return rc;
    memcpy(&magic, header, sizeof magic);
    memcpy(&entries, header + 36, sizeof entries);
    memcpy(&offset, header + 40, sizeof offset);
    entries = be32toh(entries);
    offset = be64toh(offset);
    memcpy(&incompatible, header + 72, sizeof incompatible);
    if (be32toh(magic) != 0x514649fb || entries > MAX_L1 / 8 || offset > INT64_MAX / 2)
        return error_set(err, ERROR_CORRUPT, "%s: is no qcow2 file", d->overlay);
    if ((be64toh(incompatible) & DATA_FILE) != 0)
        return error_set(err, ERROR_CORRUPT,
                         "%s: has its data in another file, so that it is not the one that byre "
                         "made: nothing is done with it",
                         d->overlay);
    uint8_t *l1 = malloc((size_t)entries * 8 + 1);
    if (l1 == NULL)
        return error_no_memory(err);
    rc = io_read(fd, d->overlay, offset, l1, (size_t)entries * 8, err);
    *empty = rc == 0 && io_is_zero(l1, (size_t)entries * 8);
    free(l1);
    return rc;
}

int overlay_is_empty(const struct journal_disk *d, bool *empty, struct error *err)
{
    struct stat st;
    *empty = false;
    int fd = open(d->overlay, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "%s", d->overlay);
    int rc = fstat(fd, &st) < 0 ? error_sys(err, errno, "%s", d->overlay) : 0;
    if (rc == 0 && st.st_size == 0)
        *empty = true; /* not even formatted */
    else if (rc == 0)
        rc = read_l1(fd, d, empty, err);
    close(fd);
    return rc;
}

uint64_t overlay_bytes(const struct journal_disk *d)
{
    struct stat st;
    return stat(d->overlay, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

int overlay_room(const char *path, uint64_t *left, uint64_t *margin, struct error *err)
{
    struct statvfs fs;
    char *copy = strdup(path);
    if (copy == NULL)
        return error_no_memory(err);
    int rc = statvfs(dirname(copy), &fs) < 0 ? error_sys(err, errno, "%s", path) : 0;
    free(copy);
    if (rc < 0)
        return rc;
    *left = (uint64_t)(geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
    *margin = (uint64_t)fs.f_blocks * fs.f_frsize / 16;
    if (*margin > 1U << 30)
        *margin = 1U << 30;
    return 0;
}

/* ---- the way back without a machine ---- */

/* qemu-img's words. Overlay and base are those of the journal, and not what the overlay says of
 * itself: the machine could write there, and qemu-img may be run by root. */
static int commit_words(const struct journal_disk *d, const char *secret_file, struct words *words,
                        struct error *err)
{
    char *overlay = option_value(d->overlay), *base = option_value(d->base);
    char *key = option_value(d->key_file != NULL ? d->key_file : "");
    char *secret = option_value(secret_file);
    int rc =
        overlay == NULL || base == NULL || key == NULL || secret == NULL ? error_no_memory(err) : 0;
    const char *const first[] = {"qemu-img", "commit", "-q", "-d"};
    for (size_t i = 0; rc == 0 && i < sizeof first / sizeof first[0]; i++)
        rc = words_add(words, err, "%s", first[i]);
    if (rc == 0 && d->encrypted && (rc = words_add(words, err, "--object")) == 0 &&
        (rc = words_add(words, err, "secret,id=key,file=%s", key)) == 0 &&
        (rc = words_add(words, err, "--object")) == 0)
        rc = words_add(words, err, "secret,id=disk,file=%s", secret);
    if (rc == 0)
        rc = words_add(words, err, "--image-opts");
    if (rc == 0)
        rc = words_add(words, err,
                       "driver=qcow2,file.driver=file,file.filename=%s%s,backing.driver=%s,"
                       "backing.file.filename=%s%s",
                       overlay, d->encrypted ? ",encrypt.key-secret=key" : "", d->format, base,
                       d->encrypted ? ",backing.encrypt.key-secret=disk" : "");
    free(overlay);
    free(base);
    free(key);
    free(secret);
    return rc;
}

int overlay_commit(const struct journal_disk *d, const char *secret_file, struct error *err)
{
    struct words words = {0};
    if (d->encrypted && secret_file == NULL)
        return error_set(err, ERROR_AUTH,
                         "%s is encrypted: byre live recover --secret-file FILE, with the disk's "
                         "secret",
                         d->base);
    int rc = commit_words(d, secret_file != NULL ? secret_file : "", &words, err);
    if (rc == 0)
        rc = run((const char *const *)words.items, NULL, err);
    words_clear(&words);
    return rc == 0 ? io_sync(d->base, err) : rc;
}

char *overlay_commit_text(const struct journal_disk *d)
{
    struct words words = {0};
    char *text =
        commit_words(d, "SECRET-OF-THE-DISK", &words, NULL) == 0 ? words_quoted(&words) : NULL;
    words_clear(&words);
    return text;
}
