/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PRUNE_H
#define CS_PRUNE_H

#include "index.h"
#include "pack_read.h"
#include "store.h"

/*
 * The inside of a prune, for prune*.c. What is needed is marked in the index (a bit for each
 * entry), then packs are decided on, then condemned in as many steps as it takes: each step is an
 * entry of the log, and rests on everything that came before that entry.
 */

enum {
    CS_PRUNE_GRACE = 86400,   /* seconds */
    CS_PRUNE_GONE_MAX = 1024, /* names that are worth an entry of their own */
};

enum cs_fate { CS_FATE_KEEP, CS_FATE_DROP, CS_FATE_REWRITE };

struct cs_pack_use {
    struct cs_state_pack pack;
    bool present; /* as the log says, by the listing */
    enum cs_fate fate;
    uint64_t entries; /* of the index */
    uint64_t needed;  /* of those */
    /* where some are needed and some are not: */
    uint32_t frame_count;
    uint32_t *stored;     /* bytes of each frame */
    uint8_t *live_frames; /* a bit each */
    uint8_t *lost_frames; /* the same: those that hold something that was proven bad; NULL: none */
    uint64_t unused;      /* bytes in frames that are not needed */
    bool uncovered;       /* cs_prune_find_uncovered: something is needed of other frames */
    bool done;            /* condemned by this prune */
};

struct cs_listed { /* a file in packs/ or segments/ */
    struct cs_name name;
    enum cs_file_kind kind;
    uint64_t size;
};

struct cs_names_to { /* a list that grows */
    struct cs_name *at;
    size_t count;
};

struct cs_prune {
    struct cs_store *store;
    const struct cs_prune_options *options;
    struct cs_prune_result *result;
    int64_t now;   /* Unix seconds */
    bool no_grace; /* asked for, or the disk is full */

    struct cs_listed *files;
    size_t file_count;
    struct cs_names listed[CS_FILE_KINDS]; /* positions in files */

    struct cs_pack_use *packs; /* of the packs that were live when it began */
    size_t pack_count;
    struct cs_names pack_names; /* positions in packs */
    struct cs_names_to orphans[CS_FILE_KINDS];

    uint64_t marked_through;  /* archives of entries before this number are marked */
    uint64_t condemn_entries; /* that the log had when it began, and our own */
    uint64_t lost_entries;    /* that the log had when marking began */
    uint64_t done;            /* bytes moved */
    uint64_t total;
};

struct cs_marker {
    struct cs_prune *prune;
};

/* Appends a name; CS_NO_MEMORY. */
int cs_names_to_add(struct cs_names_to *list, const struct cs_name *name, struct cs_error *err);

/* ---- prune_mark.c ---- */

/* Marks what the archives need that are live now and were not marked yet. */
int cs_prune_mark_archives(struct cs_prune *p, struct cs_error *err);

/* ---- prune_files.c ---- */

/* Lists packs/ and segments/. */
int cs_prune_list(struct cs_prune *p, struct cs_error *err);
void cs_prune_list_clear(struct cs_prune *p);
const struct cs_listed *cs_prune_listed(const struct cs_prune *p, enum cs_file_kind kind,
                                        const struct cs_name *name);

/* Finds the files that no entry of the log names and that are old enough. */
int cs_prune_find_orphans(struct cs_prune *p, struct cs_error *err);

/* Makes every entry of the log that was read durable: what they condemn is about to be deleted. */
int cs_prune_sync_log(struct cs_store *store, struct cs_error *err);

/* Deletes what others have condemned, as far as the listing shows it; gathers in ${gone} the names
 * that it does not show. */
int cs_prune_delete_condemned(struct cs_prune *p, struct cs_names_to gone[CS_FILE_KINDS],
                              struct cs_error *err);
int cs_prune_delete(struct cs_prune *p, enum cs_file_kind kind, const struct cs_names_to *names,
                    struct cs_error *err);

/* Deletes files that have lain in tmp/ for more than a day. */
int cs_prune_sweep(struct cs_prune *p, struct cs_error *err);

void cs_prune_file_name(char out[64], enum cs_file_kind kind, const struct cs_name *name);

/* ---- prune_plan.c ---- */

/* Decides on every pack. */
int cs_prune_plan(struct cs_prune *p, struct cs_error *err);
void cs_prune_plan_clear(struct cs_prune *p);

/* Finds the packs of which more is needed by now than they were planned for: of one to drop
 * anything, of one to rewrite anything in other frames than those that move. */
int cs_prune_find_uncovered(struct cs_prune *p, struct cs_error *err);

/* ---- prune_step.c ---- */

/* CS_CONFLICT: another prune is at work. */
int cs_prune_conflict(struct cs_error *err);

struct cs_step { /* one entry to come */
    struct cs_prune *prune;
    struct cs_names_to condemned[CS_FILE_KINDS];
    struct cs_names_to gone[CS_FILE_KINDS];
    struct cs_pack_use **sources; /* packs among those condemned whose live frames have moved */
    size_t source_count;
    struct cs_state_pack *packs; /* added */
    size_t pack_count;
    struct cs_state_segment segment;
    size_t segment_count;
    bool replaces; /* the segments to condemn are live ones */
    bool again;    /* fewer packs are to be condemned than the payload says */
    bool appended; /* or perhaps: the entry may be in the log */
};

/*
 * Appends the entry, then deletes what it condemns. Packs of which something is needed by archives
 * that came meanwhile are left out. CS_CONFLICT: another prune was faster. Nothing to say is
 * nothing done.
 */
int cs_step_append(struct cs_step *step, struct cs_error *err);

/* Deletes the files that were to be added, where it is certain that no entry names them. */
void cs_step_take_back(struct cs_step *step);
void cs_step_clear(struct cs_step *step);

/* ---- prune_move.c ---- */

/* Moves what is needed of packs to be rewritten, about ${bytes} of it at a time (but whole packs),
 * until all is done. */
int cs_prune_move(struct cs_prune *p, uint64_t bytes, struct cs_error *err);

/* ---- prune_index.c ---- */

/* Puts one segment in the place of those that are small or have many entries of dead packs. */
int cs_prune_segments(struct cs_prune *p, struct cs_error *err);

#endif
