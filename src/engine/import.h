/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_IMPORT_H
#define BYRE_ENGINE_IMPORT_H

#include "engine/engine.h"
#include "engine/manifest.h"
#include "engine/sha256.h"

/* What the parts of an import share. */

struct import_file { /* one of the manifest's, */
    const struct manifest_file *manifest;
    bool unpacked;
    bool used; /* by a layer */
    char sha256[SHA256_HEX];
};

struct import {
    const struct engine_import_options *options;
    char *folder; /* resolved; nobody else can enter it */
    struct manifest manifest;
    struct import_file *files; /* sorted by name */
};

/* The file ${name} of the manifest, or NULL. */
struct import_file *import_find(const struct import *import, const char *name);

/* Unpacks what comes from ${fd} into the folder, and holds it against the tar's sums. */
int import_unpack(struct import *import, int fd, struct error *err);

#endif
