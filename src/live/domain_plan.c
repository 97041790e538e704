/* SPDX-License-Identifier: BSD-2-Clause */
/* Which disks of a domain are frozen. Whatever cannot be is said before anything is touched. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "live/domain.h"

static bool is(const char *text, const char *what)
{
    return text && strcmp(text, what) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);

    return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

/* Nothing of it can change: not worth freezing. NULL: it can. */
static const char *why_not_needed(const struct domain_disk *disk)
{
    if (is(disk->device, "cdrom"))
        return "a cdrom";
    if (is(disk->device, "floppy"))
        return "a floppy";
    return disk->readonly ? "read-only" : NULL;
}

/* NULL: it can be frozen. */
static const char *why_not(const struct domain_disk *disk)
{
    if (!is(disk->type, "file") && !is(disk->type, "block"))
        return "neither a file nor a block device of this host is its image";
    if (!disk->path)
        return "there is no medium";
    if (ends_with(disk->path, LIVE_OVERLAY_SUFFIX))
        return "it writes to the temporary overlay of another backup; see byre live status";
    if (disk->path[0] != '/')
        return "the name of its image is not absolute";
    if (is(disk->device, "lun"))
        return "it passes SCSI commands through";
    if (disk->shareable)
        return "other machines may write to it";
    if (disk->transient)
        return "it is transient: libvirt has an overlay on it already";
    if (disk->sliced)
        return "it is only a part of its file";
    if (disk->busy)
        return "a block job works on it";
    if (!is(disk->format, "qcow2") && !is(disk->format, "raw"))
        return "its format is neither qcow2 nor raw";
    return NULL;
}

static bool is_meant(const struct domain_disk *disk, const char *name)
{
    return is(disk->target, name) || is(disk->alias, name) || is(disk->path, name);
}

static bool is_asked_for(const struct live_options *o, const struct domain_disk *disk, bool *named)
{
    *named = false;
    for (size_t i = 0; i < o->disk_count; i++)
        *named = *named || is_meant(disk, o->disks[i]);
    if (*named || !o->disk_count)
        return true;
    for (size_t i = 0; i < o->disk_count; i++) {
        if (strcmp(o->disks[i], "all") == 0)
            return true;
    }
    return false;
}

static int check_names(const struct live_options *o, const struct domain_xml *xml,
                       struct error *err)
{
    for (size_t i = 0; i < o->disk_count; i++) {
        size_t at = 0;

        while (at < xml->count && !is_meant(&xml->disks[at], o->disks[i]))
            at++;
        if (at == xml->count && strcmp(o->disks[i], "all") != 0)
            return error_set(err, ERROR_NOT_FOUND, "domain %s has no disk \"%s\"", xml->name,
                             o->disks[i]);
    }
    return 0;
}

/* Frozen and committed twice, a file would be neither's. */
static int check_single(const struct journal *j, const struct domain_disk *disk, struct error *err)
{
    struct stat mine;
    struct stat other;

    if (stat(disk->path, &mine))
        return error_sys(err, errno, "disk %s: %s", disk->target, disk->path);
    for (size_t i = 0; i < j->disk_count; i++) {
        if (stat(j->disks[i].base, &other) == 0 && other.st_dev == mine.st_dev &&
            other.st_ino == mine.st_ino)
            return error_set(err, ERROR_UNSUPPORTED, "disks %s and %s have the same image: %s",
                             j->disks[i].node, disk->target, disk->path);
    }
    return 0;
}

/* Only a qcow2 file of version 3 keeps bitmaps. */
static bool can_have_bitmap(const struct domain_disk *disk)
{
    unsigned char head[8] = {0};
    bool can;
    int fd;

    if (strcmp(disk->format, "qcow2") != 0)
        return false;
    fd = open(disk->path, O_RDONLY | O_CLOEXEC);
    can = fd >= 0 && pread(fd, head, sizeof head, 0) == sizeof head &&
          memcmp(head, "QFI\xfb\0\0\0\3", sizeof head) == 0;
    if (fd >= 0)
        close(fd);
    return can;
}

static int add(struct domain *d, const char *bitmap, struct journal *j,
               const struct domain_disk *disk, struct error *err)
{
    struct journal_disk *fresh;
    virDomainBlockInfo info;
    int rc = check_single(j, disk, err);

    if (rc)
        return rc;
    if (vir.DomainGetBlockInfo(d->handle, disk->target, &info, 0))
        return domain_error(err, "disk %s", disk->target);
    fresh = journal_add_disk(j);
    if (!fresh)
        return error_no_memory(err);
    fresh->node = strdup(disk->target);
    fresh->device = strdup(disk->target);
    fresh->format = strdup(disk->format);
    fresh->base = strdup(disk->path);
    fresh->encrypted = disk->encrypted;
    fresh->size = info.capacity;
    if (bitmap && can_have_bitmap(disk)) {
        fresh->bitmap = strdup(bitmap);
        if (!fresh->bitmap)
            return error_no_memory(err);
    }
    return fresh->node && fresh->device && fresh->format && fresh->base ? 0 : error_no_memory(err);
}

int domain_plan(struct machine *m, const struct live_options *o, struct journal *j,
                struct error *err)
{
    struct domain *d = (struct domain *)m;
    struct domain_xml xml = {0};
    int rc = domain_read(d, 0, &xml, NULL, err);

    if (!rc)
        rc = domain_remember(d, err);
    if (!rc)
        rc = check_names(o, &xml, err);
    for (size_t i = 0; !rc && i < xml.count; i++) {
        const struct domain_disk *disk = &xml.disks[i];
        const char *needless = why_not_needed(disk);
        const char *reason = why_not(disk);
        bool named;

        if (!is_asked_for(o, disk, &named))
            continue;
        if (named && needless)
            rc = error_set(err, ERROR_UNSUPPORTED, "disk %s cannot be frozen: it is %s",
                           disk->target, needless);
        else if (needless && disk->path)
            domain_note(d, "disk %s is left out: it is %s", disk->target, needless);
        else if (!needless && reason)
            rc = error_set(err, ERROR_UNSUPPORTED,
                           "disk %s cannot be frozen: %s; name the others with --disk",
                           disk->target, reason);
        else if (!needless)
            rc = add(d, o->bitmap, j, disk, err);
    }
    if (!rc && !j->disk_count)
        rc = error_set(err, ERROR_NOT_FOUND, "domain %s has no disk to back up", xml.name);
    domain_xml_clear(&xml);
    return rc;
}
