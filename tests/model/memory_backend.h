/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MODEL_MEMORY_BACKEND_H
#define MODEL_MEMORY_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The repository of the model: names and bytes in memory, the same for all stores of the process.
 * Files are immutable, so that keeping and putting back the whole of it costs little. */

enum { MEMORY_NAME = 64 };

struct blob;

struct memory_file {
    char name[MEMORY_NAME];
    struct blob *blob;
    int64_t written; /* Unix seconds */
};

struct memory {
    struct memory_file *files; /* ascending by name */
    size_t count;
    uint64_t digest; /* equal where the files are */
};

extern struct memory memory;

/* What is asked of the backend by a call that may matter to others. */
enum call_kind { CALL_READ, CALL_SIZE, CALL_MODIFIED, CALL_LIST, CALL_FINISH, CALL_REMOVE };

struct call {
    enum call_kind kind;
    const char *name;
    uint64_t offset;         /* of a read, as is */
    size_t len;              /* this */
    const struct blob *blob; /* of a finish */
};

/* What the caller is told of it. */
enum told {
    TOLD_TRUE,
    TOLD_LOST,   /* it was done, and the reply was lost: CS_IO */
    TOLD_TAKEN,  /* it was done twice, and the second reply came: CS_EXISTS */
    TOLD_FULL,   /* it was done, and flushing the folder found the disk full: CS_NO_SPACE */
    TOLD_FAILED, /* it was not done: CS_IO */
    TOLDS,
};

/* Called before each call that reads or changes files; answers what is to be told. */
extern enum told (*memory_hook)(const struct call *call);

/* A digest of the answer that ${call} would get now; sets ${*after} to the memory's then. */
uint64_t memory_foretell(const struct call *call, enum told told, uint64_t *after);

bool memory_has(const char *name);
void memory_put(const char *name, const void *data, size_t len);
void memory_delete(const char *name);

/* A copy of all, and back again; to be cleared. */
void memory_keep(struct memory *copy);
void memory_put_back(struct memory *copy);
void memory_clear(struct memory *m);

int64_t memory_now(void); /* the clock of all */
void memory_pass_time(int64_t seconds);

/* create lets the file take the place of another: what a storage without "if absent" does. */
extern bool memory_overwrites;

uint64_t memory_mix(uint64_t a, uint64_t b);

#endif
