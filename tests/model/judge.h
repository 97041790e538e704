/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MODEL_JUDGE_H
#define MODEL_JUDGE_H

#include "chunkstore.h"

/*
 * Archives of the model, what of them has been promised, and the judge who
 * holds the repository against that. An object is a number: below 100 a small
 * chunk, from 100 on metadata of more than half a frame, so that packs have
 * several frames; from RECORDS on the record of an archive.
 */

enum { RECORDS = 200, OBJECTS = 8, ARCHIVES = 16, NUMBERS = RECORDS + ARCHIVES };

enum promise { PROMISED_NOTHING, PROMISED_GONE, PROMISED_THERE };

struct model_archive {
    enum promise promise;
    bool begun;                /* its commit; before that it cannot be there */
    unsigned objects[OBJECTS]; /* that it needs beside its record; 0 ends them */
};

/* The number of an archive is that of its record, without RECORDS. */
extern struct model_archive judge_archives[ARCHIVES];

/* After everything that is wrong is told by walk_fail: a repository that nobody writes to now, as
 * if all who did had been killed, and then one that a prune was let loose on. */
void judge_memory(void);
uint64_t judge_expected(void); /* digest of the promises */

/* Key ${key} of the repository opens it. */
int judge_open(struct cs_store **store, unsigned key, struct cs_error *err);
int judge_write(struct cs_writer *writer, unsigned object, struct cs_error *err);
const struct cs_id *judge_id(const struct cs_store *store, unsigned object);
/* Reads the archive, and fails the walk where its bytes are others. */
int judge_read_archive(struct cs_store *store, unsigned archive, struct cs_error *err);
/* Fails the walk where something is wrong with it. */
int judge_check(struct cs_store *store, const char *when, struct cs_error *err);
int judge_prune(struct cs_store *store, bool no_grace, struct cs_error *err);

#endif
