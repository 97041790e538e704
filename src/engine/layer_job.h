/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_LAYER_JOB_H
#define BYRE_ENGINE_LAYER_JOB_H

#include "engine/backup_layer.h"

struct content;
struct unchanged;

/* One layer on its way into the store: what its parts share. */
struct layer_job {
    struct backup_run *run;
    struct cs_store *store; /* those of the run */
    struct cs_writer *writer;
    const struct layer *layer;
    struct content *content; /* what reads the layer; NULL: byre itself */
    struct record_layer *record;
    struct unchanged *unchanged; /* NULL until the metadata is read */
    uint32_t region_size;        /* bytes */
    uint64_t bytes_read;         /* beside what the qcow2 reader counts: data */
    uint64_t metadata_read;      /* the same: LUKS areas */
    bool parent_broken;          /* what the parent archive has of the layer cannot be used */
};

/* Counts ${bytes} of data as dealt with, and tells the listener. */
void layer_job_progress(const struct layer_job *job, uint64_t bytes);

void layer_job_warn(const struct layer_job *job, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
