/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_TESTS_QCOW2_FIXTURE_H
#define BYRE_TESTS_QCOW2_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qcow2/image.h"

/* What the qcow2 tests share: a folder of their own as the working directory, QEMU's tools, and
 * files as byte arrays. Everything fails the running test where it cannot do its work. */

/* Group setup and teardown: makes a new folder and enters it; leaves and removes it. */
int fixture_enter(void **state);
int fixture_leave(void **state);

/* Runs a shell command, which must succeed; its output is shown only where it does not. */
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What the shell command (which must succeed) prints; given to the caller. */
char *output_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* All of the file ${name}; ${*len} (may be NULL) is its size. Given to the caller. */
uint8_t *slurp(const char *name, size_t *len);

/* Makes the file ${name} hold ${len} bytes. */
void spill(const char *name, const void *buf, size_t len);

/* Overwrites ${len} bytes at ${offset}. */
void poke(const char *name, uint64_t offset, const void *buf, size_t len);
void poke32(const char *name, uint64_t offset, uint32_t value); /* big-endian */
void poke64(const char *name, uint64_t offset, uint64_t value);
uint64_t peek64(const char *name, uint64_t offset);

/* ${len} bytes that do not compress, the same for the same ${seed}. */
void fill_random(uint8_t *buf, size_t len, uint64_t seed);

/* Opens the file ${name} as a qcow2 image; returns what qcow2_image_open does. */
int try_image(struct qcow2_image **image, const char *name, int *fd, struct error *err);
struct qcow2_image *open_image(const char *name, int *fd); /* which must succeed */
void close_image(struct qcow2_image *image, int fd);

/* That opening the file ${name} with ${options} (may be NULL) gives ${code}, and, where it fails, a
 * message with ${name} and ${text} in it. */
void expect_open(const char *name, const struct qcow2_open_options *options, int code,
                 const char *text);

/* All clusters of the disk: entries and bytes, each given to the caller. Returns their number. */
size_t read_everything(struct qcow2_image *image, struct qcow2_entry **entries, uint8_t **bytes);
size_t read_view(struct qcow2_image *image, struct qcow2_view *view, struct qcow2_entry **entries,
                 uint8_t **bytes);

#endif
