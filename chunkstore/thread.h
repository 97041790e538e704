/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_THREAD_H
#define CS_THREAD_H

#include <pthread.h>

/* As pthread_create; the thread gets no signals but those that a fault of its own raises. Returns
 * an errno. */
int cs_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
