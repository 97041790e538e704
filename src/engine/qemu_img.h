/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_QEMU_IMG_H
#define BYRE_ENGINE_QEMU_IMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What byre has qemu-img do. The one change to an image: it adds and removes
 * persistent bitmaps, and takes QEMU's write lock for that, so that nobody who
 * has the image open, byre included, is disturbed. And it judges restored images,
 * and writes those whose formats byre does not know.
 *
 * ${path} is a name as open() takes it, whatever characters it has. ${cancel} (may be NULL) becomes
 * non-zero to stop. ERROR_NOT_FOUND: there is no qemu-img; ERROR_IN_USE: somebody has the image
 * open; ERROR_INTERRUPTED; ERROR_NO_SPACE; for the rest ERROR_IO with what qemu-img said.
 */

/* Whether there is one. */
int qemu_img_require(const volatile int *cancel, struct error *err);

/* A persistent, enabled bitmap ${name} with a bit for every ${granularity} bytes, a power of two.
 */
int qemu_img_bitmap_add(const char *path, const char *name, uint64_t granularity,
                        const volatile int *cancel, struct error *err);

int qemu_img_bitmap_remove(const char *path, const char *name, const volatile int *cancel,
                           struct error *err);

enum { QEMU_IMG_MESSAGE = 512 }; /* bytes, with the final zero byte */

enum qemu_img_verdict { QEMU_IMG_CLEAN, QEMU_IMG_LEAKS, QEMU_IMG_ERRORS };

/*
 * What `qemu-img check` says of the qcow2 file ${path}, an absolute name, without its backing file
 * and run in its folder, from where QEMU finds a data file; ${message}: the first of it where it is
 * not clean, else "". One that cannot be opened has errors.
 */
int qemu_img_check(const char *path, const volatile int *cancel, enum qemu_img_verdict *verdict,
                   char message[QEMU_IMG_MESSAGE], struct error *err);

/* The same for whether each file of the chain of the qcow2 file ${path} opens. */
int qemu_img_check_chain(const char *path, const volatile int *cancel,
                         enum qemu_img_verdict *verdict, char message[QEMU_IMG_MESSAGE],
                         struct error *err);

/* A disk in a file, in a format of QEMU's: ${name} is a plain file name in ${folder}. */
struct qemu_img_file {
    const char *folder;
    const char *name;
    const char *format;
};

/* Makes an empty disk of ${size} bytes; ${options} as -o takes them, or NULL. A file that is cut
 * short is left behind by what fails. */
int qemu_img_create(const struct qemu_img_file *file, const char *options, uint64_t size,
                    const volatile int *cancel, struct error *err);

/* The size that a guest sees, bytes. */
int qemu_img_size(const struct qemu_img_file *file, const volatile int *cancel, uint64_t *size,
                  struct error *err);

/* Writes all of ${from} to ${to}, which is in the same folder, has the same size, and is empty.
 * ${tick} is called with ${arg} many times a second while that goes on. */
int qemu_img_fill(const struct qemu_img_file *to, const struct qemu_img_file *from,
                  const volatile int *cancel, void (*tick)(void *arg), void *arg,
                  struct error *err);

/* Whether a guest sees the same in two files of one folder; ${message}: where it does not, else "".
 */
int qemu_img_compare(const struct qemu_img_file *a, const struct qemu_img_file *b,
                     const volatile int *cancel, bool *same, char message[QEMU_IMG_MESSAGE],
                     struct error *err);

#endif
