/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to libvirt and one domain there: found, asked for its XML, and its errors made
 * ours. What is done to it, the files beside this one know. */
#include "live/domain.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"

enum { COMMAND_LINE = 256 * 1024 }; /* of /proc/PID/cmdline that is looked at, in bytes */

static void be_silent(void *arg, virErrorPtr error)
{
    (void)arg;
    (void)error;
}

static enum error_code code_of(int code)
{
    switch (code) {
    case VIR_ERR_NO_DOMAIN:
        return ERROR_NOT_FOUND;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
        return ERROR_UNSUPPORTED;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
        return ERROR_AUTH;
    case VIR_ERR_OPERATION_TIMEOUT:
        return ERROR_IN_USE;
    case VIR_ERR_NO_MEMORY:
        return ERROR_NO_MEMORY;
    default:
        return ERROR_IO;
    }
}

int domain_error(struct error *err, const char *fmt, ...)
{
    const char *said = vir.GetLastErrorMessage();
    char text[512] = "";
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(err, code_of(vir.GetLastErrorCode()), "%s: libvirt: %s", text, said);
}

void domain_note(const struct domain *d, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say_args(d->listener.note, d->listener.arg, fmt, args);
    va_end(args);
}

/* byre reads the disks as files, so they have to be here. */
static bool is_elsewhere(const char *uri)
{
    const char *host = uri ? strstr(uri, "://") : NULL;

    return host && host[3] && host[3] != '/' && strncmp(host + 3, "localhost/", 10) != 0;
}

static int open_connection(struct domain *d, const char *uri, struct error *err)
{
    const char *type;
    char *told;
    int rc;

    if (!uri || !*uri)
        uri = getenv("LIBVIRT_DEFAULT_URI");
    if (uri && !*uri)
        uri = NULL;
    if (is_elsewhere(uri))
        return error_set(err, ERROR_USAGE,
                         "%s: that is another host: byre backs a domain up where its disks are",
                         uri);
    rc = libvirt_load(err);
    if (rc)
        return rc;
    vir.SetErrorFunc(NULL, be_silent);
    d->connection = vir.Initialize() ? NULL : vir.ConnectOpen(uri);
    if (!d->connection)
        return domain_error(err, "%s", uri ? uri : "libvirt's default connection");
    type = vir.ConnectGetType(d->connection);
    if (!type || strcmp(type, "QEMU") != 0)
        return error_set(err, ERROR_USAGE, "%s: not QEMU but %s", uri ? uri : "libvirt",
                         type ? type : "nothing");
    told = uri ? NULL : vir.ConnectGetURI(d->connection);
    if (uri || told)
        d->uri = strdup(uri ? uri : told);
    free(told);
    return d->uri ? 0 : error_no_memory(err);
}

int domain_open(struct domain *d, const char *uri, const char *name, struct error *err)
{
    unsigned char uuid[VIR_UUID_BUFLEN];
    int rc = open_connection(d, uri, err);

    if (rc)
        return rc;
    d->handle = vir.DomainLookupByName(d->connection, name);
    if (!d->handle) {
        domain_error(err, "domain %s", name);
        d->handle = vir.DomainLookupByUUIDString(d->connection, name);
    }
    if (!d->handle)
        return err ? err->code : ERROR_NOT_FOUND;
    if (vir.DomainGetUUID(d->handle, uuid) || vir.DomainGetUUIDString(d->handle, d->uuid))
        return domain_error(err, "domain %s", name);
    if (err)
        *err = (struct error){0};
    return 0;
}

void domain_close(struct domain *d)
{
    if (d->handle)
        vir.DomainFree(d->handle);
    if (d->connection)
        vir.ConnectClose(d->connection);
    free(d->uri);
    d->handle = NULL;
    d->connection = NULL;
    d->uri = NULL;
}

int domain_read(struct domain *d, unsigned flags, struct domain_xml *xml, char **text,
                struct error *err)
{
    char *said = vir.DomainGetXMLDesc(d->handle, flags);
    int rc = said ? domain_xml_read(xml, said, err)
                  : domain_error(err, "domain %s", vir.DomainGetName(d->handle));

    if (text && !rc)
        *text = said;
    else
        free(said);
    return rc;
}

/* ---- its process ---- */

/* Whether it was started with "-uuid UUID", as libvirt starts all. */
static bool is_process(const char *pid, const char *uuid, char *line)
{
    char path[64];
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, line, COMMAND_LINE);
    close(fd);
    if (got <= 0)
        return false;
    line[got] = '\0';
    for (const char *at = line, *next; at < line + got; at = next) {
        next = at + strlen(at) + 1;
        if (strcmp(at, "-uuid") == 0 && next < line + got && strcmp(next, uuid) == 0)
            return true;
    }
    return false;
}

pid_t domain_process(const struct domain *d)
{
    char *line = malloc(COMMAND_LINE + 1);
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    pid_t found = 0;

    while (line && folder && !found && (entry = readdir(folder))) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_process(entry->d_name, d->uuid, line))
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    if (folder)
        closedir(folder);
    free(line);
    return found;
}
