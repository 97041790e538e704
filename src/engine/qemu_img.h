/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_QEMU_IMG_H
#define BYRE_ENGINE_QEMU_IMG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What byre has qemu-img do. The one change to an image: it adds and removes
 * persistent bitmaps, and takes QEMU's write lock for that, so that nobody who
 * has the image open, byre included, is disturbed. And it judges restored images.
 *
 * ${path} is a name as open() takes it, whatever characters it has. ${cancel} (may be NULL) becomes
 * non-zero to stop. ERROR_NOT_FOUND: there is no qemu-img; ERROR_IN_USE: somebody has the image
 * open; ERROR_INTERRUPTED; for the rest ERROR_IO with what qemu-img said.
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

#endif
