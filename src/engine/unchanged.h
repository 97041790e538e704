/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_UNCHANGED_H
#define BYRE_ENGINE_UNCHANGED_H

#include "engine/layer_job.h"
#include "engine/parent.h"

/*
 * What of a layer is provably as its parent archive has it. Anything doubtful
 * is not: reading is never wrong.
 */

enum unchanged_rule {
    UNCHANGED_NONE,      /* there is no earlier backup of the file */
    UNCHANGED_FROZEN,    /* the whole file is as it was */
    UNCHANGED_MTIME,     /* the same, though its ctime moved, which the user answers for */
    UNCHANGED_SNAPSHOT,  /* what internal snapshots of then pin */
    UNCHANGED_BITMAP,    /* what a bitmap of this repository has as clean (and snapshots pin) */
    UNCHANGED_COMPARED,  /* nothing is proven: all is read, and compared by fingerprints */
    UNCHANGED_FULL_READ, /* as the user wished */
};

enum { UNCHANGED_REASON = 512 };

struct dirty_bits;

struct unchanged {
    const struct parent *parent;
    const struct record_layer *before; /* the layer in it; NULL: none, or none to be used */
    enum unchanged_rule rule;
    char reason[UNCHANGED_REASON]; /* why no better rule */
    struct dirty_bits *bits;       /* of a bitmap that proves; NULL: none */
    /* Of each view: the view in ${before} with the same L1 and entry of the snapshot table, plus 1;
     * 0: none, and always for the active one. */
    size_t *same_view;
    size_t view_count;
};

/* Whether the file of ${now} was provably not written to since the run that recorded it as ${then}
 * and began at ${started_ns}; both records are whole. */
bool unchanged_is_frozen(const struct record_layer *now, const struct record_layer *then,
                         int64_t started_ns, bool trust_mtime);

/* The rule's name in records. */
const char *unchanged_rule_name(enum unchanged_rule rule);

/*
 * Decides about the layer of ${job}, whose record has its file's facts and, for qcow2, all its
 * metadata (backup_qcow2_metadata) and the l1_size and l1_hash of its views. ${parent} is lent;
 * ${below_frozen}: nothing was written to what lies below the layer since the parent. To be
 * cleared.
 */
int unchanged_decide(struct unchanged *unchanged, const struct layer_job *job,
                     const struct parent *parent, bool below_frozen, struct error *err);
/* The image contradicts itself, as ${why} tells: nothing of it is taken to be as it was. */
void unchanged_distrust(struct unchanged *unchanged, const char *why);
/* The parent cannot be used, as ${why} tells: it is as if there were none. */
void unchanged_forget(struct unchanged *unchanged, const char *why);

void unchanged_clear(struct unchanged *unchanged);

/* ---- between the rules ---- */

/* NULL where the layer's entries and offsets mean what they meant in ${unchanged->before}, a qcow2
 * file, and its refcounts can be relied on; else why not. */
const char *unchanged_why_other_layout(const struct unchanged *unchanged,
                                       const struct record_layer *now);

/* For a layer that ${job->content} reads: makes that ready, with the server's bitmap where the
 * parent knows one; ${*proves} where what is clean in it is as it was, else ${why}. */
int unchanged_begin_content(const struct unchanged *unchanged, const struct layer_job *job,
                            bool *proves, char why[UNCHANGED_REASON], struct error *err);

/* Sets ${unchanged->bits} where a bitmap proves something, else ${why}. */
int unchanged_choose_bitmap(struct unchanged *unchanged, const struct layer_job *job,
                            bool below_frozen, char why[UNCHANGED_REASON], struct error *err);

#endif
