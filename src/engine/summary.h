/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_SUMMARY_H
#define BYRE_ENGINE_SUMMARY_H

#include "engine/engine.h"

/* What an archive's log entry says in the engine's name: small, so that listing archives and
 * finding parents reads nothing else. */

enum { SUMMARY_TAG = 33 }; /* 32 hex digits */

/* A layer's file as the log has it: digests, so that who reads them learns nothing. */
struct summary_file {
    char file[SUMMARY_TAG]; /* of file system and inode; "" where the file has none to be trusted */
    char path[SUMMARY_TAG]; /* of host and path */
};

struct summary_details {
    struct engine_summary summary;
    int64_t started_ns; /* when the run began, before any file was looked at; since 1970 */
    uint64_t bytes_read;
    struct summary_file *files; /* of the layers, in their order */
    size_t file_count;
};

/* JSON into fresh memory for the caller to free. */
int summary_encode(const struct summary_details *details, char **json, size_t *len,
                   struct error *err);

/* Decodes the summary of ${archive}; to be cleared. ERROR_CORRUPT. */
int summary_decode(struct summary_details *details, const struct cs_archive *archive,
                   struct error *err);
void summary_clear(struct summary_details *details);

#endif
