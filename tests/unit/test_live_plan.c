/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a machine's block graph is a disk that can be frozen, on graphs as QEMU 7.2 tells them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "live/plan.h"

#define NODE(name, driver, file, more)                                                             \
    "{\"node-name\": \"" name "\", \"drv\": \"" driver "\", \"image\": {\"filename\": \"" file     \
    "\", \"virtual-size\": 67108864, \"format-specific\": {\"data\": {\"compat\": \"1.1\"}}}, "    \
    "\"ro\": false" more "}"
#define DRIVER(id, name)  "{\"id\": " #id ", \"type\": \"block-driver\", \"name\": \"" name "\"}"
#define BACKEND(id, name) "{\"id\": " #id ", \"type\": \"block-backend\", \"name\": \"" name "\"}"
#define JOB(id, name)     "{\"id\": " #id ", \"type\": \"block-job\", \"name\": \"" name "\"}"
#define EDGE(parent, child, role)                                                                  \
    "{\"parent\": " #parent ", \"child\": " #child ", \"name\": \"" role "\"}"
#define GRAPH(nodes, edges) "{\"nodes\": [" nodes "], \"edges\": [" edges "]}"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        fail_msg("the test's own JSON: %s", text);
    return value;
}

static void read_graph(struct graph *g, const char *named, const char *graph, const char *devices,
                       const char *exports)
{
    struct error err = {0};
    if (graph_parse(g, parse(named), parse(graph), parse(devices), parse(exports), &err) < 0)
        fail_msg("%s", err.message);
}

/* A device above a throttle filter above raw, and an anonymous node below a drive. */
static void read_machine(struct graph *g, const char *more)
{
    char named[4096];
    snprintf(
        named, sizeof named,
        "[" NODE("#b1", "qcow2", "a.qcow2", "%s") ", " NODE("#b2", "file", "a.qcow2", "") ", " NODE(
            "t", "throttle", "json:{}", "") ", " NODE("r", "raw", "/b.raw",
                                                      "") ", " NODE("rf", "file", "/b.raw", "") "]",
        more);
    read_graph(
        g, named,
        GRAPH(DRIVER(1, "#b1") ", " DRIVER(2, "#b2") ", " DRIVER(3, "t") ", " DRIVER(
                  4, "r") ", " DRIVER(5, "rf") ", " BACKEND(6, "virtio0") ", " BACKEND(7, ""),
              EDGE(1, 2, "file") ", " EDGE(3, 4, "file") ", " EDGE(4, 5, "file") ", " EDGE(
                  6, 1, "root") ", " EDGE(7, 3, "root")),
        "[{\"device\": \"virtio0\", \"qdev\": \"/machine/peripheral-anon/device[1]\", "
        "\"inserted\": {\"node-name\": \"#b1\"}}, {\"device\": \"\", \"qdev\": "
        "\"/machine/peripheral/vdb/virtio-backend\", \"inserted\": {\"node-name\": \"t\"}}, "
        "{\"device\": \"cd0\"}]",
        "[]");
}

static int make_plan(struct plan *plan, const struct graph *g, const char *disk, struct error *err)
{
    const struct live_options o = {.disks = &disk, .disk_count = disk != NULL};
    return plan_disks(plan, g, &o, err);
}

static void test_all_disks_below_their_filters(void **state)
{
    struct graph g;
    struct plan plan;
    struct error err = {0};
    (void)state;
    read_machine(&g, "");
    assert_int_equal(make_plan(&plan, &g, NULL, &err), 0);
    assert_int_equal(plan.count, 2);
    assert_string_equal(plan.disks[0].device, "virtio0");
    assert_string_equal(g.nodes[plan.disks[0].node].name, "#b1");
    assert_string_equal(plan.disks[1].device, "vdb");
    assert_string_equal(g.nodes[plan.disks[1].node].name, "r");
    assert_string_equal(g.nodes[plan.disks[1].file].name, "rf");
    assert_true(g.nodes[plan.disks[0].node].has_bitmaps);
    plan_clear(&plan);
    graph_clear(&g);
}

static void test_every_name_that_people_have(void **state)
{
    static const char *const names[] = {"vdb", "t", "r", "/b.raw",
                                        "/machine/peripheral/vdb/virtio-backend"};
    struct graph g;
    (void)state;
    read_machine(&g, "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct plan plan;
        struct error err = {0};
        assert_int_equal(make_plan(&plan, &g, names[i], &err), 0);
        assert_int_equal(plan.count, 1);
        assert_string_equal(plan.disks[0].device, "vdb");
        plan_clear(&plan);
    }
    struct plan plan;
    struct error err = {0};
    assert_int_equal(make_plan(&plan, &g, "vdc", &err), ERROR_NOT_FOUND);
    plan_clear(&plan);
    graph_clear(&g);
}

/* Of one disk, whose graph is ${named} and ${graph}. */
static void expect_refused(const char *named, const char *graph, const char *exports,
                           const char *why)
{
    struct graph g;
    struct plan plan;
    struct error err = {0};
    read_graph(&g, named, graph, "[]", exports);
    assert_int_equal(make_plan(&plan, &g, NULL, &err), ERROR_UNSUPPORTED);
    if (strstr(err.message, why) == NULL)
        fail_msg("%s: does not say %s", err.message, why);
    plan_clear(&plan);
    graph_clear(&g);
}

static void test_what_cannot_be_frozen(void **state)
{
    static const char graph[] = GRAPH(DRIVER(1, "d") ", " DRIVER(2, "f") ", " BACKEND(3, ""),
                                      EDGE(1, 2, "file") ", " EDGE(3, 1, "root"));
    (void)state;
    expect_refused("[" NODE("d", "raw", "x", "") ", " NODE("f", "nbd", "nbd://x", "") "]", graph,
                   "[]", "but nbd; --content");
    expect_refused("[" NODE("d", "vmdk", "x", "") ", " NODE("f", "file", "x", "") "]", graph, "[]",
                   "neither qcow2 nor raw but vmdk");
    expect_refused("[" NODE("d", "raw",
                            "json:{\\\"driver\\\": \\\"raw\\\", \\\"offset\\\": 512, \\\"file\\\": "
                            "{}}",
                            "") ", " NODE("f", "file", "x", "") "]",
                   graph, "[]", "more than a file");
    expect_refused("[" NODE("d", "qcow2", "x", "") ", " NODE("f", "file", "/dev/fdset/3", "") "]",
                   graph, "[]", "descriptor");
    expect_refused("[" NODE("d", "qcow2", "x", "") ", " NODE("f", "file", "/a.byre-live", "") "]",
                   graph, "[]", "temporary overlay");
    expect_refused("[" NODE("d", "qcow2", "x", "") ", " NODE("f", "file", "/a", "") "]", graph,
                   "[{\"type\": \"fuse\", \"node-name\": \"d\", \"id\": \"e\"}]", "fuse");
    expect_refused("[" NODE("m", "mirror_top", "x", "") ", " NODE("d", "qcow2", "x", "") ", " NODE(
                       "f", "file", "/a", "") "]",
                   GRAPH(DRIVER(1, "d") ", " DRIVER(2, "f") ", " BACKEND(3, "") ", " DRIVER(
                             4, "m") ", " JOB(5, "j"),
                         EDGE(1, 2, "file") ", " EDGE(4, 1, "backing") ", " EDGE(
                             3, 4, "root") ", " EDGE(5, 1, "main node")),
                   "[]", "a job is running");
}

/* What keys an encrypted disk has is no matter of where it is. */
static void test_encrypted(void **state)
{
    struct graph g;
    struct plan plan;
    struct error err = {0};
    (void)state;
    read_graph(&g,
               "[" NODE("d", "qcow2",
                        "json:{\\\"driver\\\": \\\"qcow2\\\", \\\"encrypt.key-secret\\\": "
                        "\\\"s\\\", \\\"file\\\": {}}",
                        ", \"encrypted\": true") ", " NODE("f", "file", "/a", "") "]",
               GRAPH(DRIVER(1, "d") ", " DRIVER(2, "f"), EDGE(1, 2, "file")), "[]", "[]");
    assert_int_equal(make_plan(&plan, &g, NULL, &err), 0);
    assert_int_equal(plan.count, 1);
    assert_true(g.nodes[plan.disks[0].node].encrypted);
    plan_clear(&plan);
    graph_clear(&g);
}

static void test_nonsense(void **state)
{
    struct graph g;
    struct error err = {0};
    (void)state;
    assert_int_equal(graph_parse(&g, parse("{}"), parse("[]"), parse("[]"), parse("7"), &err),
                     ERROR_CORRUPT);
    graph_clear(&g);
    assert_int_equal(graph_parse(&g, parse("[]"), parse(GRAPH(DRIVER(1, "d"), EDGE(1, 2, "file"))),
                                 parse("[]"), parse("[]"), &err),
                     ERROR_CORRUPT);
    graph_clear(&g);
    /* a graph that goes round */
    read_graph(
        &g, "[" NODE("d", "throttle", "x", "") "]",
        GRAPH(DRIVER(1, "d") ", " BACKEND(2, ""), EDGE(1, 1, "file") ", " EDGE(2, 1, "root")), "[]",
        "[]");
    struct plan plan;
    assert_int_equal(make_plan(&plan, &g, NULL, &err), ERROR_UNSUPPORTED);
    plan_clear(&plan);
    graph_clear(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_disks_below_their_filters),
        cmocka_unit_test(test_every_name_that_people_have),
        cmocka_unit_test(test_what_cannot_be_frozen),
        cmocka_unit_test(test_encrypted),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
