/* SPDX-License-Identifier: BSD-2-Clause */
/* Images in memory for the tests of the writer. */
#include "qcow2_content.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

static void *must_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    assert_non_null(p);
    return p;
}

struct content content_read(const char *name)
{
    struct content c = {0};
    struct error err = {0};

    c.image = open_image(name, &c.fd);
    c.header = *qcow2_image_header(c.image);
    c.header_cluster = qcow2_image_header_cluster(c.image);
    c.cluster_size = qcow2_image_cluster_size(c.image);
    c.n = qcow2_image_virtual_size(c.image) / c.cluster_size + 1;
    if (c.n > qcow2_view_clusters(qcow2_image_active(c.image)))
        c.n = qcow2_view_clusters(qcow2_image_active(c.image));
    c.entries = must_alloc(c.n, sizeof(*c.entries));
    c.data = must_alloc(c.n, c.cluster_size);
    assert_ok(qcow2_view_entries(qcow2_image_active(c.image), 0, c.n, c.entries, &err));
    assert_ok(qcow2_image_read(c.image, 0, c.n, c.entries, c.data, &err));
    return c;
}

void content_clear(struct content *c)
{
    close_image(c->image, c->fd);
    free(c->entries);
    free(c->data);
}

struct qcow2_target create_target(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return (struct qcow2_target){.fd = fd, .name = "target"};
}

struct qcow2_writer_report content_write_to(const struct content *c, struct qcow2_target target,
                                            enum layout layout, size_t step)
{
    struct qcow2_writer_report report = {0};
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    if (layout == COMPACT) {
        assert_ok(qcow2_writer_begin_compact(&w, &target, &c->header, &err));
    } else {
        assert_ok(
            qcow2_writer_begin_physical(&w, &target, &c->header, c->header_cluster, NULL, &err));
        for (size_t i = 0; i < c->n; i += step) {
            size_t n = c->n - i < step ? c->n - i : step;

            assert_ok(qcow2_writer_reserve(w, 0, i, c->entries + i, n, &err));
        }
        assert_ok(qcow2_writer_place(w, &err));
    }
    for (size_t i = 0; i < c->n; i += step) {
        size_t n = c->n - i < step ? c->n - i : step;
        bool any = false;

        for (size_t j = i; j < i + n; j++)
            any |= c->entries[j].class != QCOW2_UNALLOCATED;
        if (any)
            assert_ok(qcow2_writer_region(w, 0, i, c->entries + i, n, c->data + i * c->cluster_size,
                                          &err));
    }
    assert_ok(qcow2_writer_finish(w, &report, &err));
    qcow2_writer_free(w);
    close(target.fd);
    return report;
}

struct qcow2_writer_report content_write(const struct content *c, const char *name,
                                         enum layout layout, size_t step)
{
    return content_write_to(c, create_target(name), layout, step);
}

struct content content_new(const char *options, const char *size, uint64_t n)
{
    struct content c;

    run("rm -f e; qemu-img create -q -f qcow2 -o %s e %s", options, size);
    c = content_read("e");
    free(c.entries);
    free(c.data);
    c.n = n;
    c.entries = must_alloc(n, sizeof(*c.entries));
    c.data = must_alloc(n, c.cluster_size);
    for (uint64_t i = 0; i < n; i++)
        memset(c.data + i * c.cluster_size, (int)(i + 1), c.cluster_size);
    return c;
}

void content_check(const struct content *c, const char *name)
{
    struct content b;

    run("qemu-img check -q -f qcow2 %s", name);
    b = content_read(name);
    assert_memory_equal(c->data, b.data, c->n * c->cluster_size);
    content_clear(&b);
}
