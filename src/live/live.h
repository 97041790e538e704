/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_LIVE_H
#define BYRE_LIVE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Holds the disks of a running machine still, so that they can be read as files:
 * the machine writes to temporary overlays meanwhile. Knows machines, and no
 * repository. Prints nothing. For one thread.
 */

struct live_listener { /* every member may be NULL */
    void (*warning)(void *arg, const char *message);
    void (*note)(void *arg, const char *message);
    void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total); /* bytes */
    /* From another thread: the machine is in danger, so what the caller does between live_freeze
     * and live_finish has to end. */
    void (*stop)(void *arg);
    void *arg;
    const volatile int *cancel; /* becomes non-zero to stop: ERROR_INTERRUPTED */
};

struct live_options {
    const char *qmp;     /* a socket; or */
    const char *domain;  /* libvirt's name, */
    const char *connect; /* and its URI, or NULL */
    const char *const
        *disks; /* node, device or file names; none, or "all": every disk that can be */
    size_t disk_count;
    bool quiesce;
    const char *agent;       /* its socket; NULL: it is looked for */
    const char *overlay_dir; /* NULL: beside each image */
    bool content;            /* disks that cannot be frozen are read through the machine */
    const char *scratch_dir; /* for what it overwrites meanwhile; NULL: TMPDIR */
    const char *state_dir;
    const char *bitmap;   /* the name for this run's; NULL: none */
    size_t bitmap_prefix; /* of its bytes: those of older ones, which go after success */
    struct live_listener listener;
};

struct live;

/*
 * Freezes. What an earlier backup of the machine has left is put right first. When it returns 0 the
 * machine writes to overlays, and live_finish is to be called whatever comes. On failure nothing is
 * left, or ${err} says what is. ERROR_NOT_FOUND: nobody answers there; ERROR_IN_USE: somebody has
 * the monitor, or backs the machine up; ERROR_UNSUPPORTED: a disk cannot be frozen.
 */
int live_freeze(struct live **out, const struct live_options *options, struct error *err);

/* Lent until live_finish. */
size_t live_image_count(const struct live *live);
const char *const *live_images(const struct live *live); /* bases; URIs of content */
/* Of content: names that are the same each time, and this run's bitmap of each; else NULL. */
const char *const *live_recorded_as(const struct live *live);
const char *const *live_bitmap_names(const struct live *live);
bool live_is_off(const struct live *live); /* shut off: its disks are files like others, and there
                                              is no bitmap nor anything to cancel for */
const char *live_name(const struct live *live); /* the machine's; NULL: it has none */
const char *const *live_side_files(const struct live *live, size_t *count);
bool live_has_bitmaps(const struct live *live); /* all that can have one have this run's */

/* When all was read: whether the machine has kept what it should have, up to now. ERROR_CHANGED. */
int live_confirm(struct live *live, struct error *err);

struct live_result {
    bool partial;           /* something asked for is missing, and was said */
    bool left;              /* an overlay stays in use: byre live status */
    double pause_seconds;   /* the guest's writes waited, or its file systems were frozen */
    uint64_t overlay_bytes; /* that the overlays had */
    size_t disks;
    uint64_t bitmaps_obsolete; /* that stay */
    char trouble[512];         /* why the backup was cancelled from here, or "" */
};

/* Has the machine go on with its disks as before, and removes all that was made. ${archived}: there
 * is an archive. Always frees ${live}. On failure the journal stays, result->left is true. */
int live_finish(struct live *live, bool archived, struct live_result *result, struct error *err);

/* ---- what broken backups left ---- */

struct live_report_disk {
    const char *device;
    const char *base;
    const char *overlay;
    const char *state;           /* what is true now, in words */
    const char *const *commands; /* what a person would type, one after the other */
    size_t command_count;
};

struct live_report {
    const char *journal; /* its file */
    const char *problem; /* it cannot be read, or what stands in the way; NULL: nothing */
    const char *machine;
    const char *phase;
    int64_t started;   /* seconds since 1970 */
    int64_t byre;      /* process */
    bool running;      /* that byre still is at work */
    bool alive;        /* the machine answers */
    bool guest_frozen; /* file systems, perhaps */
    const struct live_report_disk *disks;
    size_t disk_count;
    const char *last_command; /* what a person would type in the end, all disks being right */
};

/* Reads only. ${each} is called for each journal; all is lent. ${*broken}: how many are. */
int live_status(const char *state_dir, void (*each)(void *arg, const struct live_report *report),
                void *arg, size_t *broken, struct error *err);

struct live_recover_options {
    const char *state_dir;
    const char *secret_file; /* of encrypted disks, NULL: none */
    bool discard_overlay; /* where base and overlay have both been written to: the base is right */
    struct live_listener listener;
};

/* Puts right what can be; ${*failed}: what could not, each told as a warning; ${*done}. */
int live_recover(const struct live_recover_options *options, size_t *done, size_t *failed,
                 struct error *err);

/* Whether ${path} is an overlay of a live backup: by its name, or a journal of ${state_dir}. */
bool live_is_overlay(const char *state_dir, const char *path);

/* Whether a journal of ${state_dir} tells that newer writes than ${path} has may be in an overlay,
 * wherever that lies. */
bool live_is_base(const char *state_dir, const char *path);

#define LIVE_OVERLAY_SUFFIX ".byre-live"

#endif
