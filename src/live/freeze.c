/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a running machine to one that writes to overlays: refused before anything
 * is touched, or undone, or done. The journal is ahead of each step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "live/fleece.h"
#include "live/guard.h"
#include "live/overlay.h"
#include "live/session.h"

enum { FREEZE_LIMIT = 30, THAW_TRIES = 3 }; /* seconds; times */

/* ---- before anything is touched ---- */

/* In a folder that several images share, names may be the same. */
static char *choose_overlay(const struct journal *j, size_t i, const char *folder)
{
    const char *base = j->disks[i].base;
    char *path = overlay_path(base, folder);
    for (size_t k = 0; path != NULL && k < i; k++) {
        char *numbered = NULL;
        if (j->disks[k].overlay == NULL || strcmp(j->disks[k].overlay, path) != 0)
            continue;
        if (asprintf(&numbered, "%s/disk-%zu" LIVE_OVERLAY_SUFFIX, folder, i) < 0)
            numbered = NULL;
        free(path);
        path = numbered;
    }
    return path;
}

static int place_overlay(const struct live *l, size_t i, const char *folder, struct error *err)
{
    const struct journal *j = &l->journal;
    struct journal_disk *d = &j->disks[i];
    struct stat st;
    if (stat(d->base, &st) < 0)
        return error_sys(err, errno, "%s", d->base);
    if (folder == NULL && !S_ISREG(st.st_mode))
        return error_set(err, ERROR_USAGE,
                         "disk %s: %s is a block device, beside which there is no room for a "
                         "temporary overlay: name a folder with --overlay-dir",
                         d->device, d->base);
    d->overlay = choose_overlay(j, i, folder);
    if (d->encrypted)
        d->key_file = journal_key_path(j, i);
    if (d->overlay == NULL || (d->encrypted && d->key_file == NULL))
        return error_no_memory(err);
    if (lstat(d->overlay, &st) == 0)
        return error_set(err, ERROR_EXISTS,
                         "%s is there already, and no journal tells of it: an overlay that an "
                         "earlier backup has left? byre does not touch it",
                         d->overlay);
    uint64_t left = 0, margin = 0;
    int rc = overlay_room(d->overlay, &left, &margin, err);
    if (rc == 0 && left < margin)
        rc = error_set(err, ERROR_NO_SPACE,
                       "there is no room for what the machine writes during the backup: %s would "
                       "have %llu MiB (--overlay-dir names another folder)",
                       d->overlay, (unsigned long long)(left >> 20));
    return rc;
}

static int place_overlays(struct live *l, struct error *err)
{
    const char *given = l->options.overlay_dir;
    char *folder = given != NULL ? realpath(given, NULL) : NULL;
    int rc = given != NULL && folder == NULL ? error_sys(err, errno, "%s", given) : 0;
    for (size_t i = 0; rc == 0 && i < l->journal.disk_count; i++)
        if (l->journal.disks[i].mode == JOURNAL_OVERLAY)
            rc = place_overlay(l, i, folder, err);
    if (rc == 0)
        rc = fleece_place(&l->journal, l->options.scratch_dir, err);
    free(folder);
    return rc;
}

/* Connects, and puts right what is left of an earlier backup first. */
static int open_machine(struct live *l, struct error *err)
{
    const struct live_recover_options recover = {.state_dir = l->options.state_dir,
                                                 .listener = l->options.listener};
    struct journal *j = &l->journal;
    char *identity = NULL;
    int rc = machine_identity(&l->options, &identity, err);
    if (rc == 0)
        rc = journal_open(j, l->options.state_dir, identity, err);
    free(identity);
    if (rc == 0 && j->stored) {
        live_warn(&l->options.listener, "an earlier backup of this machine was broken off; what it "
                                        "left is put right first");
        rc = recover_journal(NULL, j, &recover, err);
        if (rc < 0)
            return error_wrap(err, "the machine still is as a broken backup has left it (byre live "
                                   "status)");
        journal_clear(j);
    }
    return rc == 0 ? machine_connect(&l->machine, &l->options, err) : rc;
}

static int plan(struct live *l, struct error *err)
{
    struct journal *j = &l->journal;
    int rc = machine_describe(l->machine, j, err);
    j->started = time(NULL);
    j->byre = getpid();
    j->phase = JOURNAL_PREPARING;
    if (rc == 0)
        rc = l->machine->ops->plan(l->machine, &l->options, j, err);
    if (rc == 0)
        rc = l->machine->off ? 0 : place_overlays(l, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++)
        l->wanted += j->disks[i].bitmap != NULL;
    return rc;
}

/* ---- the switch ---- */

static int prepare(struct live *l, size_t *created, struct error *err)
{
    struct journal *j = &l->journal;
    int rc = journal_save(j, err);
    for (; rc == 0 && *created < j->disk_count; *created += rc == 0)
        rc = j->disks[*created].mode == JOURNAL_CONTENT ? fleece_create(j, *created, err)
                                                        : overlay_create(&j->disks[*created], err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++)
        j->disks[i].step = JOURNAL_CREATED;
    if (rc == 0 && l->machine->ops->prepare != NULL)
        rc = l->machine->ops->prepare(l->machine, j, err);
    return rc;
}

int freeze_thaw(struct machine *m, struct error *err)
{
    int rc = -1;
    for (int i = 0; rc < 0 && i < THAW_TRIES; i++)
        rc = m->ops->thaw(m, err);
    return rc;
}

/* In the guard. */
static void thaw_last(void *arg)
{
    freeze_thaw(arg, NULL);
}

/* Whether the machine writes to the overlays all the same, though it did not say so. */
static bool has_switched(struct live *l)
{
    enum machine_where where = MACHINE_ON_BASE;
    return l->machine->ops->look(l->machine, &l->journal, 0, &where, NULL) == 0 &&
           where == MACHINE_ON_OVERLAY;
}

static int switch_over(struct live *l, struct error *err)
{
    struct journal *j = &l->journal;
    j->phase = JOURNAL_SWITCHING;
    int rc = journal_save(j, err);
    if (rc == 0 && l->options.listener.cancel != NULL && *l->options.listener.cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    double from = live_seconds();
    if (rc == 0)
        rc = l->machine->ops->switch_over(l->machine, j, err);
    l->pause = live_seconds() - from;
    return rc < 0 && has_switched(l) ? 0 : rc;
}

/* The guest's file systems are frozen as short as can be: thawed at once, on every path. */
static int switch_quietly(struct live *l, struct error *err)
{
    struct machine *m = l->machine;
    struct guard *guard = NULL;
    struct error why = {0};
    int fds[5] = {l->journal.lock};
    if (m->ops->agent_begin == NULL)
        return error_set(err, ERROR_UNSUPPORTED, "there is no way to a guest agent there");
    int rc = m->ops->agent_begin(m, &l->options, &l->journal, err);
    if (rc < 0)
        return error_wrap(err, "--quiesce");
    l->journal.phase = JOURNAL_FREEZING;
    rc = journal_save(&l->journal, err);
    size_t count = 1 + m->ops->agent_descriptors(m, fds + 1);
    if (rc == 0)
        rc = guard_start(&guard, FREEZE_LIMIT, fds, count, thaw_last, m, err);
    if (rc < 0) {
        m->ops->agent_end(m);
        return rc;
    }
    double from = live_seconds();
    rc = m->ops->freeze(m, err);
    if (rc < 0)
        error_wrap(err, "--quiesce");
    else
        rc = switch_over(l, err);
    int thaw_rc = freeze_thaw(m, &why);
    l->pause = live_seconds() - from;
    bool late = guard_release(guard);
    m->ops->agent_end(m);
    if (thaw_rc < 0) {
        live_warn(&l->options.listener,
                  "THE GUEST'S FILE SYSTEMS ARE FROZEN STILL, AND COULD NOT BE THAWED: %s; in the "
                  "guest, or by its agent: guest-fsfreeze-thaw",
                  why.message);
        l->partial = true;
    } else if (late && rc == 0) {
        live_warn(&l->options.listener,
                  "freezing took longer than %d seconds, and was given up: the backup is as after "
                  "a power cut",
                  FREEZE_LIMIT);
        l->partial = true;
    }
    return rc;
}

/* Whether the machine surely writes to the bases: the switch is of all disks, or of none. */
static bool is_on_bases(struct live *l)
{
    enum machine_where where = MACHINE_ELSEWHERE;
    return l->journal.phase < JOURNAL_SWITCHING ||
           (l->machine->ops->look(l->machine, &l->journal, 0, &where, NULL) == 0 &&
            (where == MACHINE_ON_BASE || where == MACHINE_KNOWS));
}

static int remove_overlays(struct live *l, size_t created, struct error *err)
{
    struct journal *j = &l->journal;
    int rc = 0;
    if (l->machine->ops->unprepare != NULL)
        l->machine->ops->unprepare(l->machine, j);
    for (size_t i = 0; rc == 0 && i < created; i++)
        rc = overlay_remove(&j->disks[i], err);
    return rc == 0 && j->stored ? journal_remove(j, err) : rc;
}

/* Nothing has changed yet but that there are overlays; or nobody knows, and then it is as after any
 * other backup that was broken off. */
static void undo(struct live *l, size_t created)
{
    const struct live_recover_options recover = {.state_dir = l->options.state_dir,
                                                 .listener = l->options.listener};
    struct error err = {0};
    int rc = 0;
    if (is_on_bases(l)) {
        rc = remove_overlays(l, created, &err);
    } else {
        machine_close(l->machine);
        l->machine = NULL;
        rc = recover_journal(NULL, &l->journal, &recover, &err);
    }
    if (rc < 0)
        live_warn(&l->options.listener, "something is left: %s (byre live status)", err.message);
}

/* A base as it is now is what must be there when the overlay is committed; a power cut must not
 * show it older. */
static int take_stats(struct live *l, struct error *err)
{
    struct journal *j = &l->journal;
    int rc = 0;
    for (size_t i = 0; i < j->disk_count;
         i++) /* all of them, whatever comes: they have to go back */
        j->disks[i].step = JOURNAL_SWITCHED;
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        struct journal_disk *d = &j->disks[i];
        if (d->mode == JOURNAL_CONTENT)
            continue;
        rc = io_sync(d->base, err);
        if (rc == 0)
            rc = journal_take_stat(&d->stat, d->base, err);
    }
    j->phase = JOURNAL_FROZEN;
    return rc == 0 ? journal_save(j, err) : rc;
}

/* Of content there is no file: what is read has a name of its own, as has its bitmap. */
static int list_content(struct live *l, size_t i, struct error *err)
{
    const struct journal_disk *d = &l->journal.disks[i];
    l->images[i] = l->uris[i] = fleece_uri(d);
    l->recorded_as[i] = l->names[i] = fleece_recorded_as(&l->journal, i);
    return l->uris[i] == NULL || l->names[i] == NULL ? error_no_memory(err) : 0;
}

static int list_images(struct live *l, struct error *err)
{
    size_t n = l->journal.disk_count;
    int rc = 0;
    l->images = calloc(n + 1, sizeof *l->images);
    l->recorded_as = calloc(n + 1, sizeof *l->recorded_as);
    l->bitmap_names = calloc(n + 1, sizeof *l->bitmap_names);
    l->uris = calloc(n + 1, sizeof *l->uris);
    l->names = calloc(n + 1, sizeof *l->names);
    if (l->images == NULL || l->recorded_as == NULL || l->bitmap_names == NULL || l->uris == NULL ||
        l->names == NULL)
        return error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        l->images[i] = l->journal.disks[i].base;
        if (l->journal.disks[i].mode == JOURNAL_CONTENT)
            rc = list_content(l, i, err);
    }
    return rc;
}

/* The lock is held all the same: nobody else backs it up meanwhile. */
static int take_as_it_is(struct live *l, struct error *err)
{
    live_note(&l->options.listener, "%s is shut off: its disks are backed up as files",
              l->journal.name);
    l->off = true;
    return side_files_collect(l, err);
}

int live_freeze(struct live **out, const struct live_options *options, struct error *err)
{
    struct live_result result;
    size_t created = 0;
    *out = NULL;
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL)
        return error_no_memory(err);
    l->options = *options;
    l->journal.lock = -1;
    int rc = open_machine(l, err);
    if (rc == 0)
        rc = plan(l, err);
    if (rc == 0)
        rc = list_images(l, err);
    if (rc == 0 && l->machine->off)
        rc = take_as_it_is(l, err);
    if (rc < 0) {
        live_free(l);
        return rc;
    }
    if (l->off) {
        *out = l;
        return 0;
    }
    rc = prepare(l, &created, err);
    if (rc == 0)
        rc = options->quiesce ? switch_quietly(l, err) : switch_over(l, err);
    if (rc < 0) {
        undo(l, created);
        live_free(l);
        return rc;
    }
    rc = take_stats(l, err);
    if (rc == 0 && fleece_first(&l->journal) < l->journal.disk_count)
        rc = l->machine->ops->fleece_begin(l->machine, &l->journal, err);
    for (size_t i = 0; i < l->journal.disk_count; i++)
        if (l->journal.disks[i].mode == JOURNAL_CONTENT)
            l->bitmap_names[i] = l->journal.disks[i].bitmap;
    if (rc == 0 && l->machine->ops->check_bases != NULL)
        rc = l->machine->ops->check_bases(l->machine, &l->journal, err);
    if (rc == 0)
        rc = side_files_collect(l, err);
    if (rc == 0)
        rc = watch_begin(&l->watch, l->machine, &l->journal, &l->options.listener, err);
    if (rc < 0) {
        struct error why = {0};
        if (live_finish(l, false, &result, &why) < 0)
            live_warn(&options->listener,
                      "the machine is not back on all of its disks: %s (byre "
                      "live status)",
                      why.message);
        return rc;
    }
    *out = l;
    return 0;
}
