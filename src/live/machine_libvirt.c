/* SPDX-License-Identifier: BSD-2-Clause */
/* A domain of libvirt as a machine: found by a name or by a journal, where its disks write to,
 * whether it is well, and the table of what else can be asked of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "live/domain.h"

/* ---- the guest's file systems ---- */

/* libvirt freezes and thaws around the snapshot itself, whatever becomes of byre meanwhile: so this
 * only says that it is to. */
static int agent_begin(struct machine *m, const struct live_options *o, struct journal *j,
                       struct error *err)
{
    (void)m;
    (void)j;
    return o->agent ? error_set(err, ERROR_USAGE,
                                "libvirt knows the guest's agent: no --agent with --domain")
                    : 0;
}

static size_t agent_descriptors(const struct machine *m, int fds[4])
{
    (void)m;
    (void)fds;
    return 0;
}

static void agent_end(struct machine *m)
{
    (void)m;
}

static int freeze(struct machine *m, struct error *err)
{
    (void)err;
    ((struct domain *)m)->quiesce = true;
    return 0;
}

static int thaw(struct machine *m, struct error *err)
{
    (void)err;
    ((struct domain *)m)->quiesce = false;
    return 0;
}

/* Only libvirt's own end can have left it frozen. Without an agent it never was. */
static int thaw_left(struct machine *m, const struct journal *j, struct error *err)
{
    struct domain *d = (struct domain *)m;

    if ((j->phase == JOURNAL_FREEZING || j->phase == JOURNAL_SWITCHING) &&
        vir.DomainFSThaw(d->handle, NULL, 0, 0) < 0 &&
        vir.GetLastErrorCode() != VIR_ERR_ARGUMENT_UNSUPPORTED && j->phase == JOURNAL_FREEZING)
        return domain_error(err, "domain %s: thawing its file systems", j->name);
    return 0;
}

/* ---- back on the bases ---- */

/* libvirt's own has been made already. */
static int pivot(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    (void)m;
    (void)j;
    (void)i;
    (void)err;
    return 0;
}

/* ---- how it is ---- */

static int find_where(struct domain *d, unsigned flags, const struct journal_disk *disk,
                      enum machine_where *where, struct error *err)
{
    const struct domain_disk *now;
    struct domain_xml xml = {0};
    int rc = domain_read(d, flags, &xml, NULL, err);

    *where = MACHINE_ELSEWHERE;
    now = rc ? NULL : domain_xml_disk(&xml, disk->node);
    if (now && now->path && disk->overlay && strcmp(now->path, disk->overlay) == 0)
        *where = now->busy_commit ? MACHINE_COMMITTING : MACHINE_ON_OVERLAY;
    else if (now && now->path && strcmp(now->path, disk->base) == 0)
        *where = MACHINE_ON_BASE;
    domain_xml_clear(&xml);
    return rc;
}

static int look(struct machine *m, struct journal *j, size_t i, enum machine_where *where,
                struct error *err)
{
    return find_where((struct domain *)m, 0, &j->disks[i], where, err);
}

static void wait_ms(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

    nanosleep(&time, NULL);
}

static int watch(struct machine *m, struct journal *j, int milliseconds, char **trouble, bool *gone,
                 struct error *err)
{
    struct domain *d = (struct domain *)m;
    int reason = 0;
    int state = 0;

    (void)j;
    *trouble = NULL;
    *gone = false;
    wait_ms(milliseconds);
    if (vir.DomainGetState(d->handle, &state, &reason, 0)) {
        /* A transient one is forgotten when it stops. */
        *gone = vir.GetLastErrorCode() == VIR_ERR_NO_DOMAIN;
        return *gone ? 0 : domain_error(err, "domain %s", vir.DomainGetName(d->handle));
    }
    *gone = state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED;
    if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR)
        *trouble = strdup("the domain was paused by an I/O error");
    return 0;
}

static void resume(struct machine *m)
{
    struct domain *d = (struct domain *)m;
    int reason = 0;
    int state = 0;

    if (vir.DomainGetState(d->handle, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED &&
        reason == VIR_DOMAIN_PAUSED_IOERROR)
        vir.DomainResume(d->handle);
}

/* ---- found ---- */

static void close_domain(struct machine *m)
{
    struct domain *d = (struct domain *)m;

    domain_close(d);
    free(d->inactive);
    free(d->active);
    free(d);
}

static const struct machine_ops ops = {
    .plan = domain_plan,
    .prepare = domain_prepare,
    .unprepare = domain_unprepare,
    .agent_begin = agent_begin,
    .agent_descriptors = agent_descriptors,
    .agent_end = agent_end,
    .freeze = freeze,
    .thaw = thaw,
    .thaw_left = thaw_left,
    .switch_over = domain_switch,
    .commit_begin = domain_commit_begin,
    .commit_progress = domain_commit_progress,
    .commit_complete = domain_commit_complete,
    .pivot = pivot,
    .forget = domain_forget,
    .drop_bitmaps = domain_drop_bitmaps,
    .look = look,
    .watch = watch,
    .resume = resume,
    .side_files = domain_side_files,
    .close = close_domain,
};

static int make(struct domain **out, const char *uri, const char *name, struct error *err)
{
    struct domain *d = calloc(1, sizeof *d);
    int rc;

    *out = NULL;
    if (!d)
        return error_no_memory(err);
    d->machine.ops = &ops;
    d->machine.kind = JOURNAL_LIBVIRT;
    rc = domain_open(d, uri, name, err);
    if (rc)
        close_domain(&d->machine);
    else
        *out = d;
    return rc;
}

/* A libvirt that does not answer does not say that it is off. */
static int is_active(const struct domain *d, bool *active, struct error *err)
{
    int answer = vir.DomainIsActive(d->handle);

    *active = answer == 1;
    return answer < 0 ? domain_error(err, "domain %s", vir.DomainGetName(d->handle)) : 0;
}

/* Not by the URI: there are many for the same. */
int machine_identity_libvirt(const struct live_options *o, char **identity, struct error *err)
{
    struct domain *d = NULL;
    int rc = make(&d, o->connect, o->domain, err);

    *identity = NULL;
    if (rc)
        return rc;
    if (asprintf(identity, "libvirt %s", d->uuid) < 0) {
        *identity = NULL;
        rc = error_no_memory(err);
    }
    close_domain(&d->machine);
    return rc;
}

int machine_connect_libvirt(struct machine **m, const struct live_options *o, struct error *err)
{
    struct domain *d = NULL;
    bool active = false;
    int rc = make(&d, o->connect, o->domain, err);

    *m = NULL;
    if (rc)
        return rc;
    d->listener = o->listener;
    rc = is_active(d, &active, err);
    if (rc) {
        close_domain(&d->machine);
        return rc;
    }
    d->machine.off = !active;
    *m = &d->machine;
    return 0;
}

static int replace(char **text, const char *fresh, struct error *err)
{
    free(*text);
    *text = strdup(fresh);
    return *text ? 0 : error_no_memory(err);
}

int machine_describe_libvirt(struct machine *m, struct journal *j, struct error *err)
{
    struct domain *d = (struct domain *)m;
    int rc = replace(&j->uri, d->uri, err);

    j->kind = JOURNAL_LIBVIRT;
    if (!rc)
        rc = replace(&j->uuid, d->uuid, err);
    if (!rc)
        rc = replace(&j->name, vir.DomainGetName(d->handle), err);
    j->machine = domain_process(d);
    j->machine_since = j->machine ? journal_process_since(j->machine) : 0;
    journal_boot_id(j->boot_id);
    return rc;
}

int machine_find_libvirt(struct machine **m, const struct journal *j, struct error *err)
{
    struct domain *d = NULL;
    bool active = false;
    char boot_id[sizeof j->boot_id] = "";
    pid_t pid;
    int rc = make(&d, j->uri, j->uuid, err);

    *m = NULL;
    if (rc)
        return rc;
    rc = is_active(d, &active, err);
    if (!rc && !active)
        rc = error_set(err, ERROR_NOT_FOUND, "domain %s is shut off", j->name);
    if (rc) {
        close_domain(&d->machine);
        return rc;
    }
    journal_boot_id(boot_id);
    pid = domain_process(d);
    d->machine.same = pid && pid == j->machine && journal_process_since(pid) == j->machine_since &&
                      strcmp(boot_id, j->boot_id) == 0;
    *m = &d->machine;
    return 0;
}

/* ---- off ---- */

/* A transient one is forgotten when it stops. */
static int find_defined(struct domain **d, const struct journal *j, struct error *err)
{
    int rc = make(d, j->uri, j->uuid, err);

    return rc == ERROR_NOT_FOUND ? 0 : rc;
}

int machine_look_offline_libvirt(const struct journal *j, size_t i, enum machine_where *where,
                                 struct error *err)
{
    struct domain *d = NULL;
    int rc = find_defined(&d, j, err);

    *where = MACHINE_ELSEWHERE;
    if (!d)
        return rc;
    rc = find_where(d, VIR_DOMAIN_XML_INACTIVE, &j->disks[i], where, err);
    close_domain(&d->machine);
    return rc;
}

int machine_settle_offline_libvirt(const struct journal *j, size_t i, struct error *err)
{
    const struct journal_disk *disk = &j->disks[i];
    struct domain *d = NULL;
    struct domain_xml xml = {0};
    virDomainPtr defined = NULL;
    char *lowered = NULL;
    char *text = NULL;
    int rc = find_defined(&d, j, err);

    if (!d)
        return rc;
    if (!rc)
        rc = domain_read(d, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE, &xml, &text, err);
    if (!rc)
        rc = domain_xml_lower(text, disk, &lowered, err);
    if (!rc && lowered) {
        defined = vir.DomainDefineXML(d->connection, lowered);
        if (!defined)
            rc = domain_error(err, "domain %s: disk %s is to start from %s again", xml.name,
                              disk->node, disk->base);
    }
    if (!rc && disk->key_file)
        domain_drop_secret(d, disk->overlay);
    if (!rc && disk->bitmap)
        domain_drop_checkpoint(d, disk->bitmap);
    if (defined)
        vir.DomainFree(defined);
    free(lowered);
    free(text);
    domain_xml_clear(&xml);
    close_domain(&d->machine);
    return rc;
}
