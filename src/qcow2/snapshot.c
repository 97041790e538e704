/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries of the snapshot table, bytes to fields and back. Pure.
 */
#include "qcow2/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/bytes.h"

enum {
    FIXED_SIZE = 40,
    MAX_EXTRA = 1024, /* QEMU's bound */
    EXTRA_DISK_SIZE = 16,
    EXTRA_ICOUNT = 24,
};

static void snapshot_clear(struct qcow2_snapshot *s)
{
    free(s->raw);
    free(s->id);
    free(s->name);
}

void qcow2_snapshots_free(struct qcow2_snapshot *array, uint32_t count)
{
    if (!array)
        return;
    for (uint32_t i = 0; i < count; i++)
        snapshot_clear(&array[i]);
    free(array);
}

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

/* The extra data, ${len} bytes at ${p}: any prefix of its fields, and what is not known behind. */
static void decode_extra(struct qcow2_snapshot *s, const uint8_t *p, uint32_t len)
{
    if (len >= 8)
        s->vm_state_size = be64_get(p);
    if (len >= EXTRA_DISK_SIZE)
        s->disk_size = be64_get(p + 8);
    if (len >= EXTRA_ICOUNT) {
        s->icount = be64_get(p + 16);
        s->has_icount = s->icount != UINT64_MAX;
    }
}

/* Decodes the entry at the start of the ${len} bytes at ${p}. What ${s} got is to be cleared also
 * after a failure. */
static int decode_entry(struct qcow2_snapshot *s, const uint8_t *p, size_t len, uint64_t disk_size,
                        struct error *err)
{
    uint32_t id_len, name_len, extra_len;

    if (len < FIXED_SIZE)
        return error_set(err, ERROR_CORRUPT, "the table ends within it");
    id_len = be16_get(p + 12);
    name_len = be16_get(p + 14);
    extra_len = be32_get(p + 36);
    if (extra_len > MAX_EXTRA)
        return error_set(err, ERROR_CORRUPT, "%" PRIu32 " bytes of extra data, too many",
                         extra_len);
    s->raw_len = (size_t)FIXED_SIZE + extra_len + id_len + name_len;
    if (s->raw_len > len)
        return error_set(err, ERROR_CORRUPT, "the table ends within it");
    s->l1_offset = be64_get(p);
    s->l1_size = be32_get(p + 8);
    s->date_sec = be32_get(p + 16);
    s->date_nsec = be32_get(p + 20);
    s->vm_clock = be64_get(p + 24);
    s->vm_state_size = be32_get(p + 32);
    s->disk_size = disk_size;
    decode_extra(s, p + FIXED_SIZE, extra_len);
    if (s->disk_size > INT64_MAX)
        return error_set(err, ERROR_CORRUPT, "no disk has %" PRIu64 " bytes", s->disk_size);
    s->raw = malloc(s->raw_len);
    s->id = bytes_to_text(p + FIXED_SIZE + extra_len, id_len);
    s->name = bytes_to_text(p + FIXED_SIZE + extra_len + id_len, name_len);
    if (!s->raw || !s->id || !s->name)
        return error_no_memory(err);
    memcpy(s->raw, p, s->raw_len);
    return 0;
}

int qcow2_snapshots_decode(struct qcow2_snapshot **result, uint32_t count, const uint8_t *table,
                           size_t len, uint64_t disk_size, struct error *err)
{
    struct qcow2_snapshot *array;
    size_t at = 0;
    int rc;

    *result = NULL;
    if (count > QCOW2_MAX_SNAPSHOTS || len > QCOW2_MAX_SNAPSHOT_TABLE)
        return error_set(err, ERROR_CORRUPT, "%" PRIu32 " snapshots in %zu bytes, too many", count,
                         len);
    if (!(array = calloc(count + UINT32_C(1), sizeof *array)))
        return error_no_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        at = padded(at);
        if (at > len)
            at = len;
        if ((rc = decode_entry(&array[i], table + at, len - at, disk_size, err)) < 0) {
            error_wrap(err, "entry %" PRIu32 " at %zu of the snapshot table", i, at);
            goto fail;
        }
        at += array[i].raw_len;
    }
    if (len > padded(at)) {
        rc = error_set(err, ERROR_CORRUPT,
                       "the snapshot table has %zu bytes, of which %zu are entries", len, at);
        goto fail;
    }
    *result = array;
    return 0;

fail:
    qcow2_snapshots_free(array, count);
    return rc;
}

size_t qcow2_snapshot_size(const struct qcow2_snapshot *snapshot)
{
    return padded(snapshot->raw_len);
}

void qcow2_snapshot_encode(uint8_t *buf, const struct qcow2_snapshot *snapshot, uint64_t l1_offset)
{
    memcpy(buf, snapshot->raw, snapshot->raw_len);
    memset(buf + snapshot->raw_len, 0, qcow2_snapshot_size(snapshot) - snapshot->raw_len);
    be64_put(buf, l1_offset);
}
