/* SPDX-License-Identifier: BSD-2-Clause */
/* Which file system a file lies on, by what does not change with a reboot. */
#include "engine/file_identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

/* FS_IOC_GETFSUUID of Linux 6.9, which Debian 12's headers do not have yet. */
struct fs_uuid {
    uint8_t len;
    uint8_t bytes[16];
};
#define GET_FS_UUID _IOR(0x15, 0, struct fs_uuid)

int file_identity(int fd, const char *name, uint64_t *type, char **uuid, struct error *err)
{
    struct statfs fs;
    struct fs_uuid u = {0};
    if (fstatfs(fd, &fs) < 0)
        return error_sys(err, errno, "%s: asking for its file system", name);
    *type = (uint64_t)(unsigned long)fs.f_type;
    *uuid = NULL;
    if (ioctl(fd, GET_FS_UUID, &u) < 0 || u.len == 0 || u.len > sizeof u.bytes)
        return 0;
    char *text = calloc(1, 2 * (size_t)u.len + 1);
    if (text == NULL)
        return error_no_memory(err);
    for (unsigned i = 0; i < u.len; i++)
        sprintf(text + 2 * (size_t)i, "%02x", u.bytes[i]);
    *uuid = text;
    return 0;
}
