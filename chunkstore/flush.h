/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_FLUSH_H
#define CS_FLUSH_H

#include <pthread.h>
#include <stdbool.h>

/* The flush of one file, which may go on beside whoever began it. All zeroes: none was begun. */
struct cs_flush {
    pthread_t thread;
    bool begun;
    bool beside; /* in the thread */
    int fd;
    int sys; /* errno, or 0 */
};

/* Begins to flush ${fd}, which stays open until the end. With ${beside} in a thread, where one can
 * be had; else it is done on return. */
void cs_flush_begin(struct cs_flush *flush, int fd, bool beside);

/* Waits for it; the errno that it failed with, or 0. Once for each that was begun. */
int cs_flush_end(struct cs_flush *flush);

#endif
