/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_ORIGIN_H
#define BYRE_ENGINE_BACKUP_ORIGIN_H

#include <stdint.h>

#include "engine/record.h"

/* For a backup of files that stand for others, as an import's do: what its records say instead. */

enum backup_kind { BACKUP_QCOW2, BACKUP_RAW, BACKUP_DATA_FILE };

struct backup_origin {
    const char *folder; /* resolved; a layer that is not below it is not opened */
    const char *host;
    const char *time; /* RFC 3339, UTC; */
    int64_t seconds;  /* the same, since 1970 */
    /* Gives ${file}, which has its strings, those of the one that it stands for. */
    int (*file)(void *arg, enum backup_kind kind, struct record_file *file, struct error *err);
    uint32_t (*side_file_mode)(void *arg, const char *name);
    /* Called before the commit, after all files. */
    int (*complete)(void *arg, struct error *err);
    void *arg;
};

#endif
