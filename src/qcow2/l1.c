/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads an L1 table and checks what it points to. Does not look into L2
 * tables; image.c reads them.
 */
#include "qcow2/l1.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/be.h"
#include "base/io.h"
#include "qcow2/entry.h"

#define MAX_L1_BYTES (UINT64_C(32) << 20)

size_t qcow2_l1_table_used(const struct qcow2_header *h, uint64_t disk_size, uint64_t index)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;
    uint64_t first = index << qcow2_entry_l2_bits(h);
    uint64_t clusters = disk_size / cluster_size + (disk_size % cluster_size != 0);

    if (clusters <= first || clusters - first >= UINT64_C(1) << qcow2_entry_l2_bits(h))
        return (size_t)cluster_size;
    return (size_t)(clusters - first) * qcow2_entry_size(h);
}

int qcow2_l1_check_place(const struct qcow2_header *h, const struct qcow2_l1_place *place,
                         uint64_t file_size, struct error *err)
{
    uint64_t bytes = (uint64_t)place->size * 8;

    if (place->size == 0)
        return 0;
    if (bytes > MAX_L1_BYTES)
        return error_set(err, ERROR_CORRUPT,
                         "the L1 table at %" PRIu64 " has %" PRIu32 " entries, too many",
                         place->offset, place->size);
    if (place->offset & ((UINT64_C(1) << h->cluster_bits) - 1))
        return error_set(err, ERROR_CORRUPT,
                         "the L1 table at %" PRIu64 " is not aligned to a cluster", place->offset);
    if (place->offset == 0)
        return error_set(err, ERROR_CORRUPT, "the L1 table at 0 lies over the header");
    if (bytes > file_size || place->offset > file_size - bytes)
        return error_set(err, ERROR_CORRUPT,
                         "the L1 table at %" PRIu64 " ends beyond the file of %" PRIu64 " bytes",
                         place->offset, file_size);
    return 0;
}

static int check_entry(const struct qcow2_header *h, uint64_t disk_size, uint32_t index,
                       uint64_t word, uint64_t file_size, uint64_t *offset, struct error *err)
{
    int rc;

    if ((rc = qcow2_entry_decode_l1(offset, h, word, err)) < 0)
        return rc;
    /* A masked offset is below 2^56, so there is no overflow. */
    if (*offset && *offset + qcow2_l1_table_used(h, disk_size, index) > file_size)
        return error_set(err, ERROR_CORRUPT,
                         "the L2 table at %" PRIu64 " ends beyond the file of %" PRIu64 " bytes",
                         *offset, file_size);
    return 0;
}

static int compare_offsets(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int report_shared(const uint64_t *l1, uint64_t offset, struct error *err)
{
    uint32_t found[2], n = 0;

    for (uint32_t i = 0; n < 2; i++)
        if ((l1[i] & QCOW2_OFFSET_MASK) == offset)
            found[n++] = i;
    return error_set(err, ERROR_CORRUPT,
                     "L1 entries %" PRIu32 " and %" PRIu32 " share one L2 table at %" PRIu64,
                     found[0], found[1], offset);
}

/*
 * Every table once, or a file of some MiB could stand for exabytes of work.
 * ${tables} holds the ${n} tables of ${l1} in its order.
 */
static int check_distinct(const uint64_t *l1, uint64_t *tables, size_t n, struct error *err)
{
    bool sorted = true;

    for (size_t i = 1; i < n && sorted; i++)
        sorted = tables[i - 1] < tables[i];
    if (sorted)
        return 0;
    qsort(tables, n, sizeof *tables, compare_offsets);
    for (size_t i = 1; i < n; i++)
        if (tables[i - 1] == tables[i])
            return report_shared(l1, tables[i], err);
    return 0;
}

static int check_tables(const uint64_t *l1, const char *name, const struct qcow2_header *h,
                        const struct qcow2_l1_place *place, uint64_t file_size, struct error *err)
{
    uint64_t *tables = NULL;
    size_t n = 0;
    int rc = 0;

    if (place->size == 0)
        return 0;
    if (!(tables = calloc(place->size, sizeof *tables)))
        return error_no_memory(err);
    for (uint32_t i = 0; i < place->size; i++) {
        if ((rc = check_entry(h, place->disk_size, i, l1[i], file_size, &tables[n], err)) < 0) {
            error_wrap(err, "%s: L1 entry %" PRIu32 " at %" PRIu64, name, i,
                       place->offset + (uint64_t)i * 8);
            goto out;
        }
        n += tables[n] != 0;
    }
    if ((rc = check_distinct(l1, tables, n, err)) < 0)
        error_wrap(err, "%s", name);

out:
    free(tables);
    return rc;
}

int qcow2_l1_read(uint64_t **result, int fd, const char *name, const struct qcow2_header *h,
                  const struct qcow2_l1_place *place, uint64_t file_size, struct error *err)
{
    size_t n = place->size;
    uint64_t *l1;
    int rc;

    *result = NULL;
    if (!(l1 = calloc(n ? n : 1, sizeof *l1)))
        return error_no_memory(err);
    if ((rc = io_read(fd, name, place->offset, l1, n * 8, err)) < 0)
        goto fail;
    for (size_t i = 0; i < n; i++)
        l1[i] = be64_get((const uint8_t *)&l1[i]);
    if ((rc = check_tables(l1, name, h, place, file_size, err)) < 0)
        goto fail;
    *result = l1;
    return 0;

fail:
    free(l1);
    return rc;
}
