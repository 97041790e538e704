/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_DRILL_H
#define BYRE_ENGINE_DRILL_H

#include "engine/engine.h"

/* A restore for practice, and what came of it. */

struct engine_drill_options {
    const char *folder;  /* below it the images are restored to a folder of their own */
    const char *command; /* NULL, or what /bin/sh is to run there; it has the folder's path in
                            BYRE_DRILL_DIR, the archive's id in BYRE_DRILL_ARCHIVE and the paths of
                            the images in BYRE_DRILL_IMAGES, one a line, and none else of byre's
                            variables; it is done when it ends, and what it says goes to stderr */
    void (*before_command)(void *arg); /* NULL, or called before it runs; listener.arg */
    bool keep;                         /* leave the folder */
    struct engine_listener listener;
};

enum engine_drill_verdict {
    ENGINE_DRILL_READ,   /* all that is known: what was written reads back as it is stored */
    ENGINE_DRILL_CLEAN,  /* qemu-img has nothing to say */
    ENGINE_DRILL_LEAKS,  /* or only that clusters are lost */
    ENGINE_DRILL_FAILED, /* it has found errors, or could not open it */
};

struct engine_drill_file {
    char *path;            /* below the folder */
    char layer[CS_ID_HEX]; /* "" for a side file */
    bool is_qcow2;
    bool encrypted; /* and so not for qemu-img to check, which has no key */
    enum engine_drill_verdict check;
    char *message; /* what qemu-img said; NULL where it is clean or was not asked */
    uint64_t bytes_written;
};

struct engine_drill_image {
    char *name;
    char *path;                      /* of its top, below the folder */
    size_t layer_count;              /* as restored */
    bool complete;                   /* else its backing file is not part of the archive */
    enum engine_drill_verdict chain; /* READ: raw, or not complete */
    char *message;
};

struct engine_drill_result {
    char *folder; /* absolute; gone unless it was to be kept */
    struct engine_drill_file *files;
    size_t file_count;
    struct engine_drill_image *images;
    size_t image_count;
    size_t failures;  /* of all checks, and of the command */
    bool command_ran; /* it does not where a check failed */
    int command_code; /* exit status, or 128 and the number of the signal that ended it */
    uint64_t bytes_written;
};

/*
 * Restores the archive, reads back what was written, has qemu-img check each qcow2 file and open
 * each chain, runs the command, and removes all of it. 0 also where there are failures.
 * ERROR_NO_SPACE, before anything is written, where there is less room than they take at
 * least; ERROR_NOT_FOUND where qemu-img is wanted and not there. What is left of the folder after
 * that is warned of. The result is to be cleared, also on failure.
 */
int engine_drill(struct cs_store *store, const struct cs_archive *archive,
                 const struct engine_drill_options *options, struct engine_drill_result *result,
                 struct error *err);
void engine_drill_result_clear(struct engine_drill_result *result);

#endif
