/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_INPUT_FORMAT_H
#define BYRE_ENGINE_INPUT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Formats of image files that QEMU reads for byre, by QEMU's names: vmdk, vpc,
 * vhdx, vdi and qcow (version 1). What a file is, is told by whoever names it,
 * never by its bytes alone, which may be those of a guest.
 */

/* Whether ${name} is one of them; ERROR_USAGE unless it is, or raw or qcow2. */
int input_format_check(const char *name, bool *is_other, struct error *err);

/* Sets ${*format} to the one that the name ${path} tells by its suffix; NULL: none. A file *.qcow
 * is of version 1 only where its header says so. */
int input_format_by_name(const char *path, const char **format, struct error *err);

/* What of a file its guest does not see. */
struct input_facts {
    char **files; /* absolute paths of all files that it consists of, itself perhaps among them */
    size_t file_count;
    size_t chain; /* images below it */
};

/*
 * Has qemu-img tell whether ${path}, an absolute name, is of ${format}, and of what it consists.
 * ERROR_UNSUPPORTED: encrypted, differencing without its parent being known, or with a backing file
 * whose format nobody tells; ERROR_IN_USE: somebody writes to a part of it; ERROR_NOT_FOUND also
 * where there is no qemu-img. To be cleared, also on failure.
 */
int input_format_inspect(struct input_facts *facts, const char *path, const char *format,
                         const volatile int *cancel, struct error *err);
void input_facts_clear(struct input_facts *facts);

#endif
