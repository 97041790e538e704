/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_GRAPH_H
#define BYRE_LIVE_GRAPH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "live/qmp.h"

/* The block graph of a QEMU, as it was when it was asked: its nodes, and who uses which. */

struct graph_node {
    int64_t id;                 /* QEMU's, of the edges */
    const char *name;           /* all text is lent by the graph */
    const char *driver;         /* "" where it is not known */
    const char *file;           /* its file, as QEMU names it; "" */
    const char *backing;        /* its header's backing file, in full; "" */
    const char *backing_format; /* what the header says of it; "" */
    uint64_t size;              /* bytes */
    bool is_block;              /* a node; else whoever uses one: a device, an export, a job */
    bool is_job;
    bool read_only;
    bool encrypted;
    bool has_bitmaps;      /* it can have persistent ones: qcow2 of version 3 */
    bool direct, no_flush; /* how it is cached */
    const json_t *bitmaps; /* array, or NULL */
};

struct graph_edge {
    size_t parent, child; /* of nodes */
    const char *role;     /* "file", "backing", "root" */
};

struct graph {
    struct graph_node *nodes;
    size_t node_count;
    struct graph_edge *edges;
    size_t edge_count;
    json_t *devices; /* of query-block; an array, maybe empty */
    json_t *exports; /* of query-block-exports; the same */
    json_t *texts[2];
};

#define GRAPH_NONE SIZE_MAX

/* Asks for all of it. To be cleared, also on failure. */
int graph_read(struct graph *g, struct qmp *q, struct error *err);

/* Pure: from what QEMU returned for query-named-block-nodes, x-debug-query-block-graph, query-block
 * and query-block-exports, each of them taken over. ERROR_CORRUPT. */
int graph_parse(struct graph *g, json_t *named, json_t *graph, json_t *devices, json_t *exports,
                struct error *err);
void graph_clear(struct graph *g);

size_t graph_find(const struct graph *g, const char *name);
/* The child of ${node} in ${role}. */
size_t graph_child(const struct graph *g, size_t node, const char *role);
/* The ${n}th that uses ${node}, from 0. */
size_t graph_parent(const struct graph *g, size_t node, size_t n);
/* Up over filters, from ${node} to the last that no other node uses. */
size_t graph_root(const struct graph *g, size_t node);

#endif
