/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Content leaves, placement leaves and tree nodes from anywhere: a decoder may
 * refuse them, but what it takes must encode to the very same bytes again. The
 * first byte selects: its lowest two bits the decoder, the others a parameter.
 */
#include <stdlib.h>

#include "content.h"
#include "tree.h"

enum { REGION = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_equal(const void *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    require(a_len == b_len && memcmp(a, b, a_len) == 0);
}

static void content(const uint8_t *data, size_t size)
{
    struct cs_content c;
    struct cs_error err = {0};
    struct cs_buf out = {0};
    if (cs_content_decode(&c, data, size, REGION, &err) < 0) {
        require(err.code != 0 && err.message[0] != 0 && c.runs == NULL && c.chunks == NULL);
        return;
    }
    cs_content_encode(&out, c.runs, c.run_count, c.chunks, c.chunk_count);
    require(!out.failed);
    require_equal(out.data, out.len, data, size);
    cs_buf_clear(&out);
    cs_content_clear(&c);
}

static void placement(const uint8_t *data, size_t size, unsigned cluster_bits)
{
    size_t n = (size_t)REGION >> cluster_bits;
    struct cs_place *places = calloc(n, sizeof *places);
    struct cs_error err = {0};
    uint8_t *out;
    size_t len;
    require(places != NULL);
    if (cs_placement_decode(places, n, cluster_bits, data, size, &err) == 0) {
        require(cs_placement_encode(&out, &len, places, n, cluster_bits, data[1] & 1, &err) == 0);
        require_equal(out, len, data, size);
        free(out);
    } else {
        require(err.code != 0 && err.message[0] != 0);
    }
    free(places);
}

static void node(const uint8_t *data, size_t size, unsigned level)
{
    struct cs_node n;
    struct cs_error err = {0};
    uint8_t out[CS_NODE_SIZE_MAX];
    if (cs_node_decode(&n, level, data, size, "node", &err) == 0)
        require_equal(out, cs_node_encode(out, &n, level), data, size);
    else
        require(err.code != 0 && err.message[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned parameter = data[0] >> 2;
    switch (data[0] & 3) {
    case 0:
        content(data + 1, size - 1);
        break;
    case 1:
        placement(data + 1, size - 1, 9 + parameter % 13);
        break;
    default:
        node(data + 1, size - 1, 1 + parameter % CS_TREE_LEVEL_MAX);
        break;
    }
    return 0;
}
