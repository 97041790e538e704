/* SPDX-License-Identifier: BSD-2-Clause */
/* From the bases to the overlays: a checkpoint for the bitmaps, then the snapshot of all disks at
 * once. libvirt keeps a record of neither. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live/domain.h"

enum { KEY_MAX = 8192 }; /* bytes of an overlay's key */

/* ---- secrets of encrypted overlays ---- */

static int read_key(const char *path, unsigned char *key, size_t *len, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return error_sys(err, errno, "%s", path);
    got = read(fd, key, KEY_MAX);
    close(fd);
    if (got < 0)
        return error_sys(err, errno, "%s", path);
    *len = (size_t)got;
    return got ? 0 : error_set(err, ERROR_CORRUPT, "%s: empty", path);
}

static int add_secret(struct domain *d, const struct journal_disk *disk, struct error *err)
{
    unsigned char key[KEY_MAX];
    size_t len = 0;
    char *text = NULL;
    virSecretPtr secret = NULL;
    int rc = read_key(disk->key_file, key, &len, err);

    if (!rc)
        rc = domain_xml_secret(disk->overlay, &text, err);
    if (!rc) {
        domain_drop_secret(d, disk->overlay);
        secret = vir.SecretDefineXML(d->connection, text, 0);
        if (!secret || vir.SecretSetValue(secret, key, len, 0))
            rc = domain_error(err, "%s: its secret", disk->overlay);
    }
    explicit_bzero(key, sizeof key);
    if (secret)
        vir.SecretFree(secret);
    free(text);
    return rc;
}

void domain_drop_secret(struct domain *d, const char *path)
{
    virSecretPtr secret =
        vir.SecretLookupByUsage(d->connection, VIR_SECRET_USAGE_TYPE_VOLUME, path);

    if (!secret)
        return;
    vir.SecretUndefine(secret);
    vir.SecretFree(secret);
}

/* ${*uuid}, for the caller to free. */
static int find_secret(struct domain *d, const char *path, char **uuid, struct error *err)
{
    virSecretPtr secret =
        vir.SecretLookupByUsage(d->connection, VIR_SECRET_USAGE_TYPE_VOLUME, path);
    int rc = 0;

    *uuid = malloc(VIR_UUID_STRING_BUFLEN);
    if (!*uuid)
        rc = error_no_memory(err);
    else if (!secret || vir.SecretGetUUIDString(secret, *uuid))
        rc = domain_error(err, "%s: its secret", path);
    if (secret)
        vir.SecretFree(secret);
    return rc;
}

int domain_prepare(struct machine *m, struct journal *j, struct error *err)
{
    struct domain *d = (struct domain *)m;

    for (size_t i = 0; i < j->disk_count; i++) {
        int rc = j->disks[i].key_file ? add_secret(d, &j->disks[i], err) : 0;

        if (rc)
            return rc;
    }
    return 0;
}

void domain_unprepare(struct machine *m, struct journal *j)
{
    for (size_t i = 0; i < j->disk_count; i++) {
        if (j->disks[i].key_file && j->disks[i].overlay)
            domain_drop_secret((struct domain *)m, j->disks[i].overlay);
    }
}

/* ---- the checkpoint ---- */

static bool has_bitmap(const void *arg, const char *target)
{
    const struct journal *j = arg;

    for (size_t i = 0; i < j->disk_count; i++) {
        if (j->disks[i].bitmap && strcmp(j->disks[i].node, target) == 0)
            return true;
    }
    return false;
}

/* The name of this run's bitmap, lent; NULL where no disk can have it. */
static const char *bitmap_name(const struct journal *j)
{
    for (size_t i = 0; i < j->disk_count; i++) {
        if (j->disks[i].bitmap)
            return j->disks[i].bitmap;
    }
    return NULL;
}

/* NULL: without bitmaps, which costs time in the next run, and nothing else. */
static virDomainCheckpointPtr checkpoint(struct domain *d, const struct domain_xml *xml,
                                         struct journal *j)
{
    const char *name = bitmap_name(j);
    virDomainCheckpointPtr made = NULL;
    struct error reason = {0};
    char *text = NULL;

    if (!name)
        return NULL;
    if (domain_xml_checkpoint(xml, name, NULL, has_bitmap, j, &text, &reason) == 0) {
        made = vir.DomainCheckpointCreateXML(d->handle, text, 0);
        if (!made)
            domain_error(&reason, "bitmap %s", name);
    }
    free(text);
    if (made)
        return made;
    domain_note(d, "no bitmaps for the next run: %s", reason.message);
    for (size_t i = 0; i < j->disk_count; i++) {
        free(j->disks[i].bitmap);
        j->disks[i].bitmap = NULL;
    }
    return NULL;
}

void domain_drop_checkpoint(struct domain *d, const char *name)
{
    virDomainCheckpointPtr made = vir.DomainCheckpointLookupByName(d->handle, name, 0);

    if (!made)
        return;
    vir.DomainCheckpointDelete(made, VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY);
    vir.DomainCheckpointFree(made);
}

/* ---- the snapshot ---- */

static int snapshot(struct domain *d, const struct domain_xml *xml, const struct journal *j,
                    struct error *err)
{
    /* The overlays are byre's, and are on the disk with their names. */
    unsigned flags = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
                     VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT;
    char **secrets = calloc(j->disk_count, sizeof secrets[0]);
    virDomainSnapshotPtr made = NULL;
    char *text = NULL;
    int rc = secrets ? 0 : error_no_memory(err);

    if (d->quiesce)
        flags |= VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE;
    for (size_t i = 0; !rc && i < j->disk_count; i++) {
        if (j->disks[i].key_file)
            rc = find_secret(d, j->disks[i].overlay, &secrets[i], err);
    }
    if (!rc)
        rc = domain_xml_snapshot(xml, j, secrets, &text, err);
    if (!rc) {
        made = vir.DomainSnapshotCreateXML(d->handle, text, flags);
        if (!made)
            rc = domain_error(err, "domain %s: the snapshot", xml->name);
    }
    if (made)
        vir.DomainSnapshotFree(made);
    for (size_t i = 0; secrets && i < j->disk_count; i++)
        free(secrets[i]);
    free(secrets);
    free(text);
    return rc;
}

int domain_switch(struct machine *m, struct journal *j, struct error *err)
{
    struct domain *d = (struct domain *)m;
    virDomainCheckpointPtr bitmaps = NULL;
    struct domain_xml xml = {0};
    int rc = domain_read(d, 0, &xml, NULL, err);

    if (!rc) {
        bitmaps = checkpoint(d, &xml, j);
        rc = snapshot(d, &xml, j, err);
    }
    /* After success the bitmaps stay and libvirt's record of them goes; else both. */
    if (bitmaps) {
        vir.DomainCheckpointDelete(bitmaps, rc ? 0 : VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY);
        vir.DomainCheckpointFree(bitmaps);
    }
    domain_xml_clear(&xml);
    return rc;
}

int domain_forget(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct domain *d = (struct domain *)m;

    (void)err;
    if (j->disks[i].key_file)
        domain_drop_secret(d, j->disks[i].overlay);
    if (j->disks[i].bitmap)
        domain_drop_checkpoint(d, j->disks[i].bitmap);
    return 0;
}
