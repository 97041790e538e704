/* SPDX-License-Identifier: BSD-2-Clause */
/* The document of "show --json". */
#include "cli/archive_view.h"
#include "cli/output.h"
#include "cli/show.h"

const char *show_encryption(const struct record_layer *layer)
{
    if (!layer->is_qcow2 || layer->qcow2.crypt_method == 0)
        return NULL;
    return layer->qcow2.crypt_method == 1   ? "aes"
           : layer->qcow2.crypt_method == 2 ? "luks"
                                            : "unknown";
}

static json_t *side_files(const struct record_archive *record)
{
    json_t *list = json_array();

    for (size_t i = 0; i < record->with_count; i++) {
        json_t *file = json_object();

        json_object_set_new(file, "name", output_string(record->with[i].name));
        json_object_set_new(file, "bytes", output_size(record->with[i].blob.bytes));
        json_array_append_new(list, file);
    }
    return list;
}

static json_t *images(const struct record_archive *record)
{
    json_t *list = json_array();

    for (size_t i = 0; i < record->image_count; i++) {
        const struct record_image *image = &record->images[i];
        json_t *object = json_object();
        json_t *chain = json_array();

        for (size_t k = 0; k < image->layer_count; k++)
            json_array_append_new(chain, output_id(&record->layers[image->layers[k]].id));
        json_object_set_new(object, "name", output_string(image->name));
        json_object_set_new(object, "path", output_string(image->path));
        json_object_set_new(object, "layers", chain);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *snapshots(const struct record_layer *layer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < layer->qcow2.snapshot_count; i++) {
        const struct record_snapshot *s = &layer->qcow2.snapshots[i];
        json_t *object = json_object();

        json_object_set_new(object, "id", output_string(s->id));
        json_object_set_new(object, "name", output_string(s->name));
        json_object_set_new(object, "date_sec", output_size(s->date_sec));
        json_object_set_new(object, "date_nsec", output_size(s->date_nsec));
        json_object_set_new(object, "disk_size", output_size(s->disk_size));
        json_object_set_new(object, "vm_state_size", output_size(s->vm_state_size));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *bitmaps(const struct record_layer *layer)
{
    enum { IN_USE = 1, AUTO = 2 };
    json_t *list = json_array();

    for (size_t i = 0; i < layer->qcow2.bitmap_count; i++) {
        const struct record_bitmap *b = &layer->qcow2.bitmaps[i];
        json_t *object = json_object();

        json_object_set_new(object, "name", output_string(b->name));
        json_object_set_new(object, "granularity", output_size((uint64_t)1 << b->granularity_bits));
        json_object_set_new(object, "enabled", json_boolean((b->flags & AUTO) != 0));
        json_object_set_new(object, "in_use", json_boolean((b->flags & IN_USE) != 0));
        json_array_append_new(list, object);
    }
    return list;
}

/* What of the layer is not kept. */
static json_t *losses(const struct record_layer *layer)
{
    json_t *list = json_array();

    for (size_t i = 0; layer->content && i < layer->content->loss_count; i++)
        json_array_append_new(list, output_string(layer->content->losses[i]));
    return list;
}

static json_t *layer_object(const struct record_layer *layer)
{
    json_t *object = json_object();

    json_object_set_new(object, "id", output_id(&layer->id));
    json_object_set_new(object, "path", output_string(layer->file.path));
    json_object_set_new(object, "format",
                        layer->content ? output_string(layer->content->format)
                                       : json_string(layer->is_qcow2 ? "qcow2" : "raw"));
    json_object_set_new(object, "losses", losses(layer));
    json_object_set_new(object, "server_bitmap",
                        output_string(layer->content ? layer->content->bitmap : NULL));
    json_object_set_new(object, "virtual_size", output_size(layer->virtual_size));
    json_object_set_new(object, "cluster_size",
                        layer->is_qcow2 ? output_size((uint64_t)1 << layer->qcow2.cluster_bits)
                                        : json_null());
    json_object_set_new(object, "backing_file", output_string(layer->backing_file));
    json_object_set_new(object, "backing_format", output_string(layer->backing_format));
    json_object_set_new(object, "encryption", output_string(show_encryption(layer)));
    json_object_set_new(object, "snapshots", snapshots(layer));
    json_object_set_new(object, "bitmaps", bitmaps(layer));
    json_object_set_new(object, "bytes_allocated", output_size(layer->bytes_allocated));
    json_object_set_new(object, "delta", output_string(layer->delta));
    json_object_set_new(object, "delta_reason", output_string(layer->delta_reason));
    return object;
}

json_t *show_json(const struct cs_archive *archive, const struct engine_summary *summary,
                  const struct record_archive *record)
{
    json_t *json = archive_view_json(archive, summary);
    json_t *layers = json_array();

    for (size_t i = 0; i < record->layer_count; i++)
        json_array_append_new(layers, layer_object(&record->layers[i]));
    json_object_set_new(json, "with", side_files(record));
    json_object_set_new(json, "images", images(record));
    json_object_set_new(json, "layers", layers);
    return json;
}
