/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file that says which repository this is and how it cuts chunks. Plain
 * text to everybody; what makes it trustworthy is its hash inside each slot.
 */
#include "config.h"

#include <string.h>
#include <time.h>

#include "bytes.h"
#include "crypt.h"

static const char magic[8] = "byreconf";

void cs_config_new(struct cs_config *config, enum cs_id_hash id_hash)
{
    *config = (struct cs_config){
        .read_features = id_hash == CS_ID_SHA256 ? CS_FEATURE_SHA256_IDS : 0,
        .created = (int64_t)time(NULL),
        .region_size = 4 << 20,
        .block_size = 4 << 10,
        .min_chunk = 16 << 10,
        .max_chunk = 256 << 10,
        .threshold =
            UINT64_MAX / 12, /* a cut in 12 blocks behind the smallest size: 64 KiB on average */
        .zero_blocks = 4,
    };
    cs_random(&config->repository_id, sizeof config->repository_id);
}

enum cs_id_hash cs_config_id_hash(const struct cs_config *config)
{
    return (config->read_features & CS_FEATURE_SHA256_IDS) != 0 ? CS_ID_SHA256 : CS_ID_BLAKE2B;
}

void cs_config_encode(uint8_t out[CS_CONFIG_SIZE], const struct cs_config *c)
{
    memset(out, 0, CS_CONFIG_SIZE);
    memcpy(out, magic, 8);
    cs_le16(out + 8, CS_FORMAT_VERSION);
    cs_le64(out + 16, c->read_features);
    cs_le64(out + 24, c->write_features);
    memcpy(out + 32, c->repository_id.bytes, CS_ID_SIZE);
    cs_le64(out + 64, (uint64_t)c->created);
    cs_le32(out + 72, c->region_size);
    cs_le32(out + 76, c->block_size);
    cs_le32(out + 80, c->min_chunk);
    cs_le32(out + 84, c->max_chunk);
    cs_le64(out + 88, c->threshold);
    cs_le32(out + 96, c->zero_blocks);
    cs_hash(out + 104, out, 104);
}

static bool power_of_two(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

int cs_config_decode(struct cs_config *config, const uint8_t *data, size_t len,
                     struct cs_error *err)
{
    uint8_t hash[CS_HASH_SIZE];
    if (len < 10 || memcmp(data, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "config: does not begin as the config of a repository");
    bool whole = len == CS_CONFIG_SIZE;
    if (whole) {
        cs_hash(hash, data, 104);
        whole = memcmp(hash, data + 104, sizeof hash) == 0;
    }
    /* a newer format that keeps the checksum's place is told from damage */
    if (cs_from_le16(data + 8) != CS_FORMAT_VERSION)
        return cs_fail(err, whole ? CS_UNSUPPORTED : CS_CORRUPT,
                       "config: %s of format %u, this program reads format %d",
                       whole ? "is" : "is damaged, or", cs_from_le16(data + 8), CS_FORMAT_VERSION);
    if (!whole)
        return cs_fail(err, CS_CORRUPT, "config: is not what its checksum at 104 says");

    struct cs_reader r = cs_reader_of(data, 104);
    struct cs_config c = {0};
    cs_get_bytes(&r, 10);
    cs_get_zeros(&r, 6);
    c.read_features = cs_get_u64(&r);
    c.write_features = cs_get_u64(&r);
    cs_get_copy(&r, c.repository_id.bytes, CS_ID_SIZE);
    c.created = (int64_t)cs_get_u64(&r);
    c.region_size = cs_get_u32(&r);
    c.block_size = cs_get_u32(&r);
    c.min_chunk = cs_get_u32(&r);
    c.max_chunk = cs_get_u32(&r);
    c.threshold = cs_get_u64(&r);
    c.zero_blocks = cs_get_u32(&r);
    cs_get_zeros(&r, 4);
    if (!cs_reader_done(&r))
        return cs_fail(err, CS_CORRUPT, "config: reserved bytes are not zero");
    uint64_t unknown = c.read_features & ~(uint64_t)CS_FEATURE_SHA256_IDS;
    if (unknown != 0)
        return cs_fail(err, CS_UNSUPPORTED, "config: needs features %#llx that this program lacks",
                       (unsigned long long)unknown);
    if (!power_of_two(c.region_size) || !power_of_two(c.block_size) || !power_of_two(c.min_chunk) ||
        !power_of_two(c.max_chunk) || c.block_size < 512 || c.block_size > c.min_chunk ||
        c.min_chunk >= c.max_chunk || c.max_chunk > c.region_size ||
        c.max_chunk > CS_DATA_OBJECT_MAX || c.region_size < 2 << 20 || c.region_size > 16 << 20 ||
        c.threshold == 0 || c.zero_blocks == 0)
        return cs_fail(err, CS_CORRUPT, "config: impossible chunking parameters at 72");
    *config = c;
    return 0;
}
