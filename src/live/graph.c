/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes one graph of what QEMU tells in four replies: edges come with numbers,
 * everything else with names. What it means is plan.c's.
 */
#include "live/graph.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 65536 };

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

static void describe(struct graph_node *n, const json_t *info)
{
    const json_t *image = json_object_get(info, "image");
    const json_t *cache = json_object_get(info, "cache");
    const json_t *format = json_object_get(json_object_get(image, "format-specific"), "data");
    n->driver = text(info, "drv");
    n->file = text(image, "filename");
    n->backing = text(image, "full-backing-filename");
    if (n->backing[0] == 0)
        n->backing = text(image, "backing-filename");
    n->backing_format = text(image, "backing-filename-format");
    n->size = (uint64_t)json_integer_value(json_object_get(image, "virtual-size"));
    n->read_only = json_is_true(json_object_get(info, "ro"));
    n->encrypted = json_is_true(json_object_get(info, "encrypted")) ||
                   json_is_true(json_object_get(image, "encrypted"));
    n->has_bitmaps = strcmp(n->driver, "qcow2") == 0 && strcmp(text(format, "compat"), "1.1") == 0;
    n->direct = json_is_true(json_object_get(cache, "direct"));
    n->no_flush = json_is_true(json_object_get(cache, "no-flush"));
    n->bitmaps = json_object_get(info, "dirty-bitmaps");
}

static const json_t *find_info(const json_t *named, const char *name)
{
    size_t i;
    json_t *info;
    json_array_foreach (named, i, info)
        if (strcmp(text(info, "node-name"), name) == 0)
            return info;
    return NULL;
}

static void add_nodes(struct graph *g, const json_t *named, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        struct graph_node *n = &g->nodes[g->node_count++];
        const char *type = text(item, "type");
        const json_t *info = NULL;
        *n = (struct graph_node){.id = json_integer_value(json_object_get(item, "id")),
                                 .name = text(item, "name"),
                                 .driver = "",
                                 .file = "",
                                 .backing = "",
                                 .backing_format = "",
                                 .is_block = strcmp(type, "block-driver") == 0,
                                 .is_job = strcmp(type, "block-job") == 0};
        if (n->is_block)
            info = find_info(named, n->name);
        if (info != NULL)
            describe(n, info);
    }
}

static size_t by_id(const struct graph *g, const json_t *id)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (json_is_integer(id) && g->nodes[i].id == json_integer_value(id))
            return i;
    return GRAPH_NONE;
}

static int add_edges(struct graph *g, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        struct graph_edge *e = &g->edges[g->edge_count++];
        *e = (struct graph_edge){.parent = by_id(g, json_object_get(item, "parent")),
                                 .child = by_id(g, json_object_get(item, "child")),
                                 .role = text(item, "name")};
        if (e->parent == GRAPH_NONE || e->child == GRAPH_NONE)
            return ERROR_CORRUPT;
    }
    return 0;
}

int graph_parse(struct graph *g, json_t *named, json_t *graph, json_t *devices, json_t *exports,
                struct error *err)
{
    const json_t *nodes = json_object_get(graph, "nodes");
    const json_t *edges = json_object_get(graph, "edges");
    *g = (struct graph){.devices = devices, .exports = exports, .texts = {named, graph}};
    if (!json_is_array(named) || !json_is_array(nodes) || !json_is_array(edges) ||
        json_array_size(nodes) > MAX_NODES || json_array_size(edges) > MAX_NODES)
        return error_set(err, ERROR_CORRUPT, "QEMU's answer about its disks makes no sense");
    g->nodes = calloc(json_array_size(nodes) + 1, sizeof *g->nodes);
    g->edges = calloc(json_array_size(edges) + 1, sizeof *g->edges);
    if (g->nodes == NULL || g->edges == NULL)
        return error_no_memory(err);
    add_nodes(g, named, nodes);
    if (add_edges(g, edges) < 0)
        return error_set(err, ERROR_CORRUPT, "QEMU's graph of its disks has edges without ends");
    return 0;
}

int graph_read(struct graph *g, struct qmp *q, struct error *err)
{
    json_t *named = NULL, *graph = NULL, *devices = NULL, *exports = NULL;
    *g = (struct graph){0};
    int rc = qmp_call(q, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &named, err);
    if (rc == 0)
        rc = qmp_call(q, "x-debug-query-block-graph", NULL, &graph, err);
    if (rc == 0)
        rc = qmp_call(q, "query-block", NULL, &devices, err);
    if (rc == 0)
        rc = qmp_call(q, "query-block-exports", NULL, &exports, err);
    if (rc == ERROR_UNSUPPORTED)
        error_wrap(err, "this QEMU is too old for live backup");
    if (rc == 0)
        return graph_parse(g, named, graph, devices, exports, err);
    json_decref(named);
    json_decref(graph);
    json_decref(devices);
    json_decref(exports);
    return rc;
}

void graph_clear(struct graph *g)
{
    free(g->nodes);
    free(g->edges);
    json_decref(g->devices);
    json_decref(g->exports);
    json_decref(g->texts[0]);
    json_decref(g->texts[1]);
    *g = (struct graph){0};
}

size_t graph_find(const struct graph *g, const char *name)
{
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].is_block && strcmp(g->nodes[i].name, name) == 0)
            return i;
    return GRAPH_NONE;
}

size_t graph_child(const struct graph *g, size_t node, const char *role)
{
    for (size_t i = 0; i < g->edge_count; i++)
        if (g->edges[i].parent == node && strcmp(g->edges[i].role, role) == 0)
            return g->edges[i].child;
    return GRAPH_NONE;
}

size_t graph_parent(const struct graph *g, size_t node, size_t n)
{
    for (size_t i = 0; i < g->edge_count; i++)
        if (g->edges[i].child == node && n-- == 0)
            return g->edges[i].parent;
    return GRAPH_NONE;
}

/* A chain without a loop is no longer than there are nodes. */
size_t graph_root(const struct graph *g, size_t node)
{
    for (size_t steps = 0; steps < g->node_count; steps++) {
        size_t above = GRAPH_NONE;
        for (size_t i = 0; above == GRAPH_NONE && graph_parent(g, node, i) != GRAPH_NONE; i++)
            if (g->nodes[graph_parent(g, node, i)].is_block)
                above = graph_parent(g, node, i);
        if (above == GRAPH_NONE)
            break;
        node = above;
    }
    return node;
}
