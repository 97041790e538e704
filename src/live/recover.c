/* SPDX-License-Identifier: BSD-2-Clause */
/* Puts right what a broken backup left, by what remedy.c decides for each disk. */
#include <stdarg.h>

#include "base/say.h"
#include "live/fleece.h"
#include "live/overlay.h"
#include "live/remedy.h"
#include "live/session.h"

static int commit_offline(struct journal *j, size_t i, const struct live_recover_options *o,
                          struct error *err)
{
    struct journal_disk *d = &j->disks[i];
    const struct journal_disk before = *d;
    struct journal_stat now = {0};
    journal_take_stat(&now, d->base, NULL);
    /* the phase was what told this of the others */
    for (size_t k = 0; j->phase == JOURNAL_SWITCHING && k < j->disk_count; k++)
        if (j->disks[k].step == JOURNAL_CREATED)
            j->disks[k].step = JOURNAL_SWITCHED;
    d->step = JOURNAL_DISK_COMMITS;
    d->stat.known = false; /* from here on it is byre that writes to the base */
    j->phase = JOURNAL_COMMITTING;
    int rc = journal_save(j, err);
    if (rc == 0)
        rc = overlay_commit(d, o->secret_file, err);
    if (rc < 0 && now.known && journal_is_same(&now, d->base)) {
        /* nothing was done: what the base is known by goes on to tell whether it was written to */
        d->step = before.step < JOURNAL_SWITCHED ? JOURNAL_SWITCHED : before.step;
        d->stat = before.stat;
        journal_save(j, NULL);
    }
    if (rc == 0) {
        d->step = JOURNAL_COMPLETE;
        rc = journal_save(j, err);
    }
    if (rc == 0)
        live_note(&o->listener, "%s: the overlay is committed to %s", d->device, d->base);
    return rc;
}

static int remove_overlay(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    struct journal_disk *d = &j->disks[i];
    int rc = m != NULL ? m->ops->forget(m, j, i, err) : 0;
    if (rc == 0 && m == NULL && d->step >= JOURNAL_CREATED)
        rc = machine_settle_offline(j, i, err);
    if (rc == 0 && d->mode == JOURNAL_OVERLAY)
        rc = overlay_check_unused(d, err);
    if (rc == 0 && d->step > JOURNAL_PLANNED && d->step < JOURNAL_COMPLETE) {
        d->step = JOURNAL_COMPLETE; /* or its absence would look like a loss */
        rc = journal_save(j, err);
    }
    if (rc == 0)
        rc = overlay_remove(d, err);
    if (rc == 0)
        d->step = JOURNAL_REMOVED;
    return rc;
}

static int recover_disk(struct machine *m, struct journal *j, size_t i,
                        const struct live_recover_options *o, bool *live, struct error *err)
{
    struct journal_disk *d = &j->disks[i];
    struct remedy remedy;
    int rc = remedy_find(m, j, i, &remedy, err);
    if (rc < 0)
        return rc;
    if (remedy.action == REMEDY_SPLIT && !o->discard_overlay)
        return error_set(err, ERROR_CHANGED, "%s", remedy.state);
    switch (remedy.action) {
    case REMEDY_NOTHING:
        if (d->step != JOURNAL_REMOVED) /* but perhaps a key */
            return remove_overlay(m, j, i, err);
        return 0;
    case REMEDY_LIVE:
        *live = true;
        if (d->step != JOURNAL_DISK_COMMITS)
            d->step = JOURNAL_SWITCHED;
        return 0;
    case REMEDY_FLEECE: /* all of them */
        return fleece_end(m, j, j->phase == JOURNAL_ARCHIVED, err);
    case REMEDY_OFFLINE:
        rc = commit_offline(j, i, o, err);
        return rc == 0 ? remove_overlay(m, j, i, err) : rc;
    default:
        return remove_overlay(m, j, i, err);
    }
}

static int find(struct machine **m, const struct journal *j, struct error *err)
{
    int rc = machine_find(m, j, err);
    return rc == ERROR_NOT_FOUND ? 0 : rc;
}

static void thaw(struct machine *m, const struct journal *j, const struct live_listener *l)
{
    struct error err = {0};
    if ((j->phase == JOURNAL_FREEZING || j->phase == JOURNAL_SWITCHING) &&
        m->ops->thaw_left != NULL && m->ops->thaw_left(m, j, &err) < 0)
        live_warn(l, "the guest's file systems may be frozen still, and cannot be thawed: %s",
                  err.message);
}

int recover_journal(struct machine *given, struct journal *j, const struct live_recover_options *o,
                    struct error *err)
{
    struct machine *m = given;
    struct error first = {0};
    bool live = false;
    int rc = m == NULL ? find(&m, j, err) : 0;
    if (rc < 0)
        return rc;
    if (m != NULL)
        thaw(m, j, &o->listener);
    for (size_t i = 0; i < j->disk_count; i++) {
        struct error why = {0};
        if (recover_disk(m, j, i, o, &live, &why) == 0)
            continue;
        j->disks[i].undecided = true; /* so what the journal says of it must stay */
        error_wrap(&why, "disk %s", j->disks[i].device);
        live_warn(&o->listener, "%s", why.message);
        if (first.code == 0)
            first = why;
    }
    if (live)
        rc = commit_disks(m, j, &o->listener, NULL, err);
    if (m != NULL && rc == 0 && m->ops->resume != NULL)
        m->ops->resume(m);
    if (rc == 0 && first.code != 0) {
        if (err != NULL)
            *err = first;
        rc = first.code;
    }
    side_files_remove(j);
    if (rc == 0)
        rc = journal_remove(j, err);
    if (m != given)
        machine_close(m);
    return rc;
}

struct recovery {
    const struct live_recover_options *options;
    size_t done, failed;
};

static int recover_one(void *arg, const char *path, struct journal *j, bool running,
                       const struct error *why, struct error *err)
{
    struct recovery *r = arg;
    const struct live_listener *l = &r->options->listener;
    struct error error = {0};
    (void)err;
    if (j == NULL) {
        live_warn(l, "%s", why->message);
        r->failed++;
        return 0;
    }
    if (running) {
        live_note(l, "%s: a backup is at work there", path);
        return 0;
    }
    int rc = recover_journal(NULL, j, r->options, &error);
    if (rc < 0)
        live_warn(l, "%s: %s", j->name != NULL ? j->name : path, error.message);
    r->failed += rc < 0;
    r->done += rc == 0;
    return 0;
}

int live_recover(const struct live_recover_options *options, size_t *done, size_t *failed,
                 struct error *err)
{
    struct recovery recovery = {.options = options};
    int rc = journal_each(options->state_dir, true, recover_one, &recovery, err);
    *done = recovery.done;
    *failed = recovery.failed;
    return rc;
}

void live_warn(const struct live_listener *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_args(l->warning, l->arg, fmt, ap);
    va_end(ap);
}

void live_note(const struct live_listener *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_args(l->note, l->arg, fmt, ap);
    va_end(ap);
}
