/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_BACKEND_H
#define CS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"
#include "throttle.h"

/*
 * Where files of a repository lie. Names are relative, with `/`. A file appears
 * under its name only complete and flushed, and durably so once its folder
 * has been synced. For one thread, but for reading: any may do that, beside
 * whatever the one does.
 */

struct cs_backend;
struct cs_put; /* a file being written */

struct cs_backend_ops {
    /* Up to ${len} bytes at ${offset}; fewer only at the end. CS_NOT_FOUND. */
    int (*read)(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                size_t len, size_t *got, struct cs_error *err);
    int (*size)(struct cs_backend *backend, const char *name, uint64_t *size, struct cs_error *err);
    int (*create)(struct cs_backend *backend, const char *name, struct cs_put **put,
                  struct cs_error *err);
    int (*write)(struct cs_put *put, const void *data, size_t len, struct cs_error *err);
    /* Flushes the file and lets it appear; CS_EXISTS where the name is taken, unless ${replace}.
     * Frees ${put}. */
    int (*finish)(struct cs_put *put, bool replace, struct cs_error *err);
    void (*abandon)(struct cs_put *put); /* frees ${put}; nothing remains */
    int (*sync)(struct cs_backend *backend, const char *folder, struct cs_error *err);
    /* Calls ${visit} for each plain name in ${folder}, in no order; an absent folder is empty. */
    int (*list)(struct cs_backend *backend, const char *folder,
                int (*visit)(void *arg, const char *name, struct cs_error *err), void *arg,
                struct cs_error *err);
    int (*remove)(struct cs_backend *backend, const char *name, struct cs_error *err);
    /* When the file was last written, Unix seconds by the clock of the storage. */
    int (*modified)(struct cs_backend *backend, const char *name, int64_t *seconds,
                    struct cs_error *err);
    void (*close)(struct cs_backend *backend);
};

struct cs_backend {
    const struct cs_backend_ops *ops;
    struct cs_throttle throttle; /* of what cs_backend_write writes */
    const volatile int *cancel;  /* NULL, or: non-zero ends its waiting */
};

/* The folder ${path}. With ${create}, it and the folders of a repository are made. */
int cs_backend_local(struct cs_backend **backend, const char *path, bool create,
                     struct cs_error *err);

/* Bytes free for this user where the local backend lies. */
int cs_backend_local_free(const char *path, uint64_t *bytes, struct cs_error *err);

/* A whole file of at most ${max} bytes into fresh memory. A larger one is CS_CORRUPT. */
int cs_backend_read_all(struct cs_backend *backend, const char *name, size_t max, uint8_t **data,
                        size_t *len, struct cs_error *err);

/* Exactly ${len} bytes at ${offset}; a shorter file is CS_CORRUPT. */
int cs_backend_read_exact(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                          size_t len, struct cs_error *err);

/* ${ops->write}, no faster than the throttle lets through. All writing of contents goes here. */
int cs_backend_write(struct cs_backend *backend, struct cs_put *put, const void *data, size_t len,
                     struct cs_error *err);

/* A whole file, durable but for its folder. */
int cs_backend_put(struct cs_backend *backend, const char *name, const void *data, size_t len,
                   bool replace, struct cs_error *err);

#endif
