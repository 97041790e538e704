/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flushing beside the caller: it is waiting, not work, so that it gets a thread
 * of its own, and files that are flushed at the same time share what the file
 * system has to do for each.
 */
#include "flush.h"

#include <errno.h>
#include <unistd.h>

#include "thread.h"

static void *run(void *arg)
{
    struct cs_flush *flush = arg;
    if (fsync(flush->fd) < 0)
        flush->sys = errno;
    return NULL;
}

void cs_flush_begin(struct cs_flush *flush, int fd, bool beside)
{
    *flush = (struct cs_flush){.begun = true, .fd = fd};
    flush->beside = beside && cs_thread_start(&flush->thread, run, flush) == 0;
    if (!flush->beside)
        run(flush);
}

int cs_flush_end(struct cs_flush *flush)
{
    if (flush->beside)
        pthread_join(flush->thread, NULL);
    flush->begun = flush->beside = false;
    return flush->sys;
}
