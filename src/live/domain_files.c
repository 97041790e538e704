/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes a machine of a domain's disks again: its XML, that of the next start and the one it
 * runs with, and the firmware's variables. They go into the archive as side files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "live/domain.h"

enum { NVRAM_MAX = 64 * 1024 * 1024 }; /* bytes */

/* With the secrets in it, such as a display's password, where libvirt gives them. */
static char *describe(struct domain *d, unsigned flags)
{
    char *text = vir.DomainGetXMLDesc(d->handle, flags | VIR_DOMAIN_XML_SECURE);

    return text ? text : vir.DomainGetXMLDesc(d->handle, flags);
}

int domain_remember(struct domain *d, struct error *err)
{
    free(d->inactive);
    free(d->active);
    d->active = NULL;
    d->inactive = describe(d, VIR_DOMAIN_XML_INACTIVE);
    if (d->inactive && vir.DomainIsActive(d->handle) == 1)
        d->active = describe(d, 0);
    return d->inactive ? 0 : domain_error(err, "domain %s", vir.DomainGetName(d->handle));
}

static int write_file(const char *folder, const char *name, const char *suffix, const void *bytes,
                      size_t len, struct error *err)
{
    char *path = NULL;
    int fd;
    int rc;

    if (asprintf(&path, "%s/%s%s", folder, name, suffix) < 0)
        return error_no_memory(err);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = fd < 0 ? error_sys(err, errno, "%s", path) : io_write(fd, path, 0, bytes, len, err);
    if (fd >= 0 && close(fd) && !rc)
        rc = error_sys(err, errno, "%s", path);
    free(path);
    return rc;
}

static int copy_nvram(const char *folder, const char *name, const char *path, struct error *err)
{
    char *bytes = NULL;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return error_sys(err, errno, "nvram %s", path);
    bytes = malloc(NVRAM_MAX);
    if (!bytes)
        rc = error_no_memory(err);
    if (!rc)
        rc = io_read_some(fd, path, 0, bytes, NVRAM_MAX, &len, err);
    if (!rc && len == NVRAM_MAX)
        rc = error_set(err, ERROR_UNSUPPORTED, "nvram %s: too large", path);
    if (!rc)
        rc = write_file(folder, name, ".nvram", bytes, len, err);
    free(bytes);
    close(fd);
    return rc;
}

int domain_side_files(struct machine *m, const char *folder, struct error *err)
{
    struct domain *d = (struct domain *)m;
    struct domain_xml xml = {0};
    int rc = d->inactive ? 0 : domain_remember(d, err);

    if (!rc)
        rc = domain_xml_read(&xml, d->inactive, err);
    if (!rc && !xml.name)
        rc = error_set(err, ERROR_CORRUPT, "libvirt's XML names no domain");
    if (!rc)
        rc = write_file(folder, xml.name, ".xml", d->inactive, strlen(d->inactive), err);
    if (!rc && d->active && strcmp(d->active, d->inactive) != 0)
        rc = write_file(folder, xml.name, ".live.xml", d->active, strlen(d->active), err);
    if (!rc && xml.nvram)
        rc = copy_nvram(folder, xml.name, xml.nvram, err);
    domain_xml_clear(&xml);
    return rc;
}
