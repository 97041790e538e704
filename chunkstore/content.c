/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Content leaves: the runs of a region and the chunks of its data runs. A leaf
 * has exactly one encoding, and the decoder takes no other. What the chunks
 * hold, and where they were cut, is not known here.
 */
#include "content.h"

#include <inttypes.h>
#include <stdlib.h>

enum { RUN_LEAST = 2, CHUNK_LEAST = 1 + CS_ID_SIZE + 16 }; /* encoded bytes */

void cs_content_encode(struct cs_buf *out, const struct cs_run *runs, size_t run_count,
                       const struct cs_chunk *chunks, size_t chunk_count)
{
    uint64_t end = 0;
    cs_put_varint(out, run_count);
    for (size_t i = 0; i < run_count; i++) {
        cs_put_varint(out, runs[i].offset - end);
        cs_put_varint(out, (uint64_t)runs[i].length << 1 | runs[i].zero);
        end = (uint64_t)runs[i].offset + runs[i].length;
    }
    cs_put_varint(out, chunk_count);
    for (size_t i = 0; i < chunk_count; i++) {
        cs_put_varint(out, chunks[i].length);
        cs_put_bytes(out, chunks[i].id.bytes, sizeof chunks[i].id.bytes);
        cs_put_bytes(out, chunks[i].fingerprint, sizeof chunks[i].fingerprint);
    }
}

static int cut_short(const struct cs_reader *r, struct cs_error *err)
{
    return cs_fail(err, CS_CORRUPT,
                   "content leaf: malformed number or unexpected end at byte %zu of %zu", r->pos,
                   r->len);
}

/* Reads the runs, for which there is room; sets ${*data_len} to the bytes of the data runs. */
static int decode_runs(struct cs_run *runs, size_t n, struct cs_reader *r, uint32_t region_size,
                       uint64_t *data_len, struct cs_error *err)
{
    uint32_t end = 0;
    *data_len = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = r->pos;
        uint64_t gap = cs_get_varint(r);
        uint64_t word = cs_get_varint(r);
        uint64_t length = word >> 1;
        bool zero = word & 1;
        if (r->bad)
            return cut_short(r, err);
        if (length == 0)
            return cs_fail(err, CS_CORRUPT, "content leaf: run %zu at byte %zu is empty", i, at);
        if (gap > region_size - end || length > region_size - end - gap)
            return cs_fail(err, CS_CORRUPT,
                           "content leaf: run %zu at byte %zu leaves the region: gap %" PRIu64
                           ", length %" PRIu64 " after %" PRIu32,
                           i, at, gap, length, end);
        if (i > 0 && gap == 0 && runs[i - 1].zero == zero)
            return cs_fail(err, CS_CORRUPT,
                           "content leaf: run %zu at byte %zu belongs to the one before", i, at);
        runs[i] = (struct cs_run){
            .offset = end + (uint32_t)gap, .length = (uint32_t)length, .zero = zero};
        end = runs[i].offset + runs[i].length;
        if (!zero)
            *data_len += length;
    }
    return 0;
}

/* Reads the chunks, for which there is room; they must make ${data_len} bytes. */
static int decode_chunks(struct cs_chunk *chunks, size_t n, struct cs_reader *r, uint64_t data_len,
                         struct cs_error *err)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = r->pos;
        uint64_t length = cs_get_varint(r);
        cs_get_copy(r, chunks[i].id.bytes, sizeof chunks[i].id.bytes);
        cs_get_copy(r, chunks[i].fingerprint, sizeof chunks[i].fingerprint);
        if (r->bad)
            return cut_short(r, err);
        if (length == 0 || length > CS_DATA_OBJECT_MAX)
            return cs_fail(err, CS_CORRUPT,
                           "content leaf: chunk %zu at byte %zu has a length of %" PRIu64, i, at,
                           length);
        chunks[i].length = (uint32_t)length;
        sum += length;
    }
    if (sum != data_len)
        return cs_fail(err, CS_CORRUPT,
                       "content leaf: the chunks have %" PRIu64 " bytes, the data runs %" PRIu64
                       ", before byte %zu",
                       sum, data_len, r->pos);
    return 0;
}

/* A count of things of at least ${least} bytes each, and memory for them; NULL where it is 0. */
static int decode_count(size_t *count, void **room, struct cs_reader *r, size_t least, size_t size,
                        struct cs_error *err)
{
    size_t at = r->pos;
    uint64_t n = cs_get_varint(r);
    *count = 0;
    *room = NULL;
    if (r->bad)
        return cut_short(r, err);
    if (n > cs_reader_left(r) / least)
        return cs_fail(err, CS_CORRUPT,
                       "content leaf: count %" PRIu64 " at byte %zu, with %zu bytes behind", n, at,
                       cs_reader_left(r));
    if (n > 0) {
        *room = calloc((size_t)n, size);
        if (*room == NULL)
            return cs_fail_memory(err);
    }
    *count = (size_t)n;
    return 0;
}

static int decode(struct cs_content *content, struct cs_reader *r, uint32_t region_size,
                  struct cs_error *err)
{
    uint64_t data_len;
    void *room;
    int rc = decode_count(&content->run_count, &room, r, RUN_LEAST, sizeof *content->runs, err);
    if (rc < 0)
        return rc;
    content->runs = room;
    /* such a region has no leaf */
    if (content->run_count == 0)
        return cs_fail(err, CS_CORRUPT, "content leaf: no runs at byte 0");
    rc = decode_runs(content->runs, content->run_count, r, region_size, &data_len, err);
    if (rc < 0)
        return rc;
    rc = decode_count(&content->chunk_count, &room, r, CHUNK_LEAST, sizeof *content->chunks, err);
    if (rc < 0)
        return rc;
    content->chunks = room;
    rc = decode_chunks(content->chunks, content->chunk_count, r, data_len, err);
    if (rc < 0)
        return rc;
    if (!cs_reader_done(r))
        return cs_fail(err, CS_CORRUPT, "content leaf: %zu bytes left over at byte %zu",
                       cs_reader_left(r), r->pos);
    return 0;
}

int cs_content_decode(struct cs_content *content, const void *leaf, size_t len,
                      uint32_t region_size, struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(leaf, len);
    *content = (struct cs_content){0};
    int rc = decode(content, &r, region_size, err);
    if (rc < 0)
        cs_content_clear(content);
    return rc;
}

void cs_content_clear(struct cs_content *content)
{
    free(content->runs);
    free(content->chunks);
    *content = (struct cs_content){0};
}
