/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_BACKING_NAME_H
#define BYRE_QCOW2_BACKING_NAME_H

#include <stdbool.h>

#include "base/error.h"

/* What an overlay's header says about its backing file, as QEMU reads it. Nothing here looks at a
 * file system. */

enum backing_format { BACKING_PROBED, BACKING_RAW, BACKING_QCOW2 };

struct backing_name {
    char *path;             /* a plain path; owned */
    bool in_working_folder; /* a relative one counts from there, not from the overlay's folder */
    enum backing_format format;
};

/*
 * Parses ${name}, not empty, and ${format}, the backing format of the header ("" for none):
 * - a plain path; one that has a colon before the first slash is none;
 * - "file:PATH" and "host_device:PATH": what follows is taken as it is;
 * - "json:OBJECT", nested or with dotted keys, in QEMU's dialect with strings in single quotes,
 * too: a driver (qcow2 or raw), a file with a filename, taken as it is, and a driver (file or
 *   host_device), and how they are cached and locked. Any other key may change the disk.
 * The format is the header's; where that has none, the JSON's; else it has to be found by looking.
 * Anything else is ERROR_UNSUPPORTED, with the name, the key, and the way out. ${b} is filled on
 * success only, and then to be cleared.
 */
int backing_name_parse(struct backing_name *b, const char *name, const char *format,
                       struct error *err);

void backing_name_clear(struct backing_name *b);

#endif
