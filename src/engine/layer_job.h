/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_LAYER_JOB_H
#define BYRE_ENGINE_LAYER_JOB_H

#include "engine/backup_layer.h"

/* One layer on its way into the store: what its parts share. */
struct layer_job {
    struct cs_store *store;
    struct cs_writer *writer;
    const struct layer *layer;
    struct backup_progress *progress;
    struct record_layer *record;
    uint32_t region_size; /* bytes */
    uint64_t bytes_read;  /* of a raw file */
};

/* Counts ${bytes} of data as stored, and tells the listener. */
void layer_job_progress(const struct layer_job *job, uint64_t bytes);

void layer_job_warn(const struct layer_job *job, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
