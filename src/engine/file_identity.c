/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which file system a file lies on, by what changes with a reboot as little as
 * can be. Knows nothing of what is in the file.
 */
#include "engine/file_identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* FS_IOC_GETFSUUID of Linux 6.9, which Debian 12's headers do not have yet. */
struct fs_uuid {
    uint8_t len;
    uint8_t bytes[16];
};
#define GET_FS_UUID _IOR(0x15, 0, struct fs_uuid)

enum { /* those that linux/magic.h lacks */
       ZFS_MAGIC = 0x2fc12fc1,
       BOOT_ID_SIZE = 36,
};

bool file_system_has_ctime(uint64_t type)
{
    switch (type) {        /* not tmpfs: there a store through mmap() moves no time */
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case NFS_SUPER_MAGIC:
    case ZFS_MAGIC:
        return true;
    default:
        return false;
    }
}

static unsigned long long fsid_of(const struct statfs *fs)
{
    unsigned long long value = 0;
    _Static_assert(sizeof fs->f_fsid == sizeof value, "f_fsid has another size");
    memcpy(&value, &fs->f_fsid, sizeof value);
    return value;
}

/* The UUID that the file system says it has. */
static int by_uuid(int fd, const struct statfs *fs, char **id)
{
    struct fs_uuid u = {0};
    char hex[2 * sizeof u.bytes + 1] = "";
    if (ioctl(fd, GET_FS_UUID, &u) < 0 || u.len == 0 || u.len > sizeof u.bytes)
        return 0;
    for (unsigned i = 0; i < u.len; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", u.bytes[i]);
    /* subvolumes of btrfs share the UUID and number their inodes alike; f_fsid tells them apart */
    if (fs->f_type == BTRFS_SUPER_MAGIC)
        return asprintf(id, "uuid:%s:%llx", hex, fsid_of(fs));
    return asprintf(id, "uuid:%s", hex);
}

/* The link in /dev/disk/by-uuid that leads to the device ${dev}. */
static int by_disk(dev_t dev, char **id)
{
    const struct dirent *entry;
    struct stat st;
    int rc = 0;
    DIR *dir = opendir("/dev/disk/by-uuid");
    while (dir != NULL && *id == NULL && rc >= 0 && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            S_ISBLK(st.st_mode) && st.st_rdev == dev)
            rc = asprintf(id, "disk:%s", entry->d_name);
    if (dir != NULL)
        closedir(dir);
    return rc;
}

static int by_boot(const struct statfs *fs, char **id)
{
    char boot[BOOT_ID_SIZE + 1] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, boot, BOOT_ID_SIZE);
    if (fd >= 0)
        close(fd);
    if (n != BOOT_ID_SIZE || fsid_of(fs) == 0)
        return 0;
    return asprintf(id, "boot:%s:%llx", boot, fsid_of(fs));
}

int file_system_of(int fd, const char *name, struct file_system *out, struct error *err)
{
    struct statfs fs;
    struct stat st;
    int rc = 0;
    *out = (struct file_system){0};
    if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
        return error_sys(err, errno, "%s: asking for its file system", name);
    out->type = (uint64_t)(unsigned long)fs.f_type;
    /* a copy-up changes what is behind the inode, and no time says so */
    if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
        return 0;
    rc = by_uuid(fd, &fs, &out->id);
    if (rc >= 0 && out->id == NULL)
        rc = by_disk(st.st_dev, &out->id);
    if (rc >= 0 && out->id == NULL)
        rc = by_boot(&fs, &out->id);
    if (rc < 0) {
        out->id = NULL;
        return error_no_memory(err);
    }
    return 0;
}
