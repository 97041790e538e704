/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_EXPORT_H
#define BYRE_ENGINE_EXPORT_H

#include "engine/bundle.h"
#include "engine/manifest.h"
#include "engine/restore.h"
#include "engine/sha256.h"

/* What the parts of an export share. */

enum { EXPORT_BUFFER = 1 << 20 };

struct exporter {
    struct restore r; /* of the archive */
    const struct engine_export_options *options;
    struct engine_export_result *result;
    const struct cs_archive *archive;
    struct manifest manifest;
    struct bundle_writer *tar;
    struct sha256 *sha;
    uint8_t *buf; /* EXPORT_BUFFER bytes */
    char *sums;   /* lines of SHA256SUMS so far */
    size_t sums_len;
};

/* The files of the archive: fills the manifest, writes it, then them. */
int export_chains(struct exporter *e, struct error *err);
int export_since(struct exporter *e, const struct cs_archive *earlier, struct error *err);

/* ---- for those: ---- */

/* Makes plain raw disks of the layers of which only the guest's bytes were kept: names that say so,
 * absolute paths, and nothing left of what they were. */
int export_name_contents(struct record_archive *archive, struct error *err);

/* Writes the manifest, whose names it checks before. Comes first. */
int export_manifest(struct exporter *e, struct error *err);

/* Begins a file without a name, which ${name}, that in the tar, stands for in messages. To be
 * cleared. */
int export_spool(const struct exporter *e, const char *name, struct target *spool,
                 struct error *err);

/* Puts what to do before the message of ${err}, where it says that the spool has no room. */
int export_no_room(const struct exporter *e, struct error *err);

/* Sends what was spooled as ${file}, with its holes, and closes it. */
int export_send(struct exporter *e, const struct manifest_file *file, struct target *spool,
                struct error *err);

/* A side file: into the manifest; and sent, as ${file} of it. */
int export_describe_side_file(struct exporter *e, const struct record_side_file *side,
                              struct error *err);
int export_send_side_file(struct exporter *e, const struct record_side_file *side,
                          const struct manifest_file *file, struct error *err);

#endif
