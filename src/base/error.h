/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_ERROR_H
#define BYRE_BASE_ERROR_H

/*
 * One error of one call: a code, the errno behind it where there was one, and
 * one message in lower case that names the object and the offset.
 */

enum error_code {
    ERROR_NOT_FOUND = -1,   /* the named thing does not exist */
    ERROR_CORRUPT = -2,     /* it exists and is not what it claims to be */
    ERROR_AUTH = -3,        /* a wrong key, or a role that may not do this */
    ERROR_IN_USE = -4,      /* somebody is writing to it */
    ERROR_UNSUPPORTED = -5, /* valid, but nothing that this version handles */
    ERROR_NO_SPACE = -6,
    ERROR_IO = -7,
    ERROR_NO_MEMORY = -8,
    ERROR_USAGE = -9,        /* the caller asked for something that makes no sense */
    ERROR_EXISTS = -10,      /* it must not exist and does */
    ERROR_INTERRUPTED = -11, /* stopped by a signal */
    ERROR_CHANGED = -12,     /* it changed while it was read */
    ERROR_CONFLICT = -13, /* others have changed the repository meanwhile; beginning anew helps */
};

struct error {
    int code; /* enum error_code; 0: none */
    int sys;  /* errno, or 0 */
    char message[1536];
};

/* Sets ${err} (may be NULL) to ${code} with the formatted message. Returns ${code}. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Like error_set, for a system call that failed with errno ${sys}: appends
 * ": " and its description, and chooses the code by it (ENOENT: not found,
 * ENOSPC and EDQUOT: no space, ENOMEM: no memory, EEXIST: exists, else I/O).
 */
int error_sys(struct error *err, int sys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets ${err} to "out of memory". Returns ERROR_NO_MEMORY. */
int error_no_memory(struct error *err);

/* Puts the formatted text and ": " before the message of ${err}. Returns the code of ${err}. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds ${text} to the message of ${err}, as far as there is room. */
void error_add(struct error *err, const char *text);

#ifdef __clang_analyzer__
/* It reads one file at a time, and would take "failed, and returned 0" for possible. */
#define error_set(err, code, ...) ((error_set)(err, code, __VA_ARGS__), (int)(code))
#define error_sys(err, ...)       ((error_sys)(err, __VA_ARGS__), (int)ERROR_IO)
#define error_no_memory(err)      ((error_no_memory)(err), (int)ERROR_NO_MEMORY)
#endif

#endif
