/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_TESTS_QCOW2_CONTENT_H
#define BYRE_TESTS_QCOW2_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#include "qcow2/writer.h"
#include "qcow2_fixture.h"

/* All of an image in memory, and the way from there through the writer. */

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err.message);                                                \
    } while (0)

/* That ${call}, which fills err, fails with code ${error}, and its message has ${text} in it. */
#define assert_refused(call, error, text)                                                          \
    do {                                                                                           \
        assert_int_equal((call), (error));                                                         \
        if (strstr(err.message, (text)) == NULL)                                                   \
            fail_msg("%s: \"%s\" does not say \"%s\"", #call, err.message, (text));                \
    } while (0)

struct content {
    struct qcow2_header header; /* extensions lent by image */
    const uint8_t *header_cluster;
    struct qcow2_image *image;
    int fd;
    size_t cluster_size;
    uint64_t n; /* clusters */
    struct qcow2_entry *entries;
    uint8_t *data;
};

enum layout { PHYSICAL, COMPACT };

/* Reads the image in file ${name}; compressed entries have their true lengths. */
struct content content_read(const char *name);

/* ${n} unallocated clusters, cluster i filled with i + 1, and the header of a new image of ${size}
 * that qemu-img makes with ${options}. */
struct content content_new(const char *options, const char *size, uint64_t n);

void content_clear(struct content *c);

/* A new file ${name} to write to. */
struct qcow2_target create_target(const char *name);

/* Writes ${c} to ${target}, and closes it, in regions of ${step} clusters without those that have
 * no entries. */
struct qcow2_writer_report content_write_to(const struct content *c, struct qcow2_target target,
                                            enum layout layout, size_t step);
struct qcow2_writer_report content_write(const struct content *c, const char *name,
                                         enum layout layout, size_t step);

/* That qemu-img finds neither error nor leak in file ${name}, and our reader the bytes of ${c}. */
void content_check(const struct content *c, const char *name);

#endif
