/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_OPEN_FILES_H
#define CS_OPEN_FILES_H

#include <pthread.h>

#include "chunkstore.h"

/* Files that stay open for reading, for packs are read frame by frame. Safe from any thread. */

enum { CS_OPEN_FILES = 16, CS_OPEN_NAME = 64 };

struct cs_open_file {
    char name[CS_OPEN_NAME]; /* empty: nobody is to find it any more */
    int fd;                  /* -1: none */
    unsigned users;          /* that are reading */
    uint64_t used;
};

struct cs_open_files {
    pthread_mutex_t mutex;
    struct cs_open_file files[CS_OPEN_FILES];
    uint64_t clock;
};

void cs_open_files_init(struct cs_open_files *files);
void cs_open_files_clear(struct cs_open_files *files);

/* Lends the regular file ${name}, below the folder ${root}, which is called ${path}: sets ${*fd},
 * and ${*file}, which is to be put back with it. */
int cs_open_files_get(struct cs_open_files *files, int root, const char *path, const char *name,
                      struct cs_open_file **file, int *fd, struct cs_error *err);
void cs_open_files_put(struct cs_open_files *files, struct cs_open_file *file, int fd);

/* The name is another file's from now on, or nobody's. */
void cs_open_files_forget(struct cs_open_files *files, const char *name);

#endif
