/* SPDX-License-Identifier: BSD-2-Clause */
/* How the parts of a layer's backup speak to the listener. */
#include "engine/layer_job.h"

#include <stdarg.h>

#include "base/say.h"

void layer_job_progress(const struct layer_job *job, uint64_t bytes)
{
    struct backup_progress *p = job->run->progress;
    p->done += bytes;
    if (p->done > p->total)
        p->total = p->done;
    if (p->listener->fresh != NULL) {
        struct cs_counters stored;
        cs_writer_counters(job->writer, &stored);
        p->listener->fresh(p->listener->arg, stored.bytes_new);
    }
    if (p->listener->progress != NULL)
        p->listener->progress(p->listener->arg, job->layer->path, p->done, p->total);
}

void layer_job_warn(const struct layer_job *job, const char *fmt, ...)
{
    const struct engine_listener *l = job->run->progress->listener;
    va_list ap;
    va_start(ap, fmt);
    say_args(l->warning, l->arg, fmt, ap);
    va_end(ap);
}
