/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CONFIG_H
#define CS_CONFIG_H

#include "chunkstore.h"

enum { CS_CONFIG_SIZE = 136, CS_FORMAT_VERSION = 1 };

enum { CS_FEATURE_SHA256_IDS = 1 }; /* bits of read_features */

/* The file `config` (FORMAT.md, section 3). */
struct cs_config {
    struct cs_id repository_id;
    uint64_t read_features;  /* a reader must know them */
    uint64_t write_features; /* a writer must know them */
    int64_t created;         /* Unix seconds */
    uint32_t region_size;    /* bytes, as the following */
    uint32_t block_size;
    uint32_t min_chunk;
    uint32_t max_chunk;
    uint64_t threshold;
    uint32_t zero_blocks;
};

/* A new repository's: the parameters that DESIGN measured best, a random id, the time now. */
void cs_config_new(struct cs_config *config, enum cs_id_hash id_hash);
enum cs_id_hash cs_config_id_hash(const struct cs_config *config);
void cs_config_encode(uint8_t out[CS_CONFIG_SIZE], const struct cs_config *config);
int cs_config_decode(struct cs_config *config, const uint8_t *data, size_t len,
                     struct cs_error *err);

#endif
