/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_EXPORT_OVERLAY_H
#define BYRE_ENGINE_EXPORT_OVERLAY_H

#include "engine/diff.h"
#include "engine/export.h"

/*
 * Writes to ${spool} a qcow2 over ${file->backing_file}, which is the image of ${old} in ${pair}:
 * all clusters in which the archive's disk differs from that one; those that are zeros now as zero
 * clusters. Whatever lies behind the end of the earlier disk is zeros without them.
 */
int export_overlay(struct exporter *e, const struct record_archive *old,
                   const struct diff_pair *pair, const struct manifest_file *file,
                   const struct target *spool, struct error *err);

/* The whole disk as one qcow2, over nothing. */
int export_whole(struct exporter *e, const struct record_image *image, const struct target *spool,
                 struct error *err);

#endif
