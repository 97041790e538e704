/* SPDX-License-Identifier: BSD-2-Clause */
/* From the overlays back to the bases, beside the guest: libvirt's block commit, and its pivot.
 * libvirt has no moment at which both are alike and the guest waits: it pivots by itself. */
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "live/domain.h"

enum {
    STEP_MS = 100,     /* between two looks */
    PIVOT_TRIES = 100, /* libvirt may find it not quite ready yet */
};

static void wait_ms(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

    nanosleep(&time, NULL);
}

/* What the disk is now: ${*disk} is lent by ${xml}. */
static int look(struct domain *d, const struct journal_disk *disk, struct domain_xml *xml,
                const struct domain_disk **now, struct error *err)
{
    int rc = domain_read(d, 0, xml, NULL, err);

    *now = rc ? NULL : domain_xml_disk(xml, disk->node);
    if (!rc && !*now)
        rc = error_set(err, ERROR_NOT_FOUND, "domain %s has no disk %s any more", xml->name,
                       disk->node);
    return rc;
}

static bool writes_to(const struct domain_disk *now, const char *path)
{
    return now->path && strcmp(now->path, path) == 0;
}

int domain_commit_begin(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct domain *d = (struct domain *)m;
    const struct journal_disk *disk = &j->disks[i];
    const struct domain_disk *now = NULL;
    struct domain_xml xml = {0};
    int rc = look(d, disk, &xml, &now, err);

    if (!rc && !writes_to(now, disk->overlay))
        rc = error_set(err, ERROR_IN_USE, "disk %s writes to %s, not to %s: somebody changed that",
                       disk->node, now->path ? now->path : "nothing", disk->overlay);
    else if (!rc && now->busy && !now->busy_commit)
        rc = error_set(err, ERROR_IN_USE, "disk %s: another block job works on it", disk->node);
    else if (!rc && !now->busy &&
             vir.DomainBlockCommit(d->handle, disk->node, disk->base, NULL, 0,
                                   VIR_DOMAIN_BLOCK_COMMIT_ACTIVE))
        rc = domain_error(err, "disk %s: the commit to %s", disk->node, disk->base);
    domain_xml_clear(&xml);
    return rc;
}

int domain_commit_progress(struct machine *m, struct journal *j, size_t i, int milliseconds,
                           uint64_t *done, uint64_t *total, bool *ready, struct error *err)
{
    struct domain *d = (struct domain *)m;
    const struct journal_disk *disk = &j->disks[i];
    int rc = 0;

    *ready = false;
    for (int left = milliseconds;; left -= STEP_MS) {
        const struct domain_disk *now = NULL;
        virDomainBlockJobInfo info = {0};
        struct domain_xml xml = {0};
        int got = vir.DomainGetBlockJobInfo(d->handle, disk->node, &info, 0);

        if (got < 0)
            return domain_error(err, "disk %s: the commit", disk->node);
        *done = info.cur;
        *total = info.end;
        /* Its numbers may be equal before it is ready; the XML knows. */
        rc = look(d, disk, &xml, &now, err);
        if (!rc && !now->busy && !writes_to(now, disk->base))
            rc = error_set(err, ERROR_IO,
                           "disk %s: the commit to %s ended early; libvirt's log knows why",
                           disk->node, disk->base);
        *ready = !rc && (now->busy_ready || !now->busy);
        domain_xml_clear(&xml);
        if (rc || *ready || left <= 0)
            return rc;
        wait_ms(left < STEP_MS ? left : STEP_MS);
    }
}

int domain_commit_complete(struct machine *m, struct journal *j, size_t i, bool *pivoted,
                           struct error *err)
{
    struct domain *d = (struct domain *)m;
    const struct journal_disk *disk = &j->disks[i];
    const struct domain_disk *now = NULL;
    struct domain_xml xml = {0};
    int rc = 0;

    *pivoted = true;
    for (int tries = 0;; tries++) {
        if (vir.DomainBlockJobAbort(d->handle, disk->node, VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) == 0)
            break;
        rc = domain_error(err, "disk %s: the pivot to %s", disk->node, disk->base);
        if (vir.GetLastErrorCode() != VIR_ERR_BLOCK_COPY_ACTIVE || tries == PIVOT_TRIES)
            break;
        rc = 0;
        wait_ms(STEP_MS);
    }
    /* Whatever it said: what counts is where the domain writes to now. */
    if (look(d, disk, &xml, &now, rc ? NULL : err) == 0 && writes_to(now, disk->base))
        rc = io_sync(disk->base, err);
    else if (!rc)
        rc = error_set(err, ERROR_IO, "disk %s: it does not write to %s after the pivot",
                       disk->node, disk->base);
    domain_xml_clear(&xml);
    return rc;
}
