/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of a frozen machine, and its end: back to the bases, whatever
 * became of the backup and of the machine.
 */
#include "live/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "live/fleece.h"
#include "live/overlay.h"
#include "live/session.h"

size_t live_image_count(const struct live *l)
{
    return l->journal.disk_count;
}

const char *const *live_images(const struct live *l)
{
    return l->images;
}

const char *const *live_recorded_as(const struct live *l)
{
    return l->recorded_as;
}

const char *const *live_bitmap_names(const struct live *l)
{
    return l->bitmap_names;
}

bool live_is_off(const struct live *l)
{
    return l->off;
}

const char *live_name(const struct live *l)
{
    return l->journal.name;
}

const char *const *live_side_files(const struct live *l, size_t *count)
{
    *count = l->side_file_count;
    return (const char *const *)l->side_files;
}

bool live_has_bitmaps(const struct live *l)
{
    for (size_t i = 0; i < l->journal.disk_count; i++)
        if (l->journal.disks[i].mode == JOURNAL_OVERLAY && l->journal.disks[i].bitmap != NULL)
            return true;
    return false;
}

/* A machine that is gone has told before what went wrong; and nothing could be read from it since.
 */
int live_confirm(struct live *l, struct error *err)
{
    struct journal *j = &l->journal;
    int rc = 0;
    if (fleece_first(j) == j->disk_count)
        return 0;
    watch_end(&l->watch);
    if (l->watch.trouble[0] != 0)
        return error_set(err, ERROR_INTERRUPTED, "%s", l->watch.trouble);
    bool kept = true;
    for (size_t i = 0; rc == 0 && !l->watch.gone && i < j->disk_count; i++) {
        enum machine_where where = MACHINE_ON_OVERLAY;
        if (j->disks[i].mode == JOURNAL_CONTENT)
            rc = l->machine->ops->look(l->machine, j, i, &where, err);
        kept &= where == MACHINE_ON_OVERLAY;
    }
    if (rc == 0 && !kept)
        rc = error_set(err, ERROR_CHANGED,
                       "the machine has not kept what it overwrote up to the end of the backup");
    return rc == 0 ? watch_begin(&l->watch, l->machine, j, &l->options.listener, err) : rc;
}

void live_free(struct live *l)
{
    if (l->journal.lock >= 0) /* else they are another one's */
        side_files_remove(&l->journal);
    for (size_t i = 0; i < l->side_file_count; i++)
        free(l->side_files[i]);
    free(l->side_files);
    machine_close(l->machine);
    for (size_t i = 0; i < l->journal.disk_count; i++) {
        if (l->uris != NULL)
            free(l->uris[i]);
        if (l->names != NULL)
            free(l->names[i]);
    }
    journal_close(&l->journal);
    free(l->uris);
    free(l->names);
    free(l->recorded_as);
    free(l->bitmap_names);
    free(l->images);
    free(l);
}

/* ---- the end ---- */

static int finish_without_machine(struct live *l, struct error *err)
{
    const struct live_recover_options options = {.state_dir = l->options.state_dir,
                                                 .listener = l->options.listener};
    live_warn(&l->options.listener,
              "the machine has ended meanwhile; what it wrote to the overlays "
              "is committed without it");
    machine_close(l->machine);
    l->machine = NULL;
    return recover_journal(NULL, &l->journal, &options, err);
}

/* Those of earlier runs are of no use once there is an archive; this one, where there is none. */
static void drop_bitmaps(struct live *l, bool archived, struct live_result *result)
{
    struct machine *m = l->machine;
    char prefix[64];
    if (l->options.bitmap == NULL || m->ops->drop_bitmaps == NULL)
        return;
    snprintf(prefix, sizeof prefix, "%.*s",
             (int)(archived ? l->options.bitmap_prefix : strlen(l->options.bitmap)),
             l->options.bitmap);
    for (size_t i = 0; i < l->journal.disk_count; i++) {
        const struct journal_disk *d = &l->journal.disks[i];
        struct error why = {0};
        size_t left = 0;
        if (d->bitmap == NULL)
            continue;
        if (m->ops->drop_bitmaps(m, &l->journal, i, prefix, archived ? d->bitmap : NULL, &left,
                                 &why) < 0 ||
            left > 0)
            live_note(&l->options.listener,
                      "%s: bitmaps of earlier runs stay, until the next backup removes them: %s",
                      d->device, why.message);
        result->bitmaps_obsolete += left;
    }
}

static int finish_on_machine(struct live *l, bool archived, struct live_result *result,
                             struct error *err)
{
    struct machine *m = l->machine;
    struct error why = {0};
    int fleece_rc = fleece_end(m, &l->journal, archived, &why);
    int rc = commit_disks(m, &l->journal, &l->options.listener, &l->pause, err);
    if (rc == 0 && fleece_rc < 0) {
        if (err != NULL)
            *err = why;
        rc = fleece_rc;
    }
    if (m->ops->resume != NULL)
        m->ops->resume(m);
    if (rc < 0)
        return rc;
    drop_bitmaps(l, archived, result);
    return journal_remove(&l->journal, err);
}

/* Whether it still is there, now that nobody else speaks with it. */
static bool is_gone(struct live *l)
{
    char *trouble = NULL;
    bool gone = l->watch.gone;
    if (!gone)
        l->machine->ops->watch(l->machine, &l->journal, 0, &trouble, &gone, NULL);
    free(trouble);
    return gone;
}

int live_finish(struct live *l, bool archived, struct live_result *result, struct error *err)
{
    struct journal *j = &l->journal;
    struct error why = {0};
    if (l->off) {
        *result = (struct live_result){.disks = j->disk_count};
        live_free(l);
        return 0;
    }
    watch_end(&l->watch);
    *result = (struct live_result){.partial = l->partial, .disks = j->disk_count};
    snprintf(result->trouble, sizeof result->trouble, "%s", l->watch.trouble);
    for (size_t i = 0; i < j->disk_count; i++)
        result->overlay_bytes += overlay_bytes(&j->disks[i]);
    j->phase = archived ? JOURNAL_ARCHIVED : JOURNAL_FAILED;
    int rc = journal_save(j, &why);
    if (rc < 0) /* the machine comes first */
        live_warn(&l->options.listener, "%s", why.message);
    rc =
        is_gone(l) ? finish_without_machine(l, &why) : finish_on_machine(l, archived, result, &why);
    if (rc < 0 && l->machine != NULL && is_gone(l))
        rc = finish_without_machine(l, &why);
    if (rc < 0 && err != NULL)
        *err = why;
    result->left = rc < 0;
    result->pause_seconds = l->pause;
    live_free(l);
    return rc;
}

/* ---- overlays that are no disks, and disks that have one ---- */

struct search {
    const char *path;
    bool is_overlay, is_base;
};

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a != NULL && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static int compare(void *arg, const char *path, struct journal *j, bool running,
                   const struct error *why, struct error *err)
{
    struct search *s = arg;
    (void)path;
    (void)running;
    (void)why;
    (void)err;
    for (size_t i = 0; j != NULL && i < j->disk_count; i++) {
        const struct journal_disk *d = &j->disks[i];
        s->is_overlay |= is_same_file(s->path, d->overlay);
        s->is_base |= d->mode == JOURNAL_OVERLAY && j->phase >= JOURNAL_SWITCHING &&
                      d->step < JOURNAL_COMPLETE && is_same_file(s->path, d->base);
    }
    return 0;
}

bool live_is_overlay(const char *state_dir, const char *path)
{
    static const char suffix[] = LIVE_OVERLAY_SUFFIX;
    size_t n = strlen(path);
    struct search search = {.path = path};
    if (n >= sizeof suffix - 1 && strcmp(path + n - (sizeof suffix - 1), suffix) == 0)
        return true;
    journal_each(state_dir, false, compare, &search, NULL);
    return search.is_overlay;
}

bool live_is_base(const char *state_dir, const char *path)
{
    struct search search = {.path = path};
    journal_each(state_dir, false, compare, &search, NULL);
    return search.is_base;
}
