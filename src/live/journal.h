/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_JOURNAL_H
#define BYRE_LIVE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * What byre was doing to a running machine, told before it is done, so that
 * whoever comes later knows what may be there and whose bytes are right. One
 * file a machine, replaced as a whole; a lock beside it is held while byre runs.
 */

enum journal_kind { JOURNAL_QMP, JOURNAL_LIBVIRT };

enum journal_phase {                    /* of the whole */
                     JOURNAL_PREPARING, /* overlays are made; the machine does not write to them */
                     JOURNAL_FREEZING,  /* the guest's file systems may be frozen */
                     JOURNAL_SWITCHING, /* the machine may be writing to the overlays, or not yet */
                     JOURNAL_FROZEN,    /* it does; the backup goes on */
                     JOURNAL_ARCHIVED,  /* it does; the archive is committed */
                     JOURNAL_FAILED,    /* it does; there is no archive */
                     JOURNAL_COMMITTING, /* disk by disk, back to the bases */
};

enum journal_step { /* of a disk; from SWITCHED and until COMPLETE the overlay is right */
                    JOURNAL_PLANNED,  /* nothing is there yet, or an empty overlay that nobody uses
                                       */
                    JOURNAL_CREATED,  /* the overlay is there, and empty; the machine may know it */
                    JOURNAL_SWITCHED, /* the machine writes to it */
                    JOURNAL_DISK_COMMITS, /* its bytes are being written to the base */
                    JOURNAL_COMPLETE, /* the base has them all, and is right; the overlay is to be
                                         removed */
                    JOURNAL_REMOVED,  /* nothing is left of it */
};

/* A base as it was once the machine had left it: whoever writes to it changes that. */
struct journal_stat {
    bool known;
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t seconds; /* mtime */
    uint32_t nanoseconds;
};

enum journal_mode {
    JOURNAL_OVERLAY, /* frozen: its base is read */
    JOURNAL_CONTENT, /* read through the machine; fleece.h */
};

struct journal_disk { /* strings are owned, NULL where there is nothing */
    enum journal_mode mode;
    char *node;    /* what is frozen: a node's name, or libvirt's target */
    char *device;  /* what people call it */
    char *format;  /* qcow2 or raw; of content, any */
    char *base;    /* absolute; of content, NULL */
    char *overlay; /* absolute; of content, the scratch file */
    char *overlay_node;
    char *bitmap;      /* the one added to the base; NULL: it has none */
    char *old_bitmaps; /* of content: earlier ones that were disabled, with spaces between */
    bool bitmap_stays; /* of content: it lasts longer than the machine */
    char *key_file;    /* of an encrypted overlay */
    bool encrypted;    /* the base is */
    uint64_t size;     /* of the disk, in bytes */
    struct journal_stat stat;
    enum journal_step step;
    bool undecided; /* not part of it: nobody but people may say whose bytes are right */
};

struct journal {
    enum journal_kind kind;
    char *socket; /* qmp: absolute */
    char *uri;    /* libvirt */
    char *uuid;   /* libvirt: of the domain */
    char *name;   /* the machine's, for people; may be NULL */
    char *agent;  /* the guest agent's socket, once it is used; NULL: none, or libvirt's own way */
    char boot_id[40];
    pid_t machine; /* its process, and since when by /proc/PID/stat; 0: not known */
    uint64_t machine_since;
    int64_t started; /* seconds since 1970 */
    pid_t byre;
    enum journal_phase phase;
    struct journal_disk *disks;
    size_t disk_count;
    /* where it is; not part of it */
    char *folder; /* STATE/live */
    char *path;
    int lock;    /* -1: not held */
    bool stored; /* there is such a file */
};

const char *journal_phase_name(enum journal_phase phase);
const char *journal_step_name(enum journal_step step);

/* Pure. ${*text}, for the caller to free. */
int journal_encode(const struct journal *journal, char **text, struct error *err);

/* Pure; trusts nothing: ERROR_CORRUPT, and nothing is to be done by it. ${journal}, zeroed, is to
 * be cleared also then. ${what} names it in messages. */
int journal_decode(struct journal *journal, const char *what, const char *text, size_t len,
                   struct error *err);

/*
 * Takes the lock of the machine that ${identity} tells (socket, or uri and uuid), making the folder
 * below ${state_dir}, and reads what is there: ${journal}->stored says whether anything was. Fills
 * ${journal}, zeroed; it is to be closed also on failure. ERROR_IN_USE names the process that has
 * it.
 */
int journal_open(struct journal *journal, const char *state_dir, const char *identity,
                 struct error *err);

/* Makes what is told by ${journal} durable, in the place of what was there. */
int journal_save(struct journal *journal, struct error *err);

/* It is over: the file goes. */
int journal_remove(struct journal *journal, struct error *err);

/* Releases lock and memory; the file stays as it is. */
void journal_close(struct journal *journal);

/* A fresh absolute path for the key of overlay ${i}. */
char *journal_key_path(const struct journal *journal, size_t i);

/* The absolute path of the folder that side files are written to; for the caller to free. */
char *journal_side_folder(const struct journal *journal);

/* Calls ${each} with every journal below ${state_dir} and whether its lock is held by somebody; one
 * that cannot be read comes as NULL with ${why}. With ${lock}, each is locked while ${each} has it,
 * and ${running} tells those that cannot be. Read only, but for the lock. No folder: no journals.
 */
int journal_each(const char *state_dir, bool lock,
                 int (*each)(void *arg, const char *path, struct journal *journal, bool running,
                             const struct error *why, struct error *err),
                 void *arg, struct error *err);

/* Frees what it tells; where it is stays. */
void journal_clear(struct journal *journal);

/* Adds a disk, zeroed, at the end. NULL: no memory. */
struct journal_disk *journal_add_disk(struct journal *journal);

/* Whether ${path} is now what ${stat} says. A base that is not there is not the same. */
bool journal_is_same(const struct journal_stat *stat, const char *path);
/* Whether it is that file, whatever was written to it. */
bool journal_is_same_file(const struct journal_stat *stat, const char *path);
int journal_take_stat(struct journal_stat *stat, const char *path, struct error *err);

/* This machine's boot, and since when process ${pid} runs; 0 where it does not. */
void journal_boot_id(char boot_id[40]);
uint64_t journal_process_since(pid_t pid);

#endif
