/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scratch files of content mode, their folder, and the names that go with them.
 * Whoever may look into the folder sees what guests overwrite: it is the
 * machine's user's, and nobody else's.
 */
#include "live/fleece.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "live/live.h"
#include "live/machine.h"
#include "live/overlay.h"

static const char socket_name[] = "nbd" LIVE_OVERLAY_SUFFIX;

size_t fleece_first(const struct journal *j)
{
    size_t i = 0;
    while (i < j->disk_count && j->disks[i].mode != JOURNAL_CONTENT)
        i++;
    return i;
}

/* ---- names ---- */

char *fleece_folder(const struct journal_disk *d)
{
    const char *slash = strrchr(d->overlay, '/');
    return strndup(d->overlay, slash != NULL ? (size_t)(slash - d->overlay) : 0);
}

char *fleece_socket(const struct journal_disk *d)
{
    char *folder = fleece_folder(d), *path = NULL;
    if (folder == NULL || asprintf(&path, "%s/%s", folder, socket_name) < 0)
        path = NULL;
    free(folder);
    return path;
}

char *fleece_uri(const struct journal_disk *d)
{
    static const char prefix[] = "nbd+unix:///";
    char *path = fleece_socket(d);
    size_t room =
        path != NULL ? sizeof prefix + strlen(d->overlay_node) + 16 + 3 * strlen(path) : 0;
    char *uri = path != NULL ? malloc(room) : NULL;
    if (uri != NULL) {
        size_t n = (size_t)snprintf(uri, room, "%s%s?socket=", prefix, d->overlay_node);
        for (const char *c = path; *c != 0; c++)
            n += (size_t)(isalnum((unsigned char)*c) || strchr("/-._", *c) != NULL
                              ? snprintf(uri + n, room - n, "%c", *c)
                              : snprintf(uri + n, room - n, "%%%02X", (unsigned char)*c));
    }
    free(path);
    return uri;
}

/* A name that QEMU has made up is another one each time. */
static const char *lasting_name(const struct journal_disk *d)
{
    return d->node[0] != '#' ? d->node : d->device;
}

char *fleece_recorded_as(const struct journal *j, size_t i)
{
    const struct journal_disk *d = &j->disks[i];
    char number[24] = "", *name = NULL;
    for (size_t k = 0; k < j->disk_count; k++)
        if (k != i && j->disks[k].mode == JOURNAL_CONTENT &&
            strcmp(lasting_name(&j->disks[k]), lasting_name(d)) == 0)
            snprintf(number, sizeof number, "-%zu", i);
    if (asprintf(&name, "qmp:%s/%s%s", j->socket, lasting_name(d), number) < 0)
        return NULL;
    for (char *c = strrchr(j->socket, '/') != NULL ? name + 4 + strlen(j->socket) + 1 : name;
         *c != 0; c++)
        if (!isalnum((unsigned char)*c) && strchr("-._", *c) == NULL)
            *c = '_';
    return name;
}

/* Disks that come to be known by each other's names must not have each other's bitmaps. */
char *fleece_bitmap_name(const char *name, size_t i)
{
    enum { DIGITS = 4 };
    char *copy = strdup(name);
    size_t n = strlen(name);
    if (copy == NULL || n < DIGITS)
        return copy;
    unsigned long value = strtoul(copy + n - DIGITS, NULL, 16) + i + 1;
    snprintf(copy + n - DIGITS, DIGITS + 1, "%04lx", value & 0xffff);
    return copy;
}

/* ---- before anything is touched ---- */

static int check_folder(const char *folder, struct error *err)
{
    struct sockaddr_un address;
    uint64_t left = 0, margin = 0;
    if (strlen(folder) + 1 + sizeof socket_name > sizeof address.sun_path)
        return error_set(err, ERROR_USAGE,
                         "%s: is too long a name for a folder with a socket: name a shorter one "
                         "with --scratch-dir",
                         folder);
    int rc = overlay_room(folder, &left, &margin, err);
    if (rc == 0 && left < margin)
        rc = error_set(err, ERROR_NO_SPACE,
                       "there is no room for what the machine overwrites during the backup: %s "
                       "would have %llu MiB (--scratch-dir names another folder)",
                       folder, (unsigned long long)(left >> 20));
    return rc;
}

int fleece_place(struct journal *j, const char *scratch_dir, struct error *err)
{
    const char *tmpdir = getenv("TMPDIR");
    uint32_t random;
    char *folder = NULL;
    if (fleece_first(j) == j->disk_count)
        return 0;
    if (scratch_dir == NULL)
        scratch_dir = tmpdir != NULL && tmpdir[0] != 0 ? tmpdir : "/tmp";
    char *parent = realpath(scratch_dir, NULL);
    if (parent == NULL)
        return error_sys(err, errno, "%s", scratch_dir);
    int rc = getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random
                 ? error_sys(err, errno, "random bytes")
                 : 0;
    if (rc == 0 && asprintf(&folder, "%s/byre-%08x", parent, random) < 0) {
        folder = NULL;
        rc = error_no_memory(err);
    }
    if (rc == 0)
        rc = check_folder(folder, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_CONTENT &&
            asprintf(&j->disks[i].overlay, "%s/disk-%zu" LIVE_OVERLAY_SUFFIX, folder, i) < 0) {
            j->disks[i].overlay = NULL;
            rc = error_no_memory(err);
        }
    free(folder);
    free(parent);
    return rc;
}

/* ---- the files ---- */

/* Of "Uid: REAL EFFECTIVE ..." the second number. */
static unsigned long effective(const char *line)
{
    char *end;
    strtoul(line + sizeof "Uid:" - 1, &end, 10);
    return strtoul(end, NULL, 10);
}

/* The user that process ${pid} acts as; byre's own where that is not known. */
static void find_owner(pid_t pid, uid_t *uid, gid_t *gid)
{
    char path[48], line[256];
    *uid = geteuid();
    *gid = getegid();
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *f = pid > 0 ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "Uid:", 4) == 0)
            *uid = (uid_t)effective(line);
        else if (strncmp(line, "Gid:", 4) == 0)
            *gid = (gid_t)effective(line);
    }
    if (f != NULL)
        fclose(f);
}

static int give_away(const char *path, uid_t uid, gid_t gid, struct error *err)
{
    if (geteuid() == 0 && chown(path, uid, gid) < 0)
        return error_sys(err, errno, "%s: giving it to the machine", path);
    return 0;
}

static int make_folder(const struct journal_disk *d, uid_t uid, gid_t gid, struct error *err)
{
    char *folder = fleece_folder(d);
    if (folder == NULL)
        return error_no_memory(err);
    bool made = mkdir(folder, 0700) == 0;
    int rc = made ? give_away(folder, uid, gid, err) : error_sys(err, errno, "%s", folder);
    if (rc < 0 && made)
        rmdir(folder);
    free(folder);
    return rc;
}

int fleece_create(const struct journal *j, size_t i, struct error *err)
{
    const struct journal_disk *d = &j->disks[i];
    char size[32];
    uid_t uid;
    gid_t gid;
    const char *const argv[] = {"qemu-img",          "create",   "-q", "-f", "qcow2", "-o",
                                "lazy_refcounts=on", d->overlay, size, NULL};
    snprintf(size, sizeof size, "%llu", (unsigned long long)d->size);
    find_owner(j->machine, &uid, &gid);
    int rc = i == fleece_first(j) ? make_folder(d, uid, gid, err) : 0;
    if (rc < 0)
        return rc;
    int fd = open(d->overlay, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        rc = error_sys(err, errno, "%s", d->overlay);
    else
        close(fd);
    if (rc == 0)
        rc = overlay_qemu_img(argv, err);
    if (rc == 0)
        rc = give_away(d->overlay, uid, gid, err);
    if (rc < 0)
        fleece_remove(d, NULL);
    return rc;
}

int fleece_remove(const struct journal_disk *d, struct error *err)
{
    char *folder = fleece_folder(d), *socket = fleece_socket(d);
    int rc = folder == NULL || socket == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && unlink(d->overlay) < 0 && errno != ENOENT)
        rc = error_sys(err, errno, "%s", d->overlay);
    /* others may be in it still; then it goes with the last one */
    if (rc == 0 && rmdir(folder) < 0 && errno == ENOTEMPTY && unlink(socket) == 0)
        rmdir(folder);
    free(folder);
    free(socket);
    return rc;
}

int fleece_end(struct machine *m, struct journal *j, bool archived, struct error *err)
{
    if (fleece_first(j) == j->disk_count)
        return 0;
    int rc = m->ops->fleece_end(m, j, archived, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        struct journal_disk *d = &j->disks[i];
        if (d->mode != JOURNAL_CONTENT)
            continue;
        rc = fleece_remove(d, err);
        if (rc == 0)
            d->step = JOURNAL_REMOVED;
    }
    return rc;
}
