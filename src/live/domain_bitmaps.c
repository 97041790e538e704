/* SPDX-License-Identifier: BSD-2-Clause */
/* Removes bitmaps of earlier runs while the domain runs: libvirt is told again that there is such a
 * checkpoint, and then to delete it, which takes the bitmap along. Checkpoints of others stay. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/program.h"
#include "live/domain.h"

/* What qemu-img says of the file that QEMU has open: it reads the names alone, which were written
 * when the machine left the file. ${*info} is to be decref'ed. */
static int read_info(const char *path, json_t **info, struct error *err)
{
    const char *argv[] = {"qemu-img", "info", "-U", "--output=json", "-f", "qcow2",
                          "--",       path,   NULL};
    int fd = memfd_create("byre-info", MFD_CLOEXEC);
    struct program_options options = {.argv = argv, .capture = true, .out = fd};
    struct program_result *result = calloc(1, sizeof *result);
    int rc = 0;

    *info = NULL;
    if (fd < 0)
        rc = error_sys(err, errno, "qemu-img's output");
    else if (!result)
        rc = error_no_memory(err);
    if (!rc)
        rc = program_run(&options, result, err);
    if (!rc && result->code)
        rc = error_set(err, ERROR_IO, "%s: qemu-img: %s", path, result->output);
    if (!rc && lseek(fd, 0, SEEK_SET) == 0)
        *info = json_loadfd(fd, 0, NULL);
    if (!rc && !*info)
        rc = error_set(err, ERROR_IO, "%s: qemu-img says nothing of it", path);
    if (fd >= 0)
        close(fd);
    free(result);
    return rc;
}

static bool is_target(const void *arg, const char *target)
{
    return strcmp(arg, target) == 0;
}

/* One that a broken backup left known to libvirt is there already. */
static virDomainCheckpointPtr find_or_tell(struct domain *d, const char *target, const char *name,
                                           struct error *err)
{
    virDomainCheckpointPtr found = vir.DomainCheckpointLookupByName(d->handle, name, 0);
    struct domain_xml xml = {0};
    char *domain = NULL;
    char *text = NULL;

    if (found)
        return found;
    if (domain_read(d, 0, &xml, &domain, err) == 0 &&
        domain_xml_checkpoint(&xml, name, domain, is_target, target, &text, err) == 0) {
        found =
            vir.DomainCheckpointCreateXML(d->handle, text, VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE);
        if (!found)
            domain_error(err, "bitmap %s of disk %s", name, target);
    }
    free(text);
    free(domain);
    domain_xml_clear(&xml);
    return found;
}

static int drop(struct domain *d, const char *target, const char *name, struct error *err)
{
    virDomainCheckpointPtr found = find_or_tell(d, target, name, err);
    int rc = 0;

    if (!found)
        return err->code;
    if (vir.DomainCheckpointDelete(found, 0)) {
        rc = domain_error(err, "bitmap %s of disk %s", name, target);
        vir.DomainCheckpointDelete(found, VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY);
    }
    vir.DomainCheckpointFree(found);
    return rc;
}

int domain_drop_bitmaps(struct machine *m, struct journal *j, size_t i, const char *prefix,
                        const char *keep, size_t *left, struct error *err)
{
    struct domain *d = (struct domain *)m;
    const struct journal_disk *disk = &j->disks[i];
    struct error reason = {0};
    json_t *info = NULL;
    const json_t *bitmap;
    const json_t *list;
    size_t at;
    int rc = 0;

    *left = 0;
    if (strcmp(disk->format, "qcow2") != 0)
        return 0;
    rc = read_info(disk->base, &info, err);
    if (rc)
        return rc;
    list = json_object_get(json_object_get(json_object_get(info, "format-specific"), "data"),
                           "bitmaps");
    json_array_foreach (list, at, bitmap) {
        const char *name = json_string_value(json_object_get(bitmap, "name"));

        if (!name || strncmp(name, prefix, strlen(prefix)) != 0 ||
            (keep && strcmp(name, keep) == 0))
            continue;
        if (drop(d, disk->node, name, &reason)) {
            ++*left;
            domain_note(d, "%s", reason.message);
        }
    }
    json_decref(info);
    return 0;
}
