/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules by which data need not be read again. Each question is answered
 * with NULL for yes, or with the reason why not, which the archive tells. Looks
 * at records and at what was read of the image's metadata; reads nothing.
 */
#include "engine/unchanged.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/dirty_bits.h"

static const int64_t racy_ns = 2000000000;

const char *unchanged_rule_name(enum unchanged_rule rule)
{
    static const char *const names[] = {
        [UNCHANGED_NONE] = "none",           [UNCHANGED_FROZEN] = "frozen",
        [UNCHANGED_MTIME] = "mtime",         [UNCHANGED_SNAPSHOT] = "snapshot",
        [UNCHANGED_BITMAP] = "bitmap",       [UNCHANGED_COMPARED] = "compared",
        [UNCHANGED_FULL_READ] = "full-read",
    };
    return names[rule];
}

/* ---- the whole file ---- */

/* A time stamp this young may stand for a write behind the one that it was set by. */
static bool racy(int64_t time_ns, int64_t started_ns)
{
    return time_ns >= started_ns - racy_ns;
}

static const char *why_file_not_frozen(const struct record_file *now,
                                       const struct record_file *then, int64_t started_ns,
                                       bool trust_mtime, bool *by_mtime)
{
    if (!S_ISREG(now->mode))
        return "a block device has no time that tells of writes";
    if (!file_system_has_ctime(now->fs.type))
        return "no ctime can be relied on in its file system";
    if (now->fs.id == NULL || then->fs.id == NULL || strcmp(now->fs.id, then->fs.id) != 0 ||
        now->inode != then->inode)
        return "it is another file than then";
    if (now->size != then->size || now->mtime_ns != then->mtime_ns)
        return "it was written to since the last backup";
    if (now->ctime_ns == then->ctime_ns)
        return racy(now->ctime_ns, started_ns) ? "it was changed just before the last backup began"
                                               : NULL;
    if (!trust_mtime)
        return "its ctime has moved since the last backup (where owner or mode was changed, "
               "--trust-mtime accepts that)";
    *by_mtime = true;
    return racy(now->mtime_ns, started_ns) ? "it was written to just before the last backup began"
                                           : NULL;
}

static bool same_blob(const struct record_blob *a, const struct record_blob *b)
{
    return a->bytes == b->bytes && a->count == b->count &&
           (a->count == 0 || memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0);
}

static bool same_snapshot(const struct record_snapshot *a, const struct record_snapshot *b)
{
    return a->raw_len == b->raw_len && memcmp(a->raw, b->raw, a->raw_len) == 0;
}

static bool same_l1(const struct record_view *a, const struct record_view *b)
{
    return a->l1_size == b->l1_size && memcmp(&a->l1_hash, &b->l1_hash, sizeof a->l1_hash) == 0;
}

/* Whether the metadata that was read again is what the record has: times may lie. */
static bool same_metadata(const struct record_layer *a, const struct record_layer *b)
{
    const struct record_qcow2 *q = &a->qcow2, *p = &b->qcow2;
    if (!same_blob(&q->header, &p->header) || !same_blob(&q->crypto, &p->crypto) ||
        q->crypto_offset != p->crypto_offset || q->snapshot_count != p->snapshot_count ||
        a->view_count != b->view_count)
        return false;
    for (size_t i = 0; i < q->snapshot_count; i++)
        if (!same_snapshot(&q->snapshots[i], &p->snapshots[i]))
            return false;
    for (size_t i = 0; i < a->view_count; i++)
        if (!same_l1(&a->views[i], &b->views[i]))
            return false;
    return true;
}

/* Whether both were read in the same way: else the bytes of the file are not those of the disk. */
static bool same_content(const struct record_content *a, const struct record_content *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a->format, b->format) == 0;
}

static const char *why_not_frozen(const struct record_layer *now, const struct record_layer *then,
                                  int64_t started_ns, bool trust_mtime, bool *by_mtime)
{
    const struct record_data_file *d = now->qcow2.data_file, *e = then->qcow2.data_file;
    const char *why =
        why_file_not_frozen(&now->file, &then->file, started_ns, trust_mtime, by_mtime);
    if (why != NULL)
        return why;
    if (now->is_qcow2 != then->is_qcow2 || now->virtual_size != then->virtual_size ||
        !same_content(now->content, then->content))
        return "it has another format than then";
    if (!now->is_qcow2)
        return NULL;
    if (!same_metadata(now, then))
        return "its header, tables or snapshots are other than then, though its times are not";
    if (d == NULL && e == NULL)
        return NULL;
    if (d == NULL || e == NULL)
        return "its data file is another";
    why = why_file_not_frozen(&d->file, &e->file, started_ns, trust_mtime, by_mtime);
    return why != NULL ? "its data file was changed since" : NULL;
}

bool unchanged_is_frozen(const struct record_layer *now, const struct record_layer *then,
                         int64_t started_ns, bool trust_mtime)
{
    bool by_mtime;
    return why_not_frozen(now, then, started_ns, trust_mtime, &by_mtime) == NULL;
}

/* ---- snapshots ---- */

/* Bits of the header that say that refcounts, and so what they pin, cannot be relied on. */
static bool refcounts_hold(const struct record_qcow2 *q)
{
    return (q->incompatible & 3) == 0;
}

/* Whether entries and offsets mean the same in both. */
static bool same_layout(const struct record_qcow2 *a, const struct record_qcow2 *b)
{
    return a->version == b->version && a->cluster_bits == b->cluster_bits &&
           (a->incompatible & ~UINT64_C(3)) == (b->incompatible & ~UINT64_C(3)) &&
           a->crypt_method == b->crypt_method && a->compression_type == b->compression_type;
}

/* Finds the snapshots that are the same as then; returns their number. */
static size_t match_snapshots(struct unchanged *u, const struct record_layer *now)
{
    const struct record_qcow2 *q = &now->qcow2, *p = &u->before->qcow2;
    size_t found = 0, from = 0;
    for (size_t i = 0; i < q->snapshot_count; i++)
        /* the table keeps its order, so that one pass is enough */
        for (size_t k = from; k < p->snapshot_count; k++)
            if (same_snapshot(&q->snapshots[i], &p->snapshots[k])) {
                from = k + 1;
                if (!same_l1(&now->views[i + 1], &u->before->views[k + 1]))
                    break;
                u->same_view[i + 1] = k + 2;
                found++;
                break;
            }
    return found;
}

const char *unchanged_why_other_layout(const struct unchanged *u, const struct record_layer *now)
{
    if (!u->parent->same_file)
        return "it is another file than then";
    if (!same_layout(&now->qcow2, &u->before->qcow2))
        return "its format was changed";
    if (!refcounts_hold(&now->qcow2) || !refcounts_hold(&u->before->qcow2))
        return "it is marked dirty or corrupt";
    if (now->file.size < u->before->file.size)
        return "it has become shorter";
    return NULL;
}

static const char *why_no_snapshot(struct unchanged *u, const struct record_layer *now)
{
    const char *layout = unchanged_why_other_layout(u, now);
    if (layout != NULL)
        return layout;
    return match_snapshots(u, now) > 0 ? NULL : "it has no snapshot that the last backup knew";
}

/* ---- all together ---- */

static void settle(struct unchanged *u, enum unchanged_rule rule, const char *reasons[3])
{
    size_t at = 0;
    u->rule = rule;
    u->reason[0] = 0;
    for (size_t i = 0; i < 3 && at < sizeof u->reason; i++) {
        bool said = reasons[i] == NULL;
        for (size_t k = 0; k < i && !said; k++)
            said = reasons[k] != NULL && strcmp(reasons[k], reasons[i]) == 0;
        if (!said)
            at += (size_t)snprintf(u->reason + at, sizeof u->reason - at, "%s%s",
                                   at > 0 ? "; " : "", reasons[i]);
    }
}

/* Where the whole file is not as it was: what of it is. */
static int decide_in_part(struct unchanged *u, const struct layer_job *job, bool below_frozen,
                          const char *frozen, struct error *err)
{
    char bitmap[UNCHANGED_REASON];
    const char *reasons[3] = {frozen};
    enum unchanged_rule rule = UNCHANGED_COMPARED;
    if (job->record->is_qcow2 && u->before->is_qcow2) {
        int rc = unchanged_choose_bitmap(u, job, below_frozen, bitmap, err);
        if (rc < 0)
            return rc;
        reasons[2] = why_no_snapshot(u, job->record);
        if (u->bits != NULL)
            rule = UNCHANGED_BITMAP;
        else if (reasons[2] == NULL)
            rule = UNCHANGED_SNAPSHOT;
        reasons[1] = u->bits != NULL ? NULL : bitmap;
        if (u->bits != NULL)
            reasons[2] = NULL;
    }
    settle(u, rule, reasons);
    return 0;
}

/* The same for a layer that somebody else reads. */
static int decide_content(struct unchanged *u, const struct layer_job *job, const char *frozen,
                          struct error *err)
{
    char why[UNCHANGED_REASON];
    bool proves = false;
    int rc = unchanged_begin_content(u, job, &proves, why, err);
    if (rc < 0)
        return rc;
    if (u->before == NULL || job->run->options->full_read)
        return 0;
    settle(u, proves ? UNCHANGED_BITMAP : UNCHANGED_COMPARED,
           (const char *[3]){frozen, proves ? NULL : why});
    return 0;
}

int unchanged_decide(struct unchanged *u, const struct layer_job *job, const struct parent *parent,
                     bool below_frozen, struct error *err)
{
    const struct engine_backup_options *options = job->run->options;
    const struct record_layer *now = job->record;
    bool by_mtime = false;
    *u = (struct unchanged){.parent = parent, .view_count = now->view_count};
    u->same_view = calloc(u->view_count + 1, sizeof *u->same_view);
    if (u->same_view == NULL)
        return error_no_memory(err);
    if (options->full_read) {
        settle(u, UNCHANGED_FULL_READ, (const char *[3]){"everything was read, as asked for"});
        return job->content != NULL ? decide_content(u, job, NULL, err) : 0;
    }
    u->before = parent_layer(parent);
    if (u->before == NULL) {
        settle(u, UNCHANGED_NONE, (const char *[3]){"there is no earlier backup of this file"});
        return job->content != NULL ? decide_content(u, job, NULL, err) : 0;
    }
    const char *frozen =
        job->layer->fd < 0            ? "a server does not tell when it was written to"
        : job->layer->other_count > 0 ? "it consists of several files"
        : parent->same_file
            ? why_not_frozen(now, u->before, parent->started_ns, options->trust_mtime, &by_mtime)
            : "only its path is that of an earlier backup, the file is another";
    if (frozen != NULL && job->content != NULL)
        return decide_content(u, job, frozen, err);
    if (frozen != NULL)
        return decide_in_part(u, job, below_frozen, frozen, err);
    settle(u, by_mtime ? UNCHANGED_MTIME : UNCHANGED_FROZEN,
           (const char *[3]){by_mtime ? "its ctime has moved, which was accepted as asked for"
                                      : "its times, header and tables are as they were"});
    return 0;
}

static void drop_bits(struct unchanged *u)
{
    if (u->bits != NULL)
        dirty_bits_clear(u->bits);
    free(u->bits);
    u->bits = NULL;
}

static void prove_nothing(struct unchanged *u, enum unchanged_rule rule, const char *why)
{
    drop_bits(u);
    memset(u->same_view, 0, u->view_count * sizeof *u->same_view);
    settle(u, rule, (const char *[3]){why});
}

void unchanged_distrust(struct unchanged *u, const char *why)
{
    prove_nothing(u, UNCHANGED_COMPARED, why);
}

void unchanged_forget(struct unchanged *u, const char *why)
{
    u->before = NULL;
    prove_nothing(u, UNCHANGED_NONE, why);
}

void unchanged_clear(struct unchanged *u)
{
    drop_bits(u);
    free(u->same_view);
    *u = (struct unchanged){0};
}
