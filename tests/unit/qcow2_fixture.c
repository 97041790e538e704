/* SPDX-License-Identifier: BSD-2-Clause */
/* The working folder, tools and files of the qcow2 tests. */
#include "qcow2_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/be.h"

static char folder[] = "/tmp/byre-qcow2-XXXXXX";

int fixture_enter(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

int fixture_leave(void **state)
{
    char command[64];

    (void)state;
    if (chdir("/") < 0)
        return -1;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 ? 0 : -1;
}

__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list ap)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, ap) < 0)
        fail_msg("out of memory");
    return text;
}

static char *collect(const char *command)
{
    char *full = NULL, *text = NULL;
    size_t size = 0, got = 0, n;
    FILE *f;

    if (asprintf(&full, "( %s ) 2>&1", command) < 0)
        fail_msg("out of memory");
    f = popen(full, "r");
    assert_non_null(f);
    do {
        if (size - got < 4096)
            text = realloc(text, size += 65536);
        assert_non_null(text);
        n = fread(text + got, 1, size - got - 1, f);
        got += n;
    } while (n > 0);
    text[got] = '\0';
    if (pclose(f) != 0)
        fail_msg("%s\nfailed:\n%s", command, text);
    free(full);
    return text;
}

void run(const char *fmt, ...)
{
    char *command;
    va_list ap;

    va_start(ap, fmt);
    command = format(fmt, ap);
    va_end(ap);
    free(collect(command));
    free(command);
}

char *output_of(const char *fmt, ...)
{
    char *command, *text;
    va_list ap;

    va_start(ap, fmt);
    command = format(fmt, ap);
    va_end(ap);
    text = collect(command);
    free(command);
    return text;
}

static int open_or_fail(const char *name, int flags)
{
    int fd = open(name, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        fail_msg("cannot open %s", name);
    return fd;
}

uint8_t *slurp(const char *name, size_t *len)
{
    int fd = open_or_fail(name, O_RDONLY);
    struct stat st;
    uint8_t *buf;

    assert_int_equal(fstat(fd, &st), 0);
    buf = malloc((size_t)st.st_size + 1);
    assert_non_null(buf);
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = pread(fd, buf + at, (size_t)(st.st_size - at), at);

        assert_true(n > 0);
        at += n;
    }
    close(fd);
    if (len)
        *len = (size_t)st.st_size;
    return buf;
}

static void write_at(int fd, uint64_t offset, const void *buf, size_t len)
{
    assert_int_equal(pwrite(fd, buf, len, (off_t)offset), len);
    close(fd);
}

void spill(const char *name, const void *buf, size_t len)
{
    write_at(open_or_fail(name, O_WRONLY | O_CREAT | O_TRUNC), 0, buf, len);
}

void poke(const char *name, uint64_t offset, const void *buf, size_t len)
{
    write_at(open_or_fail(name, O_WRONLY), offset, buf, len);
}

void poke32(const char *name, uint64_t offset, uint32_t value)
{
    uint8_t buf[4];

    be32_put(buf, value);
    poke(name, offset, buf, sizeof(buf));
}

void poke64(const char *name, uint64_t offset, uint64_t value)
{
    uint8_t buf[8];

    be64_put(buf, value);
    poke(name, offset, buf, sizeof(buf));
}

uint64_t peek64(const char *name, uint64_t offset)
{
    int fd = open_or_fail(name, O_RDONLY);
    uint8_t buf[8];

    assert_int_equal(pread(fd, buf, sizeof(buf), (off_t)offset), sizeof(buf));
    close(fd);
    return be64_get(buf);
}

void fill_random(uint8_t *buf, size_t len, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buf[i] = (uint8_t)(x >> 32);
    }
}

int try_image(struct qcow2_image **image, const char *name, int *fd, struct error *err)
{
    struct stat st;
    int ret;

    *fd = open_or_fail(name, O_RDONLY);
    assert_int_equal(fstat(*fd, &st), 0);
    ret = qcow2_image_open(image, *fd, name, (uint64_t)st.st_size, NULL, err);
    if (ret < 0)
        close(*fd);
    return ret;
}

struct qcow2_image *open_image(const char *name, int *fd)
{
    struct qcow2_image *image;
    struct error err;

    if (try_image(&image, name, fd, &err) < 0)
        fail_msg("%s", err.message);
    return image;
}

void close_image(struct qcow2_image *image, int fd)
{
    qcow2_image_close(image);
    close(fd);
}

void expect_open(const char *name, const struct qcow2_open_options *options, int code,
                 const char *text)
{
    struct qcow2_image *image;
    struct error err = {0};
    struct stat st;
    int fd, rc;

    fd = open_or_fail(name, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    rc = qcow2_image_open(&image, fd, name, (uint64_t)st.st_size, options, &err);
    if (rc != code || (code < 0 && (!strstr(err.message, text) || !strstr(err.message, name))))
        fail_msg("%s: %d \"%s\", not %d \"%s\"", name, rc, err.message, code, text);
    qcow2_image_close(image);
    close(fd);
}

size_t read_view(struct qcow2_image *image, struct qcow2_view *view, struct qcow2_entry **entries,
                 uint8_t **bytes)
{
    size_t cluster_size = qcow2_image_cluster_size(image);
    size_t n = ((size_t)qcow2_view_disk_size(view) + cluster_size - 1) / cluster_size;
    struct error err;

    *entries = calloc(n + 1, sizeof(**entries));
    *bytes = malloc((n + 1) * cluster_size);
    assert_non_null(*entries);
    assert_non_null(*bytes);
    if (qcow2_view_entries(view, 0, n, *entries, &err) < 0 ||
        qcow2_image_read(image, 0, n, *entries, *bytes, &err) < 0)
        fail_msg("%s", err.message);
    return n;
}

size_t read_everything(struct qcow2_image *image, struct qcow2_entry **entries, uint8_t **bytes)
{
    return read_view(image, qcow2_image_active(image), entries, bytes);
}
