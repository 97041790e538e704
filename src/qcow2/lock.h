/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_QCOW2_LOCK_H
#define BYRE_QCOW2_LOCK_H

#include <stdbool.h>

#include "base/error.h"

/*
 * QEMU's image locks: OFD locks on single bytes, 100+i for "I use permission
 * i", 200+i for "I do not share permission i" (file-posix.c of QEMU). byre also
 * holds byte 299, by which it knows its own kind.
 */

/*
 * Takes the locks of a reader that allows no writer on ${fd}: read locks on bytes 100, 201, 203 and
 * 299; then probes for writers (101, 103, 200, and a whole-file probe for other tools' exclusive
 * locks). ERROR_IN_USE names ${name}. The locks go with the descriptor. ${*used_as_base}
 * (may be NULL) tells whether somebody who is not byre holds reader's locks (byte 100 or 201);
 * while another byre reads the file, too, that cannot be told, and is false.
 */
int lock_for_reading(int fd, const char *name, bool *used_as_base, struct error *err);

/* ERROR_IN_USE where anybody at all, reader or writer, has the file open as QEMU does. For a
 * target about to be replaced or overwritten. */
int lock_probe_unused(int fd, const char *name, struct error *err);

/* ERROR_IN_USE where a process has the block device ${name} (open as ${fd}) open for writing, as
 * seen in /proc (PID/fdinfo), or where this process may not look at all of them. */
int lock_probe_device(int fd, const char *name, struct error *err);

#endif
