/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person does with byre's own bitmaps: a name for one, and their removal. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/own_bitmap.h"
#include "engine/qemu_img.h"
#include "qcow2/chain.h"
#include "qcow2/lock.h"

void engine_bitmap_name(const struct cs_store *store, char name[ENGINE_BITMAP_NAME])
{
    own_bitmap_make(cs_repository_id(store), name);
}

/* Those of the image, which is closed and unlocked again when it returns. */
static int find(struct cs_store *store, const char *path, const struct engine_listener *listener,
                struct own_bitmap **list, size_t *count, struct error *err)
{
    const struct chain_options options = {.only_top = true, .force_corrupt = true};
    struct layer_set set = {0};
    struct layer *top = NULL;
    char *problem = NULL;
    int rc = layer_set_open(&set, path, &options, &top, err);
    if (rc == 0)
        rc = lock_probe_unused(top->fd, path, err);
    if (rc == 0 && top->format == LAYER_QCOW2)
        rc = own_bitmap_list(top->image, cs_repository_id(store), list, count, &problem, err);
    if (problem != NULL && listener->warning != NULL)
        listener->warning(listener->arg, problem);
    free(problem);
    layer_set_clear(&set);
    return rc;
}

int engine_bitmap_remove(struct cs_store *store, const char *path,
                         const struct engine_listener *listener,
                         struct engine_bitmap_result *result, struct error *err)
{
    struct own_bitmap *list = NULL;
    size_t count = 0;
    *result = (struct engine_bitmap_result){0};
    int rc = find(store, path, listener, &list, &count, err);
    if (rc == 0) {
        result->removed = calloc(count + 1, sizeof *result->removed);
        if (result->removed == NULL)
            rc = error_no_memory(err);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = qemu_img_bitmap_remove(path, list[i].name, listener->cancel, err);
        if (rc == 0)
            memcpy(result->removed[result->count++], list[i].name, sizeof list[i].name);
        else
            error_wrap(err, "%s: removing bitmap %s", path, list[i].name);
    }
    free(list);
    return rc;
}

void engine_bitmap_result_clear(struct engine_bitmap_result *result)
{
    free(result->removed);
    *result = (struct engine_bitmap_result){0};
}
