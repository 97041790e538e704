/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_QCOW2_H
#define BYRE_ENGINE_BACKUP_QCOW2_H

#include "engine/layer_job.h"

/* Stores the trees of all views of a qcow2 layer, into record->views. */
int backup_qcow2_views(struct layer_job *job, struct error *err);

/* Stores header, LUKS area, snapshot table and bitmaps: fills record->qcow2, and makes
 * record->views with the size and hash of their L1s. */
int backup_qcow2_metadata(struct layer_job *job, struct error *err);

/* Stores the tree of a layer that ${job->content} reads; fills record->views. */
int backup_content(struct layer_job *job, struct error *err);

/* Stores the tree of a raw layer; fills record->views. */
int backup_raw(struct layer_job *job, struct error *err);

#endif
