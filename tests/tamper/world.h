/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TAMPER_WORLD_H
#define TAMPER_WORLD_H

#include "cs_fixture.h"

/*
 * A small repository that has some of everything, others that its files may be mixed up with, and
 * what is to come out of each archive. Every failure ends the test.
 */

enum { WORLD_NAME = 128, WORLD_ARCHIVES = 8 };

struct stored { /* a file of a repository */
    char name[WORLD_NAME];
    uint8_t *data;
    size_t len;
};

struct copy { /* all files of a repository as they were at a time, in the order of their names */
    const char *what;
    struct stored *files;
    size_t count;
};

struct known { /* an archive that somebody has made */
    struct cs_id id;
    char folder[64]; /* what a restore of it gives */
};

struct world {
    struct repo *repo; /* the one to be tampered with; the working directory is its folder */
    struct copy now;   /* as it is */
    struct copy older; /* as it was once, with one archive and without a checkpoint */
    struct copy fork;  /* what another host made of the older one */
    struct copy other; /* another repository, opened by the same key file */
    struct known known[WORLD_ARCHIVES];
    size_t known_count;
    char *list;              /* list_archives of the one as it is */
    char head[FIXTURE_PATH]; /* the file that has the head of its log, as last seen from here */
    uint8_t *seen;           /* what that file says */
    size_t seen_len;
};

struct world *world_new(void);
void world_free(struct world *world);

/* The archives of a store as text, with all that its log says of them. To be freed. */
char *list_archives(const struct cs_store *store);

/* Index of the file ${name}, or the count where there is none. */
size_t copy_find(const struct copy *copy, const char *name);

/* Makes the repository what ${copy} is, but for what lies in tmp/. */
void copy_put_back(const struct repo *repo, const struct copy *copy);

#endif
