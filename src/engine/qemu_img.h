/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_QEMU_IMG_H
#define BYRE_ENGINE_QEMU_IMG_H

#include <stdint.h>

#include "base/error.h"

/*
 * The one thing that byre has others do to an image: qemu-img adds and removes
 * persistent bitmaps. It takes QEMU's write lock for that, so that nobody who
 * has the image open, byre included, is disturbed.
 *
 * ${path} is a name as open() takes it, whatever characters it has. ${cancel} (may be NULL) becomes
 * non-zero to stop. ERROR_NOT_FOUND: there is no qemu-img; ERROR_IN_USE: somebody has the image
 * open; ERROR_INTERRUPTED; for the rest ERROR_IO with what qemu-img said.
 */

/* A persistent, enabled bitmap ${name} with a bit for every ${granularity} bytes, a power of two.
 */
int qemu_img_bitmap_add(const char *path, const char *name, uint64_t granularity,
                        const volatile int *cancel, struct error *err);

int qemu_img_bitmap_remove(const char *path, const char *name, const volatile int *cancel,
                           struct error *err);

#endif
