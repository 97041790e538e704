/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What "show" prints for people: the archive, then each image with its chain as
 * a tree, the top first. What two images share is told once.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "cli/archive_view.h"
#include "cli/show.h"
#include "cli/units.h"

struct printer {
    FILE *stream;
    const struct terminal *terminal;
    const struct record_archive *record;
    const struct record_image *image; /* the one at hand */
    /* Of the line at hand, and of those that it is wrapped to. */
    char prefix[64];
    char next[72];
};

static void print_field(const struct printer *p, const char *label, const char *value)
{
    char prefix[32];

    snprintf(prefix, sizeof prefix, "%-10s ", label);
    terminal_print(p->stream, p->terminal, prefix, "           ", value);
}

/* Prints a formatted line below the layer at hand. */
static void print_fact(const struct printer *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void print_fact(const struct printer *p, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) >= 0)
        terminal_print(p->stream, p->terminal, p->prefix, p->next, text);
    else
        fputs("?\n", p->stream);
    va_end(args);
    free(text);
}

static void print_layer_facts(const struct printer *p, const struct record_layer *layer)
{
    char cluster[UNITS_TEXT];
    char virtual[UNITS_TEXT];
    char allocated[UNITS_TEXT];
    char hex[CS_ID_HEX];
    bool reason = layer->delta_reason && layer->delta_reason[0];

    if (layer->is_qcow2)
        print_fact(p, "qcow2 version %u, clusters of %s%s%s%s", layer->qcow2.version,
                   units_size((uint64_t)1 << layer->qcow2.cluster_bits, cluster),
                   layer->qcow2.crypt_method ? ", encrypted: " : "",
                   layer->qcow2.crypt_method ? show_encryption(layer) : "",
                   layer->qcow2.incompatible & 0x10 ? ", extended L2" : "");
    else if (layer->content)
        print_fact(p, "%s, as its guest sees it", layer->content->format);
    else
        print_fact(p, "raw");
    for (size_t i = 0; layer->content && i < layer->content->loss_count; i++)
        print_fact(p, "lost: %s", layer->content->losses[i]);
    print_fact(p, "%s virtual, %s allocated", units_size(layer->virtual_size, virtual),
               units_size(layer->bytes_allocated, allocated));
    if (layer->backing_file)
        print_fact(
            p, "backing file %s%s%s%s", layer->backing_file, layer->backing_format ? " (" : "",
            layer->backing_format ? layer->backing_format : "", layer->backing_format ? ")" : "");
    for (size_t i = 0; i < layer->qcow2.snapshot_count; i++) {
        const struct record_snapshot *s = &layer->qcow2.snapshots[i];

        print_fact(p, "snapshot %s \"%s\", %s%s%s%s", s->id, s->name,
                   units_local_time(s->date_sec, cluster), s->vm_state_size ? ", with " : "",
                   s->vm_state_size ? units_size(s->vm_state_size, virtual) : "",
                   s->vm_state_size ? " of VM state" : "");
    }
    for (size_t i = 0; i < layer->qcow2.bitmap_count; i++)
        print_fact(p, "bitmap %s", layer->qcow2.bitmaps[i].name);
    if (layer->content && layer->content->bitmap)
        print_fact(p, "bitmap %s, of its server", layer->content->bitmap);
    cs_id_hex(&layer->id, hex)[16] = '\0';
    print_fact(p, "layer %s", hex);
    if (layer->delta)
        print_fact(p, "unchanged data told by: %s%s%s%s", layer->delta, reason ? " (" : "",
                   reason ? layer->delta_reason : "", reason ? ")" : "");
}

/* Whether an image before the one at hand has the layer at ${position} of the record. */
static bool was_told(const struct printer *p, size_t position)
{
    for (const struct record_image *image = p->record->images; image < p->image; image++) {
        for (size_t i = 0; i < image->layer_count; i++) {
            if (image->layers[i] == position)
                return true;
        }
    }
    return false;
}

static void print_layer(struct printer *p, size_t depth)
{
    bool utf8 = p->terminal->utf8;
    size_t position = p->image->layers[depth];
    bool last = depth + 1 == p->image->layer_count;
    /* Deep chains go on at the same column, so that their facts stay readable. */
    int indent = 2 + 3 * (int)(depth < 8 ? depth : 8);
    const char *line = utf8 ? "\xe2\x94\x82" : "|";

    if (depth)
        snprintf(p->prefix, sizeof p->prefix, "%*s%s", indent - 3, "",
                 utf8 ? "\xe2\x94\x94\xe2\x94\x80 " : "`- ");
    else
        snprintf(p->prefix, sizeof p->prefix, "%*s", indent, "");
    terminal_print_path(p->stream, p->terminal, p->prefix, p->record->layers[position].file.path);
    snprintf(p->prefix, sizeof p->prefix, "%*s%s  ", indent, "", last ? " " : line);
    snprintf(p->next, sizeof p->next, "%s  ", p->prefix);
    if (was_told(p, position))
        print_fact(p, "as above");
    else
        print_layer_facts(p, &p->record->layers[position]);
}

void show_text(FILE *stream, const struct terminal *terminal, const struct cs_archive *archive,
               const struct engine_summary *summary, const struct record_archive *record)
{
    struct printer p = {.stream = stream, .terminal = terminal, .record = record};
    char hex[CS_ID_HEX];
    char time[UNITS_TEXT];
    char size[UNITS_TEXT];
    char *tags = archive_view_tags(archive, ", ");

    print_field(&p, "archive", cs_id_hex(&archive->id, hex));
    print_field(&p, "name", archive->name);
    print_field(&p, "host", archive->host);
    print_field(&p, "time", units_local_time(archive->time, time));
    if (tags && tags[0])
        print_field(&p, "tags", tags);
    if (summary->parent[0])
        print_field(&p, "parent", summary->parent);
    print_field(&p, "allocated", units_size(summary->bytes_allocated, size));
    print_field(&p, "stored", units_size(archive->bytes_stored, size));
    for (size_t i = 0; i < record->image_count; i++) {
        p.image = &record->images[i];
        fputc('\n', stream);
        print_field(&p, "image", p.image->name);
        for (size_t depth = 0; depth < p.image->layer_count; depth++)
            print_layer(&p, depth);
    }
    if (record->with_count)
        fputs("\nside files\n", stream);
    snprintf(p.prefix, sizeof p.prefix, "  ");
    snprintf(p.next, sizeof p.next, "    ");
    for (size_t i = 0; i < record->with_count; i++)
        print_fact(&p, "%s, %s", record->with[i].name,
                   units_size(record->with[i].blob.bytes, size));
    free(tags);
}
