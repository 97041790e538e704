/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads of a source that a worker of the store does: whose they are, and what their errors become.
 */
#include "engine/fill.h"

#include <stdlib.h>

struct fill {
    struct reads reads;
};

void fill_cancel(struct fill *f)
{
    if (f == NULL)
        return;
    reads_clear(&f->reads);
    free(f);
}

static int fill(void *arg, struct cs_error *ce)
{
    struct fill *f = arg;
    struct error e = {0};
    int rc = reads_run(&f->reads, &e);
    fill_cancel(f);
    return rc < 0 ? cs_fail(ce, rc == ERROR_NO_MEMORY ? CS_NO_MEMORY : CS_IO, "%s", e.message) : 0;
}

int fill_later(struct cs_region *region, struct reads *reads, struct fill **handle,
               struct error *err)
{
    *handle = NULL;
    if (reads->count == 0) {
        reads_clear(reads);
        return 0;
    }
    *handle = malloc(sizeof **handle);
    if (*handle == NULL)
        return error_no_memory(err);
    (*handle)->reads = *reads;
    *reads = (struct reads){0};
    region->fill = fill;
    region->fill_arg = *handle;
    return 0;
}
