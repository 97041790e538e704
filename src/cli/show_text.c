/* SPDX-License-Identifier: BSD-2-Clause */
/* What "show" prints for people: the archive, then each image with its chain, the top first. */
#include <stdlib.h>
#include <string.h>

#include "cli/archive_view.h"
#include "cli/show.h"
#include "cli/text.h"
#include "cli/units.h"

/* Prints "label   value" with the value fit for a terminal. */
static void print_field(FILE *stream, const char *label, const char *value)
{
    char *copy = strdup(value);

    fprintf(stream, "%-10s %s\n", label, copy ? text_clean(copy) : "?");
    free(copy);
}

/* Prints ${text} behind ${indent} columns, fit for a terminal. */
static void print_line(FILE *stream, int indent, const char *text)
{
    char *copy = strdup(text);

    fprintf(stream, "%*s%s\n", indent, "", copy ? text_clean(copy) : "?");
    free(copy);
}

static void print_layer(FILE *stream, const struct record_layer *layer, size_t depth, bool top)
{
    char cluster[UNITS_TEXT];
    char virtual[UNITS_TEXT];
    char allocated[UNITS_TEXT];
    char hex[CS_ID_HEX];
    /* Deep chains go on at the same column, so that their facts stay readable. */
    int indent = 2 + 2 * (int)(depth < 8 ? depth : 8);
    char *text = NULL;

    if (asprintf(&text, "%s%s", top ? "" : "`- ", layer->file.path) >= 0)
        print_line(stream, indent, text);
    free(text);
    indent += top ? 2 : 5;
    if (layer->is_qcow2)
        fprintf(stream, "%*sqcow2 version %u, clusters of %s%s%s%s\n", indent, "",
                layer->qcow2.version, units_size((uint64_t)1 << layer->qcow2.cluster_bits, cluster),
                layer->qcow2.crypt_method ? ", encrypted: " : "",
                layer->qcow2.crypt_method ? show_encryption(layer) : "",
                layer->qcow2.incompatible & 0x10 ? ", extended L2" : "");
    else
        fprintf(stream, "%*sraw\n", indent, "");
    fprintf(stream, "%*s%s virtual, %s allocated\n", indent, "",
            units_size(layer->virtual_size, virtual),
            units_size(layer->bytes_allocated, allocated));
    if (layer->backing_file && asprintf(&text, "backing file %s%s%s%s", layer->backing_file,
                                        layer->backing_format ? " (" : "",
                                        layer->backing_format ? layer->backing_format : "",
                                        layer->backing_format ? ")" : "") >= 0) {
        print_line(stream, indent, text);
        free(text);
    }
    for (size_t i = 0; i < layer->qcow2.snapshot_count; i++) {
        const struct record_snapshot *s = &layer->qcow2.snapshots[i];

        if (asprintf(&text, "snapshot %s \"%s\"%s", s->id, s->name,
                     s->vm_state_size ? " with VM state" : "") >= 0) {
            print_line(stream, indent, text);
            free(text);
        }
    }
    for (size_t i = 0; i < layer->qcow2.bitmap_count; i++)
        if (asprintf(&text, "bitmap %s", layer->qcow2.bitmaps[i].name) >= 0) {
            print_line(stream, indent, text);
            free(text);
        }
    cs_id_hex(&layer->id, hex)[16] = '\0';
    fprintf(stream, "%*slayer %s\n", indent, "", hex);
    if (layer->delta && asprintf(&text, "unchanged data told by: %s%s%s%s", layer->delta,
                                 layer->delta_reason && layer->delta_reason[0] ? " (" : "",
                                 layer->delta_reason ? layer->delta_reason : "",
                                 layer->delta_reason && layer->delta_reason[0] ? ")" : "") >= 0) {
        print_line(stream, indent, text);
        free(text);
    }
}

static void print_image(FILE *stream, const struct record_archive *record,
                        const struct record_image *image)
{
    fputc('\n', stream);
    print_field(stream, "image", image->name);
    for (size_t i = 0; i < image->layer_count; i++)
        print_layer(stream, &record->layers[image->layers[i]], i, i == 0);
}

void show_text(FILE *stream, const struct cs_archive *archive, const struct engine_summary *summary,
               const struct record_archive *record)
{
    char hex[CS_ID_HEX];
    char time[UNITS_TEXT];
    char size[UNITS_TEXT];
    char *tags = archive_view_tags(archive, ", ");

    print_field(stream, "archive", cs_id_hex(&archive->id, hex));
    print_field(stream, "name", archive->name);
    print_field(stream, "host", archive->host);
    print_field(stream, "time", units_local_time(archive->time, time));
    if (tags && tags[0])
        print_field(stream, "tags", tags);
    if (summary->parent[0])
        print_field(stream, "parent", summary->parent);
    print_field(stream, "allocated", units_size(summary->bytes_allocated, size));
    print_field(stream, "stored", units_size(archive->bytes_stored, size));
    for (size_t i = 0; i < record->image_count; i++)
        print_image(stream, record, &record->images[i]);
    if (record->with_count)
        fputs("\nside files\n", stream);
    for (size_t i = 0; i < record->with_count; i++) {
        char *text = NULL;

        if (asprintf(&text, "%s, %s", record->with[i].name,
                     units_size(record->with[i].blob.bytes, size)) >= 0)
            print_line(stream, 2, text);
        free(text);
    }
    free(tags);
}
