/* SPDX-License-Identifier: BSD-2-Clause */
/* What every backend gets for free: whole files in one call, and a limit to how fast it is written
 * to. */
#include "backend.h"

#include <inttypes.h>
#include <stdlib.h>

int cs_backend_read_exact(struct cs_backend *backend, const char *name, uint64_t offset, void *buf,
                          size_t len, struct cs_error *err)
{
    size_t got = 0;
    int rc = backend->ops->read(backend, name, offset, buf, len, &got, err);
    if (rc < 0)
        return rc;
    if (got != len)
        return cs_fail(err, CS_CORRUPT, "%s: ends at %" PRIu64 ", %zu bytes wanted at %" PRIu64,
                       name, offset + got, len, offset);
    return 0;
}

int cs_backend_read_all(struct cs_backend *backend, const char *name, size_t max, uint8_t **data,
                        size_t *len, struct cs_error *err)
{
    uint64_t size = 0;
    int rc = backend->ops->size(backend, name, &size, err);
    if (rc < 0)
        return rc;
    if (size > max)
        return cs_fail(err, CS_CORRUPT, "%s: has %llu bytes, at most %zu are possible", name,
                       (unsigned long long)size, max);
    uint8_t *buf = malloc(size > 0 ? (size_t)size : 1);
    if (buf == NULL)
        return cs_fail_memory(err);
    rc = cs_backend_read_exact(backend, name, 0, buf, (size_t)size, err);
    if (rc < 0) {
        free(buf);
        return rc;
    }
    *data = buf;
    *len = (size_t)size;
    return 0;
}

int cs_backend_write(struct cs_backend *backend, struct cs_put *put, const void *data, size_t len,
                     struct cs_error *err)
{
    cs_throttle_wait(&backend->throttle, len, backend->cancel);
    return backend->ops->write(put, data, len, err);
}

int cs_backend_put(struct cs_backend *backend, const char *name, const void *data, size_t len,
                   bool replace, struct cs_error *err)
{
    struct cs_put *put = NULL;
    int rc = backend->ops->create(backend, name, &put, err);
    if (rc < 0)
        return rc;
    rc = cs_backend_write(backend, put, data, len, err);
    if (rc < 0) {
        backend->ops->abandon(put);
        return rc;
    }
    return backend->ops->finish(put, replace, err);
}
