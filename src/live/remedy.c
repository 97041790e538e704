/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose bytes are right. A machine that writes to the overlay says it by that;
 * else the journal: from the switch and until it says that the base is complete
 * it is the overlay. A base that was written to since then, by whoever started
 * a machine on it, makes a split that is not byre's to decide.
 */
#include "live/remedy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "live/overlay.h"

static int set(struct remedy *r, enum remedy_action action, const char *state)
{
    r->action = action;
    snprintf(r->state, sizeof r->state, "%s", state);
    return 0;
}

static int split(struct remedy *r, const struct journal_disk *d, const char *why)
{
    char *command = overlay_commit_text(d);
    r->action = REMEDY_SPLIT;
    snprintf(r->state, sizeof r->state,
             "split: the overlay holds writes that the base does not have, and %s; nothing is "
             "touched. With the machine off, and copies kept, either give the overlay up by byre "
             "live recover --discard-overlay, or commit it, over what the base has got since: %s",
             why, command != NULL ? command : "qemu-img commit");
    free(command);
    return 0;
}

/* A block device keeps no time of what was written to it. */
static bool is_block_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

static int on_machine(struct machine *m, const struct journal_disk *d, bool there, bool empty,
                      struct remedy *r)
{
    /* a process that has written to the overlay comes back to the base by a commit alone */
    bool back = m->same && d->step >= JOURNAL_SWITCHED;
    switch (r->where) {
    case MACHINE_ON_OVERLAY:
        return set(r, REMEDY_LIVE, "the machine writes to the overlay");
    case MACHINE_COMMITTING:
        return set(r, REMEDY_LIVE, "the machine writes to the overlay, and commits it");
    case MACHINE_KNOWS:
        if (m->same || empty || d->step == JOURNAL_COMPLETE)
            return set(r, REMEDY_REMOVE,
                       "the machine writes to the base, and still has the overlay open");
        break;
    default:
        if (!there && (back || (d->step != JOURNAL_SWITCHED && d->step != JOURNAL_DISK_COMMITS)))
            return set(r, REMEDY_NOTHING, "the machine writes to the base; there is no overlay");
        if (!there)
            return set(r, REMEDY_SPLIT,
                       "the machine writes to the base, and the overlay is not there: if it was "
                       "committed, byre live recover --discard-overlay ends this");
        if (back)
            return set(r, REMEDY_REMOVE, "the machine has gone back to the base");
        if (empty || d->step == JOURNAL_COMPLETE)
            return set(r, REMEDY_REMOVE,
                       empty ? "the machine writes to the base; the overlay is empty"
                             : "the machine writes to the base, which is complete");
        break;
    }
    return split(r, d, "the machine runs on the base");
}

/* Where byre died right after the switch, no journal tells how it left the base. But whatever the
 * overlay has was written after that. */
static bool base_is_newer(const struct journal_disk *d)
{
    struct stat base, overlay;
    if (stat(d->base, &base) < 0 || stat(d->overlay, &overlay) < 0)
        return false;
    return base.st_mtim.tv_sec > overlay.st_mtim.tv_sec ||
           (base.st_mtim.tv_sec == overlay.st_mtim.tv_sec &&
            base.st_mtim.tv_nsec > overlay.st_mtim.tv_nsec);
}

/* Whether somebody has written to ${path} since this host was started. */
static bool is_of_this_boot(const char *path)
{
    struct timespec now, up;
    struct stat st;
    return stat(path, &st) == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
           clock_gettime(CLOCK_BOOTTIME, &up) == 0 && st.st_mtim.tv_sec > now.tv_sec - up.tv_sec;
}

/* Whether the overlay must not be written to the base, for that is not the one it was. While a
 * commit goes on it is written to; but not any more by a machine that ran before this host was
 * started. */
static const char *why_not_commit(const struct journal *j, const struct journal_disk *d)
{
    char boot_id[40];
    journal_boot_id(boot_id);
    if (d->step != JOURNAL_DISK_COMMITS &&
        (d->stat.known ? !journal_is_same(&d->stat, d->base) : base_is_newer(d)))
        return "the base was changed since: was the machine started on it?";
    if (d->step != JOURNAL_DISK_COMMITS && is_block_device(d->base))
        return "whether that was written to since cannot be seen of a block device";
    if (!d->stat.known)
        return NULL;
    if (!journal_is_same_file(&d->stat, d->base))
        return "another file has taken the place of the base: was it restored?";
    if (d->step == JOURNAL_DISK_COMMITS && strcmp(boot_id, j->boot_id) != 0 &&
        is_of_this_boot(d->base))
        return "the base was changed since this host was started: was the machine started on it?";
    return NULL;
}

/* An overlay with anything in it cannot have been committed to a base that is as it was. */
static bool is_untouched(const struct journal_disk *d)
{
    struct stat st;
    return d->stat.known && stat(d->base, &st) == 0 && S_ISREG(st.st_mode) &&
           journal_is_same(&d->stat, d->base);
}

static int without_machine(const struct journal *j, const struct journal_disk *d,
                           enum machine_where start, bool there, bool empty, struct remedy *r)
{
    bool switched = d->step == JOURNAL_SWITCHED || d->step == JOURNAL_DISK_COMMITS ||
                    (j->phase == JOURNAL_SWITCHING && d->step < JOURNAL_COMPLETE);
    if (!there && (!switched || j->phase == JOURNAL_SWITCHING))
        return set(r, REMEDY_NOTHING, "the machine does not have it; there is no overlay");
    if (!there)
        return set(r, REMEDY_SPLIT,
                   "the overlay, which has the newest writes, is not there: an unmounted file "
                   "system? If it was committed, byre live recover --discard-overlay ends this");
    if (d->step == JOURNAL_COMPLETE)
        return set(r, REMEDY_REMOVE, "the base is complete; the overlay is to be removed");
    if (empty)
        return set(r, REMEDY_REMOVE, "the overlay is empty; the base is right");
    if (!switched)
        return split(r, d, "the machine was not to have written to it yet");
    /* perhaps it had gone back, and has written more than the overlay has since */
    if (d->step == JOURNAL_DISK_COMMITS && start == MACHINE_ON_BASE)
        return split(r, d, "libvirt starts the machine on the base");
    const char *why = why_not_commit(j, d);
    if (why != NULL)
        return split(r, d, why);
    return set(r, REMEDY_OFFLINE,
               "the machine does not have it; the overlay has the newest writes");
}

/* No byte of a scratch file is needed by anybody. */
static int of_content(struct machine *m, const struct journal_disk *d, struct remedy *r)
{
    if (m == NULL)
        return set(r, access(d->overlay, F_OK) == 0 ? REMEDY_REMOVE : REMEDY_NOTHING,
                   access(d->overlay, F_OK) == 0
                       ? "the machine does not have it; the scratch file is to be removed"
                       : "the machine does not have it; there is no scratch file");
    return set(r, REMEDY_FLEECE,
               r->where == MACHINE_ON_OVERLAY
                   ? "the machine copies what it overwrites to the scratch file"
               : r->where == MACHINE_KNOWS
                   ? "the machine has the scratch file open, and does not write to it"
                   : "the machine does not know the scratch file");
}

int remedy_find(struct machine *m, struct journal *j, size_t i, struct remedy *r, struct error *err)
{
    const struct journal_disk *d = &j->disks[i];
    enum machine_where start = MACHINE_ELSEWHERE;
    bool empty = false, there = true;
    *r = (struct remedy){.where = MACHINE_ELSEWHERE};
    if (d->step == JOURNAL_REMOVED)
        return set(r, REMEDY_NOTHING, "nothing is left of it");
    int rc =
        m != NULL ? m->ops->look(m, j, i, &r->where, err) : machine_look_offline(j, i, &start, err);
    if (rc < 0)
        return rc;
    if (d->mode == JOURNAL_CONTENT)
        return of_content(m, d, r);
    rc = overlay_is_empty(d, &empty, err);
    if (rc == ERROR_NOT_FOUND)
        there = false;
    else if (rc < 0 && r->where != MACHINE_ON_OVERLAY && r->where != MACHINE_COMMITTING)
        return rc;
    rc = m == NULL || r->where == MACHINE_ELSEWHERE ? without_machine(j, d, start, there, empty, r)
                                                    : on_machine(m, d, there, empty, r);
    if (rc == 0 && r->action == REMEDY_REMOVE && there && !empty && is_untouched(d))
        rc = split(r, d, "the base is as it was at the switch, so that nobody has committed it");
    return rc;
}
