/* SPDX-License-Identifier: BSD-2-Clause */
/* The way of whole images through reader and writer, for the tests of the writer. */
#include "qcow2_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct image_file image_file_open(const char *name, const char *data)
{
    struct image_file f = {.data_fd = -1};
    struct qcow2_open_options options = {.force_corrupt = true, .data_name = data};
    struct error err = {0};
    struct stat st;
    uint32_t count;

    if (data != NULL) {
        f.data_fd = open(data, O_RDONLY | O_CLOEXEC);
        assert_int_equal(fstat(f.data_fd, &st), 0);
        f.data_size = (uint64_t)st.st_size;
    }
    options.data_fd = f.data_fd;
    options.data_size = f.data_size;
    f.fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(f.fd, &st), 0);
    assert_ok(qcow2_image_open(&f.image, f.fd, name, (uint64_t)st.st_size, &options, &err));
    f.cluster_size = qcow2_image_cluster_size(f.image);
    qcow2_image_snapshots(f.image, &f.snapshots, &count);
    assert_true(count < COPY_MAX_VIEWS);
    f.nb_views = count + 1;
    for (uint32_t i = 0; i < f.nb_views; i++)
        assert_ok(qcow2_view_open(&f.views[i], f.image, i, &err));
    return f;
}

void image_file_close(struct image_file *f)
{
    for (uint32_t i = 0; i < f->nb_views; i++)
        qcow2_view_close(f->views[i]);
    qcow2_image_close(f->image);
    close(f->fd);
    if (f->data_fd >= 0)
        close(f->data_fd);
}

/* What is handed on, ${step} clusters at a time. */
struct region {
    size_t step;
    struct qcow2_entry *entries;
    uint8_t *data;
    bool *wanted;
};

static bool any_allocated(const struct qcow2_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (entries[i].class != QCOW2_UNALLOCATED)
            return true;
    return false;
}

/* Fills ${r} with what ${view} has from ${*first} on, at a multiple of the step; sets both to what
 * is there. Regions that hold nothing are passed over: an L2 table can be for half a terabyte.
 * Returns the number of clusters, 0 at the end. */
static size_t read_region(const struct image_file *f, uint32_t view, uint64_t *first,
                          struct region *r)
{
    uint64_t end = qcow2_view_clusters(f->views[view]);
    struct error err = {0};
    size_t n;

    for (;; *first += n) {
        *first = qcow2_view_next_table(f->views[view], *first);
        if (*first >= end)
            return 0;
        n = end - *first < r->step ? end - *first : r->step;
        assert_ok(qcow2_view_entries(f->views[view], *first, n, r->entries, &err));
        if (any_allocated(r->entries, n))
            break;
    }
    assert_ok(qcow2_image_read(f->image, *first, n, r->entries, r->data, &err));
    return n;
}

static void reserve_all(struct qcow2_writer *w, const struct image_file *f, struct region *r)
{
    struct error err = {0};
    uint64_t first;
    size_t n;

    for (uint32_t i = 0; i < f->nb_views; i++)
        for (first = 0; (n = read_region(f, i, &first, r)) > 0; first += n)
            assert_ok(qcow2_writer_reserve(w, i, first, r->entries, n, &err));
}

/* The view that is furthest behind comes next. */
static void write_all(struct qcow2_writer *w, const struct image_file *f, struct region *r)
{
    uint64_t at[COPY_MAX_VIEWS] = {0};
    struct error err = {0};

    for (;;) {
        uint32_t view = 0;
        uint64_t first;
        size_t n;

        for (uint32_t i = 1; i < f->nb_views; i++)
            if (at[i] < at[view])
                view = i;
        if (at[view] == UINT64_MAX)
            return;
        first = at[view];
        n = read_region(f, view, &first, r);
        at[view] = n > 0 ? first + n : UINT64_MAX;
        if (n == 0)
            continue;
        qcow2_writer_wanted(w, view, first, r->entries, n, r->wanted);
        for (size_t i = 0; i < n; i++)
            if (!r->wanted[i])
                memset(r->data + i * f->cluster_size, 0xee, f->cluster_size);
        assert_ok(qcow2_writer_region(w, view, first, r->entries, n, r->data, &err));
    }
}

static void copy_bitmaps(struct qcow2_writer *w, const struct image_file *f, uint8_t *cluster)
{
    struct qcow2_bitmap *bitmaps = NULL;
    struct error err = {0};
    char *problem = NULL;
    uint32_t n;

    assert_ok(qcow2_image_bitmaps(f->image, &bitmaps, &n, &problem, &err));
    if (problem != NULL && strstr(problem, "not valid") == NULL)
        fail_msg("%s", problem);
    for (uint32_t i = 0; i < n; i++) {
        assert_ok(qcow2_writer_bitmap_begin(w, &bitmaps[i], &err));
        for (uint32_t j = 0; j < bitmaps[i].table_size; j++) {
            enum qcow2_bitmap_class class;

            assert_ok(qcow2_bitmap_read(f->image, &bitmaps[i], j, &class, cluster, &err));
            assert_ok(qcow2_writer_bitmap_cluster(
                w, class, class == QCOW2_BITMAP_DATA ? cluster : NULL, &err));
        }
    }
    qcow2_bitmaps_free(bitmaps, n);
    free(problem);
}

static void copy_crypto(struct qcow2_writer *w, const struct image_file *f, uint64_t offset,
                        uint64_t length)
{
    uint8_t *bytes = malloc(length);
    struct error err = {0};

    assert_non_null(bytes);
    assert_int_equal(pread(f->fd, bytes, length, (off_t)offset), length);
    assert_ok(qcow2_writer_crypto(w, bytes, length, &err));
    free(bytes);
}

struct qcow2_writer_report copy_image(const char *from, const char *data_from, const char *to,
                                      const char *data_to, size_t step)
{
    struct image_file f = image_file_open(from, data_from);
    const struct qcow2_header *header = qcow2_image_header(f.image);
    const uint8_t *original = qcow2_image_header_cluster(f.image);
    struct qcow2_target target = create_target(to);
    struct qcow2_writer_options options = {.views = f.nb_views, .data_size = f.data_size};
    struct qcow2_writer_report report = {0};
    struct region r = {.step = step};
    uint32_t l1_sizes[COPY_MAX_VIEWS];
    struct qcow2_writer *w = NULL;
    struct error err = {0};

    r.entries = calloc(step, sizeof(*r.entries));
    r.data = malloc(step * f.cluster_size);
    r.wanted = calloc(step, sizeof(*r.wanted));
    assert_true(r.entries != NULL && r.data != NULL && r.wanted != NULL);
    for (uint32_t i = 0; i < f.nb_views; i++)
        l1_sizes[i] = qcow2_view_l1_size(f.views[i]);
    options.l1_sizes = l1_sizes;
    options.data_file = data_to;
    target.data_fd =
        data_to != NULL ? open(data_to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    assert_ok(qcow2_crypto_header(header, original, (uint64_t)lseek(f.fd, 0, SEEK_END),
                                  &options.crypto_offset, &options.crypto_length, &err));

    assert_ok(qcow2_writer_begin_physical(&w, &target, header, original, &options, &err));
    reserve_all(w, &f, &r);
    assert_ok(qcow2_writer_place(w, &err));
    write_all(w, &f, &r);
    if (options.crypto_length > 0)
        copy_crypto(w, &f, options.crypto_offset, options.crypto_length);
    if (f.nb_views > 1)
        assert_ok(qcow2_writer_snapshots(w, f.snapshots, f.nb_views - 1, &err));
    copy_bitmaps(w, &f, r.data);
    assert_ok(qcow2_writer_finish(w, &report, &err));

    qcow2_writer_free(w);
    close(target.fd);
    if (target.data_fd >= 0)
        close(target.data_fd);
    free(r.entries);
    free(r.data);
    free(r.wanted);
    image_file_close(&f);
    return report;
}

static void assert_same_view(const struct image_file *a, const struct image_file *b, uint32_t view)
{
    struct region x = {.step = 64}, y = {.step = 64};
    uint64_t first = 0, other = 0;
    size_t n;

    x.entries = calloc(x.step, sizeof(*x.entries));
    y.entries = calloc(y.step, sizeof(*y.entries));
    x.data = malloc(x.step * a->cluster_size);
    y.data = malloc(y.step * b->cluster_size);
    assert_true(x.entries && y.entries && x.data && y.data);
    assert_int_equal(qcow2_view_l1_size(a->views[view]), qcow2_view_l1_size(b->views[view]));
    assert_int_equal(qcow2_view_disk_size(a->views[view]), qcow2_view_disk_size(b->views[view]));
    do {
        n = read_region(a, view, &first, &x);
        assert_int_equal(read_region(b, view, &other, &y), n);
        if (n > 0)
            assert_int_equal(first, other);
        assert_memory_equal(x.entries, y.entries, n * sizeof(*x.entries));
        assert_memory_equal(x.data, y.data, n * a->cluster_size);
        first += n;
        other += n;
    } while (n > 0);
    free(x.entries);
    free(y.entries);
    free(x.data);
    free(y.data);
}

void assert_same_views(const char *from, const char *data_from, const char *to, const char *data_to)
{
    struct image_file a = image_file_open(from, data_from);
    struct image_file b = image_file_open(to, data_to);

    assert_int_equal(a.nb_views, b.nb_views);
    for (uint32_t i = 0; i < a.nb_views; i++)
        assert_same_view(&a, &b, i);
    image_file_close(&a);
    image_file_close(&b);
}

void same_description(const char *a, const char *b)
{
    run("set -e; for f in %s %s; do qemu-img info --output=json $f | "
        "grep -v '\"filename\"\\|\"actual-size\"\\|\"data-file\"' >$f.info; done;"
        "diff %s.info %s.info",
        a, b, a, b);
}
