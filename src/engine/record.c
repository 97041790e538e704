/* SPDX-License-Identifier: BSD-2-Clause */
/* Records in memory: freeing them, and holding one against another. */
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>

#include "engine/record_parts.h"

void record_layer_clear(struct record_layer *l)
{
    record_file_clear(&l->file);
    free(l->opened_as);
    free(l->delta);
    free(l->delta_reason);
    free(l->backing_file);
    free(l->backing_format);
    free(l->views);
    record_qcow2_clear(&l->qcow2);
    record_content_free(l->content);
    *l = (struct record_layer){0};
}

void record_archive_clear(struct record_archive *a)
{
    free(a->name);
    free(a->host);
    free(a->time);
    for (size_t i = 0; i < a->tag_count; i++)
        free(a->tags[i]);
    free(a->tags);
    for (size_t i = 0; i < a->image_count; i++) {
        free(a->images[i].name);
        free(a->images[i].path);
        free(a->images[i].layers);
    }
    free(a->images);
    for (size_t i = 0; i < a->layer_count; i++)
        record_layer_clear(&a->layers[i]);
    free(a->layers);
    for (size_t i = 0; i < a->with_count; i++) {
        free(a->with[i].name);
        record_blob_clear(&a->with[i].blob);
    }
    free(a->with);
    *a = (struct record_archive){0};
}

bool record_same_tree(const struct cs_tree *a, const struct cs_tree *b)
{
    return a->level == b->level && a->empty == b->empty &&
           (a->empty || memcmp(&a->root, &b->root, sizeof a->root) == 0);
}
